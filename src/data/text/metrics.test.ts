import { expect, test } from 'vitest';
import type { TextDataset, TextMetric } from './example.ts';
import { normalizeAnswer, pearson, spearman, textScores } from './metrics.ts';

const letters = ['a', 'b', 'c'];
const classified = (labels: readonly number[], classes: string[], metrics: TextMetric[]): TextDataset => ({
  name: 'd',
  kind: 'classification',
  classes,
  metrics,
  examples: labels.map((label, i) => ({ id: String(i), parts: {}, target: classes[label]!, label })),
});

test('accuracy, macro-F1 and Matthews over three classes, where one text names none (by scikit-learn’s formulas)', () => {
  const data = classified([0, 1, 2, 1, 0, 2, 1, 1], letters, ['accuracy', 'macro-f1', 'mcc']);
  const scores = textScores(data, ['a', 'b', ' b', 'b\n', 'x', 'c', 'c', 'a']);
  expect(scores.accuracy).toBeCloseTo(0.5, 12);
  expect(scores['macro-f1']).toBeCloseTo((0.5 + 4 / 7 + 0.5) / 3, 12);
  expect(scores.mcc).toBeCloseTo(0.27975144247209416, 12);
});

test('F1 and Matthews of two classes', () => {
  const data = classified([1, 1, 0, 1, 0, 0, 1, 0, 1, 1], ['no', 'yes'], ['f1', 'mcc']);
  const predicted = [1, 0, 0, 1, 1, 0, 1, 0, 1, 0].map((label) => data.classes[label]!);
  const scores = textScores(data, predicted);
  expect(scores.f1).toBeCloseTo(8 / 11, 12);
  expect(scores.mcc).toBeCloseTo(0.408248290463863, 12);
  // "maybe" for a no is a false yes, for a yes a false no.
  const maybe = predicted.map((text, i) => (i === 0 || i === 2 ? 'maybe' : text));
  expect(textScores(data, maybe).f1).toBeCloseTo(6 / 11, 12);
  expect(
    textScores(
      data,
      predicted.map(() => 'no'),
    ),
  ).toEqual({ f1: 0, mcc: 0 });
});

test('Pearson and Spearman with ties; what is no number is −1, a constant is 0 (golden values of SciPy)', () => {
  const scores = [3.4, 1.2, 5, 0, 2.6, 4.4, 3.4];
  const data: TextDataset = {
    name: 'd',
    kind: 'regression',
    classes: [],
    metrics: ['pearson', 'spearman'],
    examples: scores.map((score, i) => ({ id: String(i), parts: {}, target: score.toFixed(1), score })),
  };
  const found = textScores(data, ['3.0', 'nan', '4.8', '0.4', '2.6', '2.6', '5']);
  expect(found.pearson).toBeCloseTo(0.8046962929458186, 12);
  expect(found.spearman).toBeCloseTo(0.7090909090909091, 12);
  expect(textScores(data, ['3.0', '', '4.8', '0.4', '2.6', '2.6', '5'])).toEqual(found);
  expect(
    textScores(
      data,
      scores.map(() => 'high'),
    ),
  ).toEqual({ pearson: 0, spearman: 0 });
  expect([pearson([1, 2, 3], [3, 2, 1]), spearman([1, 2, 9], [1, 4, 5])]).toEqual([-1, 1]);
});

test('exact match and F1 of SQuAD: the best of the accepted answers', () => {
  expect(normalizeAnswer('  The  Broncos’, an "AFC" team. ')).toBe('broncos’ afc team');
  const examples = [
    { id: '0', parts: {}, target: 'Denver Broncos', answers: ['Denver Broncos', 'The Broncos'] },
    { id: '1', parts: {}, target: 'in 1066 in Hastings' },
    { id: '2', parts: {}, target: 'a cat' },
  ];
  const data: TextDataset = {
    name: 'qa',
    kind: 'text',
    classes: [],
    metrics: ['exact-match', 'squad-f1'],
    examples,
  };
  const scores = textScores(data, ['broncos!', 'Hastings in 1066', 'the dog']);
  expect(scores['exact-match']).toBeCloseTo(1 / 3, 12);
  // Three of three words are among the answer's four.
  expect(scores['squad-f1']).toBeCloseTo((1 + 6 / 7 + 0) / 3, 12);
});

test('a metric that does not fit, and texts that are too few, are named', () => {
  const data = classified([0, 1], ['a', 'b'], ['pearson']);
  expect(() => textScores(data, ['a', 'b'])).toThrow('d: pearson is a metric of regression');
  expect(() => textScores(data, ['a'])).toThrow('1 predictions for 2 examples');
  expect(() => textScores(classified([0], letters, ['f1']), ['a'])).toThrow('use macro-f1');
});
