/**
 * Published tasks as texts: GLUE, SuperGLUE, SQuAD and MRQA, and what ATTEMPT and DePT add, from rows with the Hub's
 * column names, in two forms.
 *
 * - `t5`: as T5 was trained (Raffel et al. 2020): the task's name, parts in alphabetical order unless T5 lists them,
 *   class names in words.
 * - `keys`: as ATTEMPT (Asai et al., EMNLP 2022) and DePT (Shi and Lipani, ICLR 2024): no name, classes as numbers.
 */
import { didYouMean } from '../../graph/nearest.ts';
import type { SplitName } from '../files.ts';
import type { TextDataset, TextExample, TextMetric } from './example.ts';
import { torchPermutation } from './permutation.ts';

export type TextForm = 't5' | 'keys';
export type Row = Readonly<Record<string, unknown>>;

interface Format {
  readonly kind: TextDataset['kind'];
  readonly metrics: readonly TextMetric[];
  /** Written before the parts in the form `t5`. */
  readonly prefix?: string;
  /** Names of the labels 0, 1, …, in words. */
  readonly classes?: readonly string[];
  /** How published results split it: see `publishedSplits`. */
  readonly splits: 'half' | 'thousand' | 'own';
  /** The examples of a row: mostly one. `where` names the row in errors. */
  examples(row: Row, form: TextForm, where: string): Omit<TextExample, 'id'>[];
}

function text(row: Row, column: string, where: string): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  const columns = Object.keys(row);
  throw new Error(
    column in row
      ? `${where}: column "${column}" is ${JSON.stringify(value)}, not text`
      : `${where} has no column "${column}"${didYouMean(column, columns)}; its columns are ${columns.join(', ')}`,
  );
}

/** A number, also where Parquet gives a 64-bit one or JSON a boolean. */
function number(row: Row, column: string, where: string): number {
  const value = row[column];
  const isNumber = ['number', 'bigint', 'boolean', 'string'].includes(typeof value) && value !== '';
  const found = isNumber ? Number(value) : Number.NaN;
  if (Number.isNaN(found)) throw new Error(`${where}: column "${column}" is ${String(value)}, not a number`);
  return found;
}

type Parts = (row: Row, form: TextForm, where: string) => Record<string, string>;

/** The columns as parts, under their own names; another name is written `part=column`. */
const columns =
  (t5: string, keys = t5): Parts =>
  (row, form, where) =>
    Object.fromEntries(
      (form === 't5' ? t5 : keys).split(' ').map((entry) => {
        const [part, column = part] = entry.split('=') as [string, string?];
        return [part, text(row, column, where)];
      }),
    );

interface ClassOptions {
  readonly splits: Format['splits'];
  readonly metrics?: readonly TextMetric[];
  /** The class of a row; −1 is none. Default: the column `label`. */
  readonly label?: (row: Row, where: string) => number;
}

/** A row without a label, as the test files of GLUE have them, gets T5's `<unk>`. */
function classification(
  prefix: string,
  names: string,
  parts: Parts,
  { splits, metrics = ['accuracy'], label = (row, where) => number(row, 'label', where) }: ClassOptions,
): Format {
  const classes = names.split(' ');
  return {
    kind: 'classification',
    metrics,
    prefix,
    classes,
    splits,
    examples(row, form, where) {
      const found = label(row, where);
      if (found === -1) return [{ parts: parts(row, form, where), target: '<unk>' }];
      const name = classes[found];
      if (name === undefined)
        throw new Error(`${where}: label ${found} is none of 0 to ${classes.length - 1}`);
      const target = form === 't5' ? name : String(found);
      return [{ parts: parts(row, form, where), target, label: found }];
    },
  };
}

/** Ties to even, as NumPy and TensorFlow round. */
function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** T5 rounds STS-B's scores to steps of 0.2; the code of ATTEMPT and DePT, which means to, rounds to 0.1. */
export const stsbTarget = (score: number, form: TextForm): string =>
  (form === 't5' ? roundEven(score * 5) / 5 : roundEven(score * 10) / 10).toFixed(1);

const stsb: Format = {
  kind: 'regression',
  metrics: ['pearson', 'spearman'],
  prefix: 'stsb',
  splits: 'half',
  examples(row, form, where) {
    const parts = columns('sentence1 sentence2')(row, form, where);
    const score = number(row, 'label', where);
    if (score < 0) return [{ parts, target: '<unk>' }];
    const target = stsbTarget(score, form);
    return [{ parts, target, score: Number(target) }];
  },
};

/** MultiRC's paragraphs have HTML marks. */
const withoutMarks = (value: string) => value.replaceAll('<br>', ' ').replace(/<\/?b>/g, '');
const multirc: Parts = (row, form, where) =>
  Object.fromEntries(
    Object.entries(columns('question answer paragraph')(row, form, where)).map(([key, value]) => [
      key,
      withoutMarks(value),
    ]),
  );

const escaped = (literal: string) => literal.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** Puts marks around a span, which begins at a word of the text, counted from 0. */
const markSpan = (value: string, span: string, word: number, mark: string): string =>
  value.replace(
    new RegExp(`^((?:\\S+\\s){${word}})(${escaped(span)})`),
    (_, before, found) => `${before}${mark} ${found} ${mark}`,
  );

/** The noun between asterisks, the pronoun between number signs; the first marks move the second span on by two words. */
const wsc: Parts = (row, _, where) => {
  const [noun, pronoun] = [text(row, 'span1_text', where), text(row, 'span2_text', where)];
  const [nounAt, pronounAt] = [number(row, 'span1_index', where), number(row, 'span2_index', where)];
  const marked = markSpan(text(row, 'text', where), noun, nounAt, '*');
  return { text: markSpan(marked, pronoun, pronounAt + (nounAt < pronounAt ? 2 : 0), '#') };
};

/** The WSC on which T5 is scored: write whom the pronoun means. Only rows whose noun is meant have an answer. */
const wscReferent: Format = {
  kind: 'text',
  metrics: ['exact-match'],
  splits: 'half',
  examples(row, _, where) {
    if (number(row, 'label', where) !== 1) return [];
    const pronoun = text(row, 'span2_text', where);
    const at = number(row, 'span2_index', where);
    const words = text(row, 'text', where).trim().split(/\s+/);
    const isPronoun = new RegExp(`^${escaped(pronoun)}(\\W*)$`);
    // Two rows of the data count a word too few or too many: the nearest such word is meant.
    const places = words.flatMap((word, i) => (isPronoun.test(word) ? [i] : []));
    const place = places.sort((a, b) => Math.abs(a - at) - Math.abs(b - at))[0];
    if (place === undefined) throw new Error(`${where}: "${pronoun}" is no word of its text`);
    words[place] = words[place]!.replace(isPronoun, (_, end) => `*${pronoun}*${end && ` ${end}`}`);
    return [{ parts: { wsc: words.join(' ') }, target: text(row, 'span1_text', where) }];
  },
};

/** A list of texts; also under `text`, as SQuAD's answers. */
function texts(row: Row, column: string, where: string): string[] {
  const value = row[column] as { text?: unknown } | undefined;
  const list = Array.isArray(value) ? value : value?.text;
  if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
  throw new Error(`${where}: column "${column}" is no list of texts`);
}

/** One example for each answer, to learn from; `publishedDataset` keeps the first of each question to test on. */
const record: Format = {
  kind: 'text',
  metrics: ['squad-f1', 'exact-match'],
  prefix: 'record',
  splits: 'thousand',
  examples(row, form, where) {
    const passage = text(row, 'passage', where)
      .replace(/([.?!"'])\n@highlight\n/g, '$1 ')
      .replace(/\n@highlight\n/g, '. ');
    const rest = { entities: texts(row, 'entities', where).join(', '), passage };
    const query = text(row, 'query', where);
    // ATTEMPT and DePT leave out no more than their own name of the task.
    const parts = form === 't5' ? { query, ...rest } : { 'record query': query, ...rest };
    const answers = texts(row, 'answers', where);
    return answers.length
      ? answers.map((target) => ({ parts, target, answers }))
      : [{ parts, target: '<unk>' }];
  },
};

/**
 * Spaces around punctuation. T5 takes all but ASCII letters, digits and the underscore for punctuation, so that "ç"
 * stands alone; ATTEMPT and DePT spare letters. Spaces at the ends go, as in SentencePiece.
 */
export const padPunctuation = (value: string, form: TextForm): string =>
  value
    .replace(form === 't5' ? /(\W)/gu : /([^_\s\p{N}\p{L}\p{M}])/gu, ' $1 ')
    .replace(/\s+/g, ' ')
    .trim();

const questionAnswering: Format = {
  kind: 'text',
  metrics: ['squad-f1', 'exact-match'],
  splits: 'thousand',
  examples(row, form, where) {
    const pad = (value: string) => padPunctuation(value, form);
    const parts = { question: pad(text(row, 'question', where)), context: pad(text(row, 'context', where)) };
    const answers = texts(row, 'answers', where).map(pad);
    return answers.length ? [{ parts, target: answers[0]!, answers }] : [{ parts, target: '<unk>' }];
  },
};

const half = { splits: 'half' } as const;
const thousand = { splits: 'thousand' } as const;

/** By the names of the Hub's configurations; `superglue-rte` is SuperGLUE's copy of RTE, `mrqa` any of MRQA's sets. */
export const textFormats = {
  cola: classification('cola', 'unacceptable acceptable', columns('sentence'), { ...half, metrics: ['mcc'] }),
  sst2: classification('sst2', 'negative positive', columns('sentence'), thousand),
  mrpc: classification('mrpc', 'not_equivalent equivalent', columns('sentence1 sentence2'), {
    ...half,
    metrics: ['f1', 'accuracy'],
  }),
  qqp: classification('qqp', 'not_duplicate duplicate', columns('question1 question2'), {
    ...thousand,
    metrics: ['f1', 'accuracy'],
  }),
  stsb,
  mnli: classification(
    'mnli',
    'entailment neutral contradiction',
    columns('hypothesis premise', 'premise hypothesis'),
    { splits: 'own' },
  ),
  qnli: classification('qnli', 'entailment not_entailment', columns('question sentence'), thousand),
  rte: classification('rte', 'entailment not_entailment', columns('sentence1 sentence2'), half),
  'superglue-rte': classification(
    'rte',
    'entailment not_entailment',
    columns('hypothesis premise', 'premise hypothesis'),
    half,
  ),
  cb: classification(
    'cb',
    'entailment contradiction neutral',
    columns('hypothesis premise', 'premise hypothesis'),
    { ...half, metrics: ['macro-f1', 'accuracy'] },
  ),
  boolq: classification('boolq', 'False True', columns('passage question', 'question passage'), half),
  copa: classification(
    'copa',
    'choice1 choice2',
    columns('choice1 choice2 premise question', 'premise choice1 choice2'),
    half,
  ),
  multirc: classification('multirc', 'False True', multirc, { ...half, metrics: ['f1'] }),
  wic: classification('wic', 'False True', columns('sentence1 sentence2 word'), half),
  wsc: classification('wsc', 'False True', wsc, half),
  'wsc-referent': wscReferent,
  record,
  squad: questionAnswering,
  mrqa: questionAnswering,
  /** These four are no tasks of T5's: its form is made by T5's rule. */
  scitail: classification(
    'scitail',
    'entailment neutral',
    columns('hypothesis=sentence2 premise=sentence1', 'premise=sentence1 hypothesis=sentence2'),
    {
      ...half,
      label: (row, where) => ['entailment', 'neutral'].indexOf(text(row, 'gold_label', where)),
    },
  ),
  paws: classification('paws', 'not_paraphrase paraphrase', columns('sentence1 sentence2'), {
    splits: 'own',
  }),
  yelp: classification('yelp', 'negative positive', columns('sentence=text'), thousand),
  /** DePT's code writes the first option twice; here the second is the second. */
  winogrande: classification(
    'winogrande',
    'option1 option2',
    columns('option1 option2 sentence', 'sentence option0=option1 option1=option2'),
    { ...thousand, label: (row, where) => (row.answer === '' ? -1 : number(row, 'answer', where) - 1) },
  ),
} satisfies Record<string, Format>;

export type TextFormatName = keyof typeof textFormats;

/** The id of a row: the Hub's `id`, or its `idx`, which MultiRC and ReCoRD have in parts. */
function rowId({ id, idx }: Row, position: number): string {
  if (typeof id === 'string') return id;
  if (typeof idx === 'object' && idx !== null) return Object.values(idx).join('/');
  return String(idx ?? position);
}

export interface FormatOptions {
  /** Default `t5`. */
  readonly form?: TextForm;
  /** Rows to learn from: ReCoRD gives an example for each answer rather than for each question. Default false. */
  readonly train?: boolean;
}

/**
 * The rows of a published task as texts.
 * @throws with the row where a column is missing or odd.
 */
export function publishedDataset(
  name: TextFormatName,
  rows: readonly Row[],
  { form = 't5', train = false }: FormatOptions = {},
): TextDataset {
  const { kind, metrics, prefix, classes = [], examples }: Format = textFormats[name];
  return {
    name,
    kind,
    metrics,
    classes: form === 't5' ? classes : classes.map((_, label) => String(label)),
    ...(form === 't5' && prefix && { prefix }),
    examples: rows.flatMap((row, i) => {
      const id = rowId(row, i);
      const found = examples(row, form, `${name}, row ${i}`);
      if (!train) return found.slice(0, 1).map((example) => ({ id, ...example }));
      return found.map((example, k) => ({ id: found.length > 1 ? `${id}/${k}` : id, ...example }));
    }),
  };
}

/** The rows of the Hub's files of a task. */
export type PublishedFiles<T> = Partial<
  Record<'train' | 'validation' | 'validation_matched' | 'validation_mismatched' | 'test', readonly T[]>
>;

/**
 * Train, val and test as in ATTEMPT and DePT, who use no hidden labels; the same rows, since the shuffle is PyTorch's.
 * Small sets: half of the validation file each for val and test. Large sets: 1,000 rows of train are val, the
 * validation file (Yelp's test file) is test. MNLI: mismatched is val, matched is test.
 */
export function publishedSplits<T>(
  name: TextFormatName,
  files: PublishedFiles<T>,
  seed = 42,
): Record<SplitName, readonly T[]> {
  const need = (...names: (keyof PublishedFiles<T>)[]): readonly T[] => {
    const found = names.map((file) => files[file]).find((rows) => rows !== undefined);
    if (found) return found;
    throw new Error(
      `${name} needs its ${names.join(' or ')} file; here are ${Object.keys(files).join(', ')}`,
    );
  };
  const shuffled = (rows: readonly T[]) => torchPermutation(rows.length, seed).map((i) => rows[i]!);
  const train = need('train');
  switch ((textFormats[name] as Format).splits) {
    case 'half': {
      const rows = shuffled(need('validation'));
      const middle = Math.floor(rows.length / 2);
      return { train, val: rows.slice(0, middle), test: rows.slice(middle) };
    }
    case 'thousand': {
      const rows = shuffled(train);
      return { train: rows.slice(1000), val: rows.slice(0, 1000), test: need('validation', 'test') };
    }
    case 'own':
      return {
        train,
        val: need('validation_mismatched', 'validation'),
        test: need('validation_matched', 'test'),
      };
  }
}
