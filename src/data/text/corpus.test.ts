import { expect, test } from 'vitest';
import { groupBy } from '../icons/split.ts';
import { packageFolder } from '../package.ts';
import { readCorpus } from './corpus.ts';
import { joinByKeys, splitFew, splitOf } from './groups.ts';
import { htmlToText } from './html.ts';
import { parseMail } from './mail.ts';

const shares = (passages: readonly { split: string }[]) =>
  Object.fromEntries(
    [...groupBy(passages, (p) => p.split)].map(([split, all]) => [split, all.length / passages.length]),
  );
/** Each group is in one split only. */
function expectWhole<T extends { split: string }>(passages: readonly T[], groupOf: (p: T) => string) {
  const torn = [...groupBy(passages, groupOf)].filter(([, all]) =>
    all.some((p) => p.split !== all[0]!.split),
  );
  expect(torn.map(([group]) => group)).toEqual([]);
}

test('a split follows from the name of its group, eight to one to one', () => {
  expect(splitOf('word dog')).toBe(splitOf('word dog'));
  const names = Array.from({ length: 5000 }, (_, i) => ({ split: splitOf(`group ${i}`) }));
  for (const [split, share] of Object.entries({ train: 0.8, val: 0.1, test: 0.1 })) {
    expect(Math.abs(shares(names)[split]! - share)).toBeLessThan(0.02);
  }
  const few = splitFew(['a', 'b', 'c', 'd', 'e', 'f']);
  expect([...few.values()].sort()).toEqual(['test', 'train', 'train', 'train', 'train', 'val']);
  expect(splitFew(['f', 'e', 'd', 'c', 'b', 'a'])).toEqual(few);
});

test('items that share a key, also through others, are one group whatever their order', () => {
  const items = [['c', 'd'], ['a', 'b'], ['e'], ['b', 'd']];
  expect(joinByKeys(items, (keys) => keys)).toEqual(['a', 'a', 'e', 'a']);
  expect(joinByKeys(items.toReversed(), (keys) => keys)).toEqual(['a', 'e', 'a', 'a']);
});

test('a missing package is named with the command that installs it', () => {
  expect(() => packageFolder('@nobody/nothing/package.json', 'the mails need')).toThrow(
    'the mails need the package @nobody/nothing: run `npm install @nobody/nothing`',
  );
});

test('WordNet: words, definition, examples, category and relations of a synset', async () => {
  const synsets = await readCorpus('wordnet');
  expect(synsets).toHaveLength(117_791);
  const byId = new Map(synsets.map((s) => [s.id, s]));
  const dog = synsets.find((s) => s.words.includes('Canis familiaris'))!;
  expect(dog).toMatchObject({
    words: ['dog', 'domestic dog', 'Canis familiaris'],
    wordClass: 'noun',
    category: 'noun.animal',
    examples: ['the dog barked all night'],
  });
  expect(dog.text).toBe(
    'dog, domestic dog, Canis familiaris: a member of the genus Canis (probably descended from the common wolf) ' +
      'that has been domesticated by man since prehistoric times; occurs in many breeds. the dog barked all night.',
  );
  expect(dog.hypernyms.map((id) => byId.get(id)!.words[0])).toEqual(['canine', 'domestic animal']);
  const hot = synsets.find((s) => s.antonyms.some((a) => a.word === 'hot' && a.opposite === 'cold'))!;
  expect(byId.get(hot.antonyms[0]!.id)!.words).toContain('cold');
  expect(synsets.every((s) => s.definition && s.category && s.hypernyms.every((id) => byId.has(id)))).toBe(
    true,
  );
  expect(synsets.every((s) => s.antonyms.every((a) => byId.get(a.id)!.split === s.split))).toBe(true);
  expectWhole(synsets, (s) => s.words[0]!.toLowerCase());
  expectWhole(synsets, (s) => s.definition.toLowerCase());
  expect(Math.abs(shares(synsets).test! - 0.1)).toBeLessThan(0.01);
});

test('Brown: paragraphs as text and as tagged words; documents whole, every genre in every split', async () => {
  const passages = await readCorpus('brown');
  expect(passages[0]).toMatchObject({ id: 'ca01/0', genre: 'news' });
  expect(passages[0]!.text).toBe(
    "The Fulton County Grand Jury said Friday an investigation of Atlanta's recent primary election produced " +
      '"no evidence" that any irregularities took place.',
  );
  expect(passages[0]!.sentences[0]!.slice(0, 3)).toEqual([
    { word: 'The', tag: 'at' },
    { word: 'Fulton', tag: 'np' },
    { word: 'County', tag: 'nn' },
  ]);
  expect(passages.every((p) => p.sentences.flat().every(({ word, tag }) => word && tag))).toBe(true);
  expect(new Set(passages.map((p) => p.document)).size).toBe(500);
  expectWhole(passages, (p) => p.document);
  for (const split of ['train', 'val', 'test']) {
    expect(new Set(passages.filter((p) => p.split === split).map((p) => p.genre)).size).toBe(15);
  }
});

test('mails: threads whole, no copies', async () => {
  const mails = await readCorpus('spam');
  expect(mails.length).toBeGreaterThan(5000);
  expectWhole(mails, (m) => m.subject.replace(/^Re: /, '') || m.id);
  expect(new Set(mails.map((m) => m.body)).size).toBe(mails.length);
  const { train, val, test: rest } = shares(mails);
  expect(Math.min(train! - 0.75, val! - 0.07, rest! - 0.07)).toBeGreaterThan(0);
});

test("a mail's subject and text: encoded words, parts, quoted-printable, base64, HTML", () => {
  expect(
    parseMail('Subject: =?iso-8859-1?Q?caf=E9?=\n =?utf-8?B?4oKs?=\nFrom: a@b.c\n\nplain \n text\n'),
  ).toEqual({ subject: 'café€', body: 'plain text' });
  const parts = [
    'Content-Type: multipart/alternative;\n boundary="xx"\nSubject: s\n\npreamble\n--xx',
    'Content-Type: text/html\n\n<b>no</b>\n--xx',
    'Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nna=C3=AFve =\nend\n--xx--\n',
  ];
  expect(parseMail(parts.join('\n'))).toEqual({ subject: 's', body: 'naïve end' });
  const html = Buffer.from('<html><p>Buy &amp; save</p></html>').toString('base64');
  expect(parseMail(`Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n${html}`).body).toBe(
    'Buy & save',
  );
});

test('HTML as text', () => {
  expect(
    htmlToText(
      '<style>p{}</style><p>a<b>b</b>c<br>d &lt;e&gt; &#233;&#xe9;<!-- x > y --> &unknown; 1 < 2</p>',
    ),
  ).toBe('abc d <e> éé &unknown; 1 < 2');
});

test('the Declaration: an article is in one split in all languages', async () => {
  const passages = await readCorpus('udhr');
  expect(passages.find((p) => p.id === 'eng/1/0')).toMatchObject({
    language: 'en',
    name: 'English',
    article: 1,
    text: 'All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.',
  });
  expect(new Set(passages.map((p) => p.language)).size).toBeGreaterThan(400);
  expectWhole(passages, (p) => String(p.article));
});
