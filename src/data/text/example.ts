/** Texts to learn from: what all readers, tasks and formats have in common. */

/** One text with what should be said of it. */
export interface TextExample {
  readonly id: string;
  /** Its parts by name, in the order they are written: `{ sentence }` or `{ premise, hypothesis }`. */
  readonly parts: Readonly<Record<string, string>>;
  /** What a text-to-text model should write: a class name, a number, a span. */
  readonly target: string;
  /** All accepted answers, where there are several. */
  readonly answers?: readonly string[];
  /** Position in `classes`, of classification. */
  readonly label?: number;
  /** Of regression. */
  readonly score?: number;
}

/** Each from 0 to 1, the correlations (`mcc`, `pearson`, `spearman`) from −1 to 1. */
export type TextMetric =
  | 'accuracy'
  | 'f1'
  | 'macro-f1'
  | 'mcc'
  | 'pearson'
  | 'spearman'
  | 'exact-match'
  | 'squad-f1';

export interface TextDataset {
  readonly name: string;
  /** What T5 writes before the parts (`inputText`'s task), where the data are in its form. */
  readonly prefix?: string;
  readonly kind: 'classification' | 'regression' | 'text';
  /** Empty but for classification. */
  readonly classes: readonly string[];
  /** What is reported, the first of which chooses the best checkpoint. */
  readonly metrics: readonly TextMetric[];
  readonly examples: readonly TextExample[];
}

export interface TextSplits {
  readonly train: TextDataset;
  readonly val: TextDataset;
  readonly test: TextDataset;
  /** What was left out or looks odd, one sentence each. */
  readonly warnings: readonly string[];
}

/** The text of an example as T5 reads it: `task key1: text1 key2: text2` (Raffel et al. 2020). */
export const inputText = ({ parts }: Pick<TextExample, 'parts'>, task?: string): string =>
  [...(task ? [task] : []), ...Object.entries(parts).map(([key, text]) => `${key}: ${text}`)].join(' ');

/** Share of the most frequent class: the accuracy of always saying the same. */
export function majorityRate({ classes, examples }: TextDataset): number {
  const counts = classes.map((_, label) => examples.filter((e) => e.label === label).length);
  return Math.max(0, ...counts) / Math.max(1, examples.length);
}
