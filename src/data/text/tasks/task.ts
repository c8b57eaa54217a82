/** What the built-in tasks share: how a task is described, and how its examples are chosen. */
import type { SplitName } from '../../files.ts';
import { groupBy, hash } from '../../icons/split.ts';
import type { TextDataset, TextExample, TextMetric } from '../example.ts';

/** An example that a task could have. */
export interface Candidate {
  readonly id: string;
  readonly split: SplitName;
  readonly parts: Readonly<Record<string, string>>;
  /** The class, the score with one decimal, or the text to write. */
  readonly target: string;
}

export interface TextTask {
  /** One line for lists. */
  readonly summary: string;
  readonly kind: TextDataset['kind'];
  readonly classes: readonly string[];
  readonly metrics: readonly TextMetric[];
  /** The packages that its texts come from. */
  readonly packages: readonly string[];
  candidates(): Promise<readonly Candidate[]>;
}

/** Examples of a split, at most; every class gets an equal share, or all that it has. */
export const taskSizes: Readonly<Record<SplitName, number>> = { train: 4000, val: 500, test: 1000 };

/** A number below `n` that follows from `key` alone: chance without a state, so that no choice moves another. */
export const draw = (key: string, n: number): number => hash(key).readUInt32BE(0) % n;

/** In an order that follows from `key` of the items alone. */
export function shuffled<T>(items: readonly T[], key: (item: T) => string): T[] {
  const ranked = items.map((item) => ({ item, rank: hash(key(item)).toString('hex') }));
  return ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1)).map(({ item }) => item);
}

/** Within each group, as many candidates of every class as of its rarest there. */
export function balanced<C extends Candidate>(
  candidates: readonly C[],
  classes: readonly string[],
  groupOf: (c: C) => string,
): C[] {
  return [...groupBy(candidates, groupOf).values()].flatMap((group) => {
    const mixed = shuffled(group, ({ id }) => `balanced ${id}`);
    const byClass = classes.map((name) => mixed.filter((c) => c.target === name));
    const n = Math.min(...byClass.map((all) => all.length));
    return byClass.flatMap((all) => all.slice(0, n));
  });
}

/** The task's examples of one split: drawn from its candidates by their ids, classes mixed. */
export function select(
  name: string,
  { kind, classes, metrics }: TextTask,
  candidates: readonly Candidate[],
  split: SplitName,
): TextDataset {
  const mixed = shuffled(candidates, ({ id }) => `select ${name} ${id}`);
  const perClass = Math.floor(taskSizes[split] / Math.max(1, classes.length));
  const counts = new Map<string, number>();
  const chosen = mixed.filter(({ target }) => {
    const group = kind === 'classification' ? target : 'all';
    const n = counts.get(group) ?? 0;
    counts.set(group, n + 1);
    return n < perClass;
  });
  const examples = chosen.map(
    ({ id, parts, target }): TextExample => ({
      id,
      parts,
      target,
      ...(kind === 'classification' && { label: classes.indexOf(target) }),
      ...(kind === 'regression' && { score: Number(target) }),
    }),
  );
  return { name, kind, classes, metrics, examples };
}

/** Words of a run by which near copies are found. */
const runWords = 8;

function runsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}\d]+/gu) ?? [];
  return Array.from({ length: Math.max(0, words.length - runWords + 1) }, (_, i) =>
    words.slice(i, i + runWords).join(' '),
  );
}

/** Without texts of val and test that are mostly known: half of whose runs of eight words some text of train has. */
export function withoutNearCopies<T extends { readonly split: SplitName }>(
  items: readonly T[],
  textOf: (item: T) => string,
): T[] {
  const known = new Set(
    items.filter((item) => item.split === 'train').flatMap((item) => runsOf(textOf(item))),
  );
  return items.filter((item) => {
    if (item.split === 'train') return true;
    const runs = runsOf(textOf(item));
    return runs.filter((run) => known.has(run)).length * 2 < Math.max(1, runs.length);
  });
}

export const wordCount = (text: string): number => text.split(' ').length;

/** The first words of a text. */
export const firstWords = (text: string, n: number): string => text.split(' ').slice(0, n).join(' ');
