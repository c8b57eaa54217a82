/** From rows with any columns to examples: which columns are text, which is the label, and of what kind the task is. */
import { didYouMean } from '../../graph/nearest.ts';
import { byCode, listed } from '../files.ts';
import type { TableRow } from '../table.ts';
import type { TextDataset, TextExample } from './example.ts';

export interface ColumnOptions {
  /** The columns to read, in this order. Default: the first of the usual ones that are there. */
  readonly text?: readonly string[];
  /** The column of the label, score or answer. Default: the first of the usual ones that is there. */
  readonly label?: string;
  /** Default: a label with a fraction is a score, other labels are classes, an answer or a summary is a text. */
  readonly kind?: TextDataset['kind'];
  /** What to do with a row whose text or label is empty. Default `error`. */
  readonly onEmptyRow?: 'error' | 'skip';
}

/** A row and where it stands, for messages. */
export interface PlacedRow extends TableRow {
  readonly file: string;
}

/** The usual columns of a text, of two texts first. */
const textColumns = [
  ['premise', 'hypothesis'],
  ['sentence1', 'sentence2'],
  ['question1', 'question2'],
  ['question', 'context'],
  ['question', 'passage'],
  ['question', 'sentence'],
  ['text'],
  ['sentence'],
  ['content'],
  ['review'],
  ['input'],
  ['question'],
];
const labelColumns = ['label', 'labels', 'class', 'category', 'score'];
const answerColumns = ['target', 'answers', 'answer', 'output', 'summary'];

export interface Columns {
  readonly text: readonly string[];
  readonly label: string;
}

/** The columns to read of rows like the first. */
export function chooseColumns({ values, file }: PlacedRow, { text, label }: ColumnOptions): Columns {
  const present = Object.keys(values);
  const missing = [...(text ?? []), ...(label ? [label] : [])].find((column) => !(column in values));
  if (missing !== undefined) {
    throw new Error(
      `${file} has no column "${missing}"${didYouMean(missing, present)}; its columns are ${present.join(', ')}`,
    );
  }
  const found = text ?? textColumns.find((columns) => columns.every((column) => column in values));
  const target = label ?? [...labelColumns, ...answerColumns].find((column) => column in values);
  if (found?.length && target) return { text: found, label: target };
  throw new Error(
    `${file} has no column ${found ? 'of labels' : 'of text'} with a usual name (its columns are ` +
      `${present.join(', ')}): name ${found ? 'it as "label"' : 'them as "text"'} in the options`,
  );
}

/** A value as text; lists are an answer's alternatives, also under `text`, as SQuAD has them. */
function texts(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(texts);
  if (typeof value === 'object' && value !== null && 'text' in value) return texts(value.text);
  const text = value === null || value === undefined ? '' : String(value).trim();
  return text ? [text] : [];
}

/** Whether a row has a label; −1 is the Hub's sign for a hidden one. */
export const isLabelled = ({ values }: TableRow, { label }: Columns): boolean => {
  const found = texts(values[label]);
  return found.length > 0 && found[0] !== '-1';
};

/** A row as read, before classes are numbered. */
export type Draft = Omit<TextExample, 'label' | 'score'> & { readonly file: string };

/**
 * The rows as examples.
 * @throws with the line where a column is missing, or is empty and `onEmptyRow` is `error`.
 */
export function readRows(
  rows: readonly PlacedRow[],
  columns: Columns,
  { onEmptyRow = 'error' }: ColumnOptions,
  warnings: string[],
): Draft[] {
  const empty: string[] = [];
  const drafts = rows.flatMap((row): Draft[] => {
    const { values, file, line } = row;
    const where = `${file}, line ${line}`;
    const all = [...columns.text, columns.label];
    const missing = all.find((column) => !(column in values));
    if (missing !== undefined) {
      throw new Error(
        `${where} has no column "${missing}"; its columns are ${Object.keys(values).join(', ')}`,
      );
    }
    const blank = all.find((column) => !texts(values[column]).length);
    if (blank !== undefined) {
      empty.push(`${where} has an empty ${blank}`);
      return [];
    }
    const parts = Object.fromEntries(columns.text.map((column) => [column, texts(values[column])[0]!]));
    const answers = texts(values[columns.label]);
    const id = `${file}:${line}`;
    return [{ id, file, parts, target: answers[0]!, ...(answers.length > 1 && { answers }) }];
  });
  if (!empty.length) return drafts;
  if (onEmptyRow === 'error') {
    throw new Error(
      `${empty.length} of ${rows.length} rows are empty (fill or remove them, or skip them with onEmptyRow skip):\n  ` +
        listed(empty, 5, '\n  '),
    );
  }
  warnings.push(`left out ${empty.length} empty rows: ${listed(empty)}`);
  return drafts;
}

const isNumber = (text: string) => Number.isFinite(Number(text));
const isWhole = (text: string) => /^-?\d+$/.test(text);

/** What the task is, by the name of its column and what stands in it. */
export function kindOf(drafts: readonly Draft[], { label }: Columns): TextDataset['kind'] {
  const numbers = drafts.every(({ target }) => isNumber(target));
  if (numbers && drafts.some(({ target }) => !isWhole(target))) return 'regression';
  return answerColumns.includes(label) ? 'text' : 'classification';
}

/** Class names as they stand, numbers in their order. */
export function classesOf(drafts: readonly Draft[]): string[] {
  const found = [...new Set(drafts.map(({ target }) => target))];
  return found.every(isWhole) ? found.sort((a, b) => Number(a) - Number(b)) : found.sort(byCode);
}
