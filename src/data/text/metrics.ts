/** The metrics of GLUE, SuperGLUE and SQuAD over what a model wrote, as T5 and ATTEMPT count them; not in percent. */
import type { TextDataset, TextExample, TextMetric } from './example.ts';

/** A text that names no class. */
const none = -1;

interface Labels {
  readonly truth: readonly number[];
  /** A text that names no class is `none`. */
  readonly predicted: readonly number[];
  readonly classCount: number;
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const orZero = (value: number) => (Number.isNaN(value) ? 0 : value);

const accuracy = ({ truth, predicted }: Labels) => mean(truth.map((t, i) => Number(t === predicted[i])));

/** 2·TP / (2·TP + FP + FN) of one class; 0 where it occurs on neither side. */
function f1Of(label: number, { truth, predicted }: Labels): number {
  const hits = truth.filter((t, i) => t === label && predicted[i] === label).length;
  const all = truth.filter((t) => t === label).length + predicted.filter((p) => p === label).length;
  return all ? (2 * hits) / all : 0;
}

/** F1 of the second class of two. A text that names neither counts as the wrong one. */
function binaryF1({ truth, predicted, classCount }: Labels): number {
  if (classCount !== 2) throw new Error(`f1 is of two classes, here are ${classCount}: use macro-f1`);
  const wrong = predicted.map((p, i) => (p === none ? 1 - truth[i]! : p));
  return f1Of(1, { truth, predicted: wrong, classCount });
}

const macroF1 = (labels: Labels) =>
  mean(Array.from({ length: labels.classCount }, (_, label) => f1Of(label, labels)));

/** Matthews correlation for any number of classes (Gorodkin 2004); a text that names no class is one more class. */
function matthews({ truth, predicted, classCount }: Labels): number {
  const classes = [none, ...Array.from({ length: classCount }, (_, label) => label)];
  const count = (labels: readonly number[], label: number) => labels.filter((l) => l === label).length;
  const [t, p] = [truth, predicted].map((labels) => classes.map((label) => count(labels, label)));
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const n = truth.length;
  const right = truth.filter((label, i) => label === predicted[i]).length;
  return orZero((right * n - dot(t!, p!)) / Math.sqrt((n * n - dot(p!, p!)) * (n * n - dot(t!, t!))));
}

/** Pearson's correlation; 0 where one side is constant. */
export function pearson(a: readonly number[], b: readonly number[]): number {
  const [meanA, meanB] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  a.forEach((x, i) => {
    const [da, db] = [x - meanA, b[i]! - meanB];
    ab += da * db;
    aa += da * da;
    bb += db * db;
  });
  return orZero(ab / Math.sqrt(aa * bb));
}

/** Ranks from 1; equal values share the mean of theirs. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const result = new Array<number>(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (const i of order.slice(from, to)) result[i] = (from + 1 + to) / 2;
    from = to;
  }
  return result;
}

export const spearman = (a: readonly number[], b: readonly number[]): number => pearson(ranks(a), ranks(b));

/** A written number; what is none is −1, as in T5 and ATTEMPT. */
function parseScore(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : -1;
}

/** Lower case, without ASCII punctuation and articles, single spaces (SQuAD v1.1's `normalize_answer`). */
export const normalizeAnswer = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\b(?:a|an|the)\b/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();

const exactMatch = (text: string, answer: string) =>
  Number(normalizeAnswer(text) === normalizeAnswer(answer));

/** F1 over the words that both have, counted as often as they occur in both (SQuAD v1.1). */
function wordF1(text: string, answer: string): number {
  const [own, wanted] = [text, answer].map((t) => normalizeAnswer(t).split(' ').filter(Boolean));
  const left = [...wanted!];
  const shared = own!.filter((word) => {
    const at = left.indexOf(word);
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  }).length;
  return shared ? (2 * shared) / (own!.length + wanted!.length) : 0;
}

/** The mean over examples of the best of their accepted answers. */
const bestAnswer = (
  examples: readonly TextExample[],
  predictions: readonly string[],
  score: (text: string, answer: string) => number,
) =>
  mean(examples.map((e, i) => Math.max(...(e.answers ?? [e.target]).map((a) => score(predictions[i]!, a)))));

/**
 * The data set's metrics of one written text for each example. For classes the texts are their names; for a classifier
 * give `classes[label]`.
 * @throws where there is not one text for each example, or a metric does not fit the data.
 */
export function textScores(
  data: TextDataset,
  predictions: readonly string[],
): Partial<Record<TextMetric, number>> {
  const { name, examples, metrics } = data;
  if (!examples.length || examples.length !== predictions.length) {
    throw new Error(`${name}: ${predictions.length} predictions for ${examples.length} examples`);
  }
  return Object.fromEntries(metrics.map((metric) => [metric, scoreOf(metric, data, predictions)]));
}

function scoreOf(
  metric: TextMetric,
  { name, kind, classes, examples }: TextDataset,
  predictions: readonly string[],
): number {
  const need = (wanted: TextDataset['kind']) => {
    if (kind !== wanted)
      throw new Error(`${name}: ${metric} is a metric of ${wanted}, the data are of ${kind}`);
  };
  const labels = (): Labels => {
    need('classification');
    const predicted = predictions.map((text) => classes.indexOf(text.trim()));
    return { truth: examples.map((e) => e.label!), predicted, classCount: classes.length };
  };
  const scores = (): [number[], number[]] => {
    need('regression');
    return [predictions.map(parseScore), examples.map((e) => e.score!)];
  };
  switch (metric) {
    case 'accuracy':
      return accuracy(labels());
    case 'f1':
      return binaryF1(labels());
    case 'macro-f1':
      return macroF1(labels());
    case 'mcc':
      return matthews(labels());
    case 'pearson':
      return pearson(...scores());
    case 'spearman':
      return spearman(...scores());
    case 'exact-match':
      return bestAnswer(examples, predictions, exactMatch);
    case 'squad-f1':
      return bestAnswer(examples, predictions, wordF1);
  }
}

/**
 * MultiRC's exact match: the share of questions whose answers are all judged right. Examples of one question have ids
 * that differ behind the last `/` only.
 */
export function questionExactMatch({ examples }: TextDataset, predictions: readonly string[]): number {
  const right = new Map<string, boolean>();
  examples.forEach(({ id, target }, i) => {
    const question = id.slice(0, id.lastIndexOf('/'));
    right.set(question, (right.get(question) ?? true) && predictions[i]!.trim() === target);
  });
  return mean([...right.values()].map(Number));
}
