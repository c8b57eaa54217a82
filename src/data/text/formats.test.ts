import { expect, test } from 'vitest';
import { inputText } from './example.ts';
import {
  padPunctuation,
  publishedDataset,
  publishedSplits,
  type Row,
  stsbTarget,
  type TextFormatName,
  textFormats,
} from './formats.ts';
import { questionExactMatch } from './metrics.ts';
import { torchPermutation } from './permutation.ts';

/** All that a model reads and should write of one row, in both forms. */
function golden(name: TextFormatName, row: Row): string[] {
  return (['t5', 'keys'] as const).map((form) => {
    const { examples, prefix } = publishedDataset(name, [row], { form });
    return examples.map((e) => `${inputText(e, prefix)} → ${e.target}`).join(' | ');
  });
}
const same = (rest: string, t5: string, keys: string, prefix: string) => [
  `${prefix} ${rest} → ${t5}`,
  `${rest} → ${keys}`,
];
const pair = { sentence1: 'A b.', sentence2: 'C d.' };
const nli = { premise: 'It rains.', hypothesis: 'It is wet.' };

const cases: [TextFormatName, Row, string[]][] = [
  [
    'cola',
    { sentence: 'Cats sleeps.', label: 0, idx: 3 },
    same('sentence: Cats sleeps.', 'unacceptable', '0', 'cola'),
  ],
  ['sst2', { sentence: 'great ', label: 1, idx: 3 }, same('sentence: great ', 'positive', '1', 'sst2')],
  ['mrpc', { ...pair, label: 1 }, same('sentence1: A b. sentence2: C d.', 'equivalent', '1', 'mrpc')],
  [
    'qqp',
    { question1: 'Who?', question2: 'Whom?', label: 0n },
    same('question1: Who? question2: Whom?', 'not_duplicate', '0', 'qqp'),
  ],
  [
    'stsb',
    { ...pair, label: 1.9 },
    ['stsb sentence1: A b. sentence2: C d. → 2.0', 'sentence1: A b. sentence2: C d. → 1.9'],
  ],
  [
    'mnli',
    { ...nli, label: 2 },
    [
      'mnli hypothesis: It is wet. premise: It rains. → contradiction',
      'premise: It rains. hypothesis: It is wet. → 2',
    ],
  ],
  [
    'qnli',
    { question: 'Who?', sentence: 'Ann.', label: 1 },
    same('question: Who? sentence: Ann.', 'not_entailment', '1', 'qnli'),
  ],
  ['rte', { ...pair, label: 0 }, same('sentence1: A b. sentence2: C d.', 'entailment', '0', 'rte')],
  [
    'superglue-rte',
    { ...nli, label: 1 },
    [
      'rte hypothesis: It is wet. premise: It rains. → not_entailment',
      'premise: It rains. hypothesis: It is wet. → 1',
    ],
  ],
  [
    'cb',
    { ...nli, label: 1 },
    [
      'cb hypothesis: It is wet. premise: It rains. → contradiction',
      'premise: It rains. hypothesis: It is wet. → 1',
    ],
  ],
  [
    'boolq',
    { question: 'is it', passage: 'It is.', label: true },
    ['boolq passage: It is. question: is it → True', 'question: is it passage: It is. → 1'],
  ],
  [
    'copa',
    { premise: 'I fell.', choice1: 'Ice.', choice2: 'Sun.', question: 'cause', label: 0 },
    [
      'copa choice1: Ice. choice2: Sun. premise: I fell. question: cause → choice1',
      'premise: I fell. choice1: Ice. choice2: Sun. → 0',
    ],
  ],
  [
    'multirc',
    {
      paragraph: '<b>Sent 1: </b>He ran.<br><b>Sent 2: </b>Far.',
      question: 'Who ran?',
      answer: 'He',
      label: 1,
      idx: { paragraph: 0, question: 4, answer: 2 },
    },
    same('question: Who ran? answer: He paragraph: Sent 1: He ran. Sent 2: Far.', 'True', '1', 'multirc'),
  ],
  [
    'wic',
    { word: 'bank', ...pair, start1: 0, label: 0 },
    same('sentence1: A b. sentence2: C d. word: bank', 'False', '0', 'wic'),
  ],
  [
    'record',
    {
      passage: 'It won.\n@highlight\nBirds fly\n@highlight\nEnd',
      query: 'A @placeholder is a bird.',
      entities: ['penguin', 'potato', 'pigeon'],
      answers: ['penguin', 'pigeon'],
      idx: { passage: 1, query: 2 },
    },
    same(
      'query: A @placeholder is a bird. entities: penguin, potato, pigeon passage: It won. Birds fly. End',
      'penguin',
      'penguin',
      'record',
    ).map((line, i) => (i ? `record ${line}` : line)),
  ],
  [
    'squad',
    {
      id: 'q',
      question: 'Who is François?',
      context: 'He (b. 1494) wrote.',
      answers: { text: ['the U.S.', 'US'], answer_start: [1, 2] },
    },
    [
      'question: Who is Fran ç ois ? context: He ( b . 1494 ) wrote . → the U . S .',
      'question: Who is François ? context: He ( b . 1494 ) wrote . → the U . S .',
    ],
  ],
  [
    'mrqa',
    { key: 'q', question: 'Who?', context: 'Ann.', answers: ['Ann'] },
    ['question: Who ? context: Ann . → Ann', 'question: Who ? context: Ann . → Ann'],
  ],
  [
    'scitail',
    { ...pair, gold_label: 'neutral' },
    ['scitail hypothesis: C d. premise: A b. → neutral', 'premise: A b. hypothesis: C d. → 1'],
  ],
  ['paws', { ...pair, label: 0 }, same('sentence1: A b. sentence2: C d.', 'not_paraphrase', '0', 'paws')],
  ['yelp', { text: 'Good', label: 1 }, same('sentence: Good', 'positive', '1', 'yelp')],
  [
    'winogrande',
    { sentence: 'Sarah met Ann but _ left.', option1: 'Sarah', option2: 'Ann', answer: '2' },
    [
      'winogrande option1: Sarah option2: Ann sentence: Sarah met Ann but _ left. → option2',
      'sentence: Sarah met Ann but _ left. option0: Sarah option1: Ann → 1',
    ],
  ],
];

test.each(cases)('%s in T5’s form and in that of ATTEMPT and DePT', (name, row, wanted) => {
  expect(golden(name, row)).toEqual(wanted);
});

test('WSC: marks around noun and pronoun, whichever is first, and T5’s scored variant', () => {
  const first = {
    text: 'This is a test sentence .',
    span1_text: 'test',
    span1_index: 3,
    span2_text: 'This',
    span2_index: 0,
    label: 0,
  };
  expect(golden('wsc', first)).toEqual(same('text: # This # is a * test * sentence .', 'False', '0', 'wsc'));
  const second = {
    text: 'Mitchell asked Tom (B.) if he could lend some money.',
    span1_text: 'Tom (B.)',
    span1_index: 2,
    span2_text: 'he',
    span2_index: 5,
    label: 1,
  };
  expect(golden('wsc', second)).toEqual(
    same('text: Mitchell asked * Tom (B.) * if # he # could lend some money.', 'True', '1', 'wsc'),
  );
  const scored = 'wsc: Mitchell asked Tom (B.) if *he* could lend some money. → Tom (B.)';
  expect(golden('wsc-referent', second)).toEqual([scored, scored]);
  expect(golden('wsc-referent', { ...second, span2_index: 4 })).toEqual([scored, scored]);
  const end = { ...second, text: '"Good for him," he said.', span2_text: 'him', span2_index: 2 };
  expect(golden('wsc-referent', end)[0]).toBe('wsc: "Good for *him* ," he said. → Tom (B.)');
  expect(golden('wsc-referent', first)).toEqual(['', '']);
});

test('the cases cover all formats', () => {
  const names = [...cases.map(([name]) => name), 'wsc', 'wsc-referent'];
  expect(names.sort()).toEqual(Object.keys(textFormats).sort());
});

test('STS-B: steps of 0.2 in T5’s form, of 0.1 in the other, ties to even (golden values of NumPy)', () => {
  const scores = [0.25, 2.5, 3.5, 3.799999952316284, 4.25, 1.9, 5, 4.35, 0.5, 2.75];
  expect(scores.map((s) => stsbTarget(s, 't5'))).toEqual(
    '0.2 2.4 3.6 3.8 4.2 2.0 5.0 4.4 0.4 2.8'.split(' '),
  );
  expect(scores.map((s) => stsbTarget(s, 'keys'))).toEqual(
    '0.2 2.5 3.5 3.8 4.2 1.9 5.0 4.4 0.5 2.8'.split(' '),
  );
  const { examples } = publishedDataset('stsb', [{ ...pair, label: 1.9 }]);
  expect(examples[0]!.score).toBe(2);
});

test('ReCoRD: an example for each answer to learn from, for each question to test on', () => {
  const row = cases.find(([name]) => name === 'record')![1];
  const learn = publishedDataset('record', [row], { train: true }).examples;
  expect(learn.map((e) => [e.id, e.target])).toEqual([
    ['1/2/0', 'penguin'],
    ['1/2/1', 'pigeon'],
  ]);
  const [asked, ...rest] = publishedDataset('record', [row]).examples;
  expect([asked!.id, asked!.answers, rest.length]).toEqual(['1/2', ['penguin', 'pigeon'], 0]);
});

test('MultiRC: all answers of a question right', () => {
  const row = cases.find(([name]) => name === 'multirc')![1];
  const rows = [4, 4, 5].map((question, answer) => ({ ...row, idx: { paragraph: 0, question, answer } }));
  const data = publishedDataset('multirc', rows);
  expect(data.examples.map((e) => e.id)).toEqual(['0/4/0', '0/4/1', '0/5/2']);
  expect(questionExactMatch(data, ['True', 'False', 'True'])).toBe(0.5);
});

test('a row without a label is written <unk> and has none', () => {
  const [e] = publishedDataset('cola', [{ sentence: 'x', label: -1 }]).examples;
  expect(e).toEqual({ id: '0', parts: { sentence: 'x' }, target: '<unk>' });
});

test('what is wrong with a row is named', () => {
  const one = (row: Row) => () => publishedDataset('cola', [row]);
  expect(one({ sentences: 'x', label: 0 })).toThrow(
    'cola, row 0 has no column "sentence" (did you mean "sentences"?); its columns are sentences, label',
  );
  expect(one({ sentence: 3, label: 0 })).toThrow('column "sentence" is 3, not text');
  expect(one({ sentence: 'x', label: 2 })).toThrow('label 2 is none of 0 to 1');
  expect(one({ sentence: 'x' })).toThrow('column "label" is undefined, not a number');
});

test('padding of punctuation', () => {
  expect(padPunctuation(' a_b  "c"—d ', 't5')).toBe('a_b " c " — d');
  expect(padPunctuation('é²x', 't5')).toBe('é ² x');
  expect(padPunctuation('é²x', 'keys')).toBe('é²x');
});

test('the shuffle is PyTorch’s (golden values of torch.randperm)', () => {
  expect(torchPermutation(10, 42)).toEqual([2, 6, 1, 8, 4, 5, 0, 9, 3, 7]);
  const cola = torchPermutation(1043, 1);
  expect([cola.slice(0, 4), cola.slice(-3)]).toEqual([
    [966, 850, 365, 251],
    [12, 67, 678],
  ]);
  expect(torchPermutation(70000, 42).reduce((sum, p, i) => sum + p * i, 0) % 1000003).toBe(332394);
});

test('published splits: half of validation, a thousand of train, MNLI’s two', () => {
  const rows = (n: number, name: string) => Array.from({ length: n }, (_, i) => `${name}${i}`);
  const small = publishedSplits('rte', { train: rows(3, 't'), validation: rows(7, 'v'), test: rows(9, 'x') });
  expect(small).toEqual({
    train: ['t0', 't1', 't2'],
    val: ['v1', 'v6', 'v3'],
    test: ['v5', 'v4', 'v0', 'v2'],
  });
  const large = publishedSplits('qnli', { train: rows(1005, 't'), validation: rows(7, 'v') });
  expect([large.train.length, large.val.length, large.test]).toEqual([5, 1000, rows(7, 'v')]);
  expect(new Set([...large.train, ...large.val]).size).toBe(1005);
  const mnli = publishedSplits('mnli', {
    train: ['t'],
    validation_matched: ['m'],
    validation_mismatched: ['mm'],
  });
  expect(mnli).toEqual({ train: ['t'], val: ['mm'], test: ['m'] });
  expect(() => publishedSplits('rte', { train: [], test: [] })).toThrow(
    'rte needs its validation file; here are train, test',
  );
});
