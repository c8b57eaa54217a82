/** Rows of a user's own data as train, val and test: checked, classes numbered, what is missing drawn from train. */
import { Random } from '../../runtime/random.ts';
import { listed, type SplitName } from '../files.ts';
import { groupBy } from '../icons/split.ts';
import {
  type ColumnOptions,
  chooseColumns,
  classesOf,
  type Draft,
  isLabelled,
  kindOf,
  type PlacedRow,
  readRows,
} from './columns.ts';
import {
  inputText,
  type TextDataset,
  type TextExample,
  type TextMetric,
  type TextSplits,
} from './example.ts';
import type { FileSplit } from './layout.ts';

/** Rows to keep of train for val, at most. */
const maxVal = 1000;

/**
 * The rows of a source as train, val and test.
 * @throws where nothing is to learn from, and where rows, columns or classes do not fit.
 */
export function plainSplits(
  name: string,
  rows: Partial<Record<FileSplit, readonly PlacedRow[]>>,
  classNames: Readonly<Record<string, readonly string[]>>,
  options: ColumnOptions & { readonly seed?: number },
): TextSplits {
  const warnings: string[] = [];
  const first = rows.train?.[0];
  if (!first)
    throw new Error(`${name} has no rows to learn from: it needs a train file, or rows of the split train`);
  const columns = chooseColumns(first, options);
  const usable = (split: FileSplit): Draft[] | undefined => {
    const own = rows[split];
    if (!own?.length) return undefined;
    if (split === 'test' && !own.some((row) => isLabelled(row, columns))) {
      warnings.push(`the test rows of ${name} have no labels and are not used`);
      return undefined;
    }
    return readRows(own, columns, options, warnings);
  };
  const [train, validation, test] = [
    usable('train')!,
    usable('validation') ?? usable('validation_matched'),
    usable('test'),
  ];
  if (rows.validation_mismatched) warnings.push(`validation_mismatched of ${name} is not used`);
  const drafts = divide(name, train, validation, test, options.seed ?? 1, warnings);
  const all = [...drafts.train, ...drafts.val, ...drafts.test];
  const kind = options.kind ?? kindOf(all, columns);
  const known = new Set(drafts.train.map((draft) => inputText(draft)));
  const copies = drafts.test.filter((draft) => known.has(inputText(draft)));
  if (copies.length) {
    warnings.push(`${copies.length} texts of test are also in train: ${listed(copies.map(({ id }) => id))}`);
  }
  const part = finish(name, kind, drafts, classNames[columns.label]);
  return { train: part('train'), val: part('val'), test: part('test'), warnings };
}

/**
 * Train, val and test. What the source lacks is drawn from train by seed, the same text always in one of them: a tenth
 * for val (at most 1,000 rows), a fifth for test. A source with validation and no test is tested on its validation.
 */
function divide(
  name: string,
  train: readonly Draft[],
  validation: readonly Draft[] | undefined,
  test: readonly Draft[] | undefined,
  seed: number,
  warnings: string[],
): Record<SplitName, readonly Draft[]> {
  if (validation && test) return { train, val: validation, test };
  const given = test ?? validation;
  const want = {
    val: Math.max(1, Math.min(Math.round(train.length / 10), maxVal)),
    test: given ? 0 : Math.max(1, Math.round(train.length / 5)),
  };
  const drawn: Record<SplitName, Draft[]> = { train: [], val: [], test: [] };
  const groups = [...groupBy(train, (draft) => inputText(draft)).values()];
  for (const group of new Random(seed, 'text split').shuffle(groups)) {
    const split = drawn.test.length < want.test ? 'test' : drawn.val.length < want.val ? 'val' : 'train';
    drawn[split].push(...group);
  }
  const { length: inVal } = drawn.val;
  warnings.push(
    given
      ? `${name} has no ${test ? 'validation' : 'labelled test'} rows: ${test ? '' : 'its validation is test, '}` +
          `${inVal} rows of train are val (seed ${seed})`
      : `${name} has no splits: ${drawn.train.length} rows are train, ${inVal} val, ${drawn.test.length} test (seed ${seed})`,
  );
  if (!drawn.train.length) throw new Error(`${name} has too few rows to learn from: ${train.length}`);
  return { ...drawn, ...(given && { test: given }) };
}

const metricsOf: Readonly<Record<TextDataset['kind'], readonly TextMetric[]>> = {
  classification: ['accuracy', 'macro-f1'],
  regression: ['pearson', 'spearman'],
  text: ['exact-match', 'squad-f1'],
};

/** Numbers the classes; `names` are those of labels 0, 1, … where the file knows them. */
function finish(
  name: string,
  kind: TextDataset['kind'],
  drafts: Record<SplitName, readonly Draft[]>,
  names?: readonly string[],
): (split: SplitName) => TextDataset {
  const all = [...drafts.train, ...drafts.val, ...drafts.test];
  const metrics = metricsOf[kind];
  const plain = ({ file: _, ...draft }: Draft): TextExample => draft;
  if (kind === 'text') {
    return (split) => ({ name, kind, metrics, classes: [], examples: drafts[split].map(plain) });
  }
  if (kind === 'regression') {
    const scored = (draft: Draft): TextExample => {
      const score = Number(draft.target);
      if (Number.isNaN(score)) throw new Error(`${draft.id}: "${draft.target}" is no number`);
      return { ...plain(draft), score };
    };
    return (split) => ({ name, kind, metrics, classes: [], examples: drafts[split].map(scored) });
  }
  const nameOf = (target: string) => names?.[Number(target)] ?? target;
  const sources = names ? names.map((_, label) => String(label)) : classesOf(all);
  const classes = sources.map(nameOf);
  if (classes.length < 2) {
    throw new Error(`${name} has only the class "${classes[0]}"; classification needs at least two`);
  }
  const learnt = new Set(drafts.train.map(({ target }) => target));
  const unseen = all.find(({ target }) => !learnt.has(target));
  if (unseen) {
    throw new Error(
      `${unseen.id}: the class "${nameOf(unseen.target)}" is in no row of train; every class needs some there ` +
        `(where the column is no class, say of what kind it is)`,
    );
  }
  const position = new Map(sources.map((source, label) => [source, label]));
  return (split) => ({
    name,
    kind,
    metrics,
    classes,
    examples: drafts[split].map((draft): TextExample => {
      const label = position.get(draft.target);
      if (label === undefined) {
        throw new Error(
          `${draft.id}: label ${draft.target} has no name in the file, which has ${listed(classes)}`,
        );
      }
      return { ...plain(draft), target: classes[label]!, label };
    }),
  });
}
