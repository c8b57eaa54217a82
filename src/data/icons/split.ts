/** Which drawings of a class are for training, validation and test. */
import { createHash } from 'node:crypto';
import type { Candidate } from './source.ts';

export type EvaluationSplit = 'train' | 'val' | 'test';

/** A candidate that could be drawn. */
export interface Rendered extends Candidate {
  readonly print: string;
  readonly blob: Buffer;
}

export const hash = (text: string): Buffer => createHash('sha1').update(text).digest();

export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const k = key(item);
    const group = groups.get(k);
    if (group) group.push(item);
    else groups.set(k, [item]);
  }
  return groups;
}

/** The least images of a class in each split, where its families allow. */
export const minPerClass = { train: 16, val: 4, test: 10 };

/**
 * Splits the drawings of one class. A family's drawings of it stay together, and families that copied a drawing from
 * one another count as one. Test gets about a third, val about an eighth. The first of a hundred fixed orders
 * of the families that fills `minPerClass` is taken.
 */
export function splitClass(items: readonly Rendered[]): EvaluationSplit[] {
  const parent = new Map<string, string>();
  const root = (x: string): string => {
    const up = parent.get(x) ?? x;
    return up === x ? x : root(up);
  };
  for (const item of items) {
    const a = root(`family:${item.family}`);
    const b = root(`print:${item.print}`);
    if (a !== b) parent.set(b, a);
  }
  const groups = [...groupBy(items, (item) => root(`family:${item.family}`))];
  const target = {
    test: Math.max(minPerClass.test, items.length * 0.33),
    val: Math.max(minPerClass.val, items.length * 0.12),
  };
  let splitOf = new Map<string, EvaluationSplit>();
  for (let salt = 0; salt < 100; salt++) {
    const rank = new Map(
      groups.map(([name]) => [name, hash(`${salt}|${items[0]!.label}|${name}`).readUInt32BE(0)]),
    );
    const filled = { train: 0, val: 0, test: 0 };
    splitOf = new Map();
    for (const [name, group] of groups.toSorted((a, b) => rank.get(a[0])! - rank.get(b[0])!)) {
      const half = group.length / 2;
      const split =
        filled.test + half < target.test ? 'test' : filled.val + half < target.val ? 'val' : 'train';
      filled[split] += group.length;
      splitOf.set(name, split);
    }
    if (Object.entries(minPerClass).every(([split, n]) => filled[split as 'train'] >= n)) break;
  }
  return items.map((item) => splitOf.get(root(`family:${item.family}`))!);
}

/** Test families are test; of the others, whole families are val until it is filled, as long as train keeps enough. */
export function splitByRole(
  items: readonly Rendered[],
  isTest: (item: Rendered) => boolean,
): EvaluationSplit[] {
  const pool = items.filter((item) => !isTest(item));
  const rank = (family: string) => hash(`${items[0]!.label}|${family}`).readUInt32BE(0);
  const families = [...groupBy(pool, (item) => item.family)].sort((a, b) => rank(a[0]) - rank(b[0]));
  const val = new Set<string>();
  let filled = 0;
  for (const [name, group] of families) {
    if (filled >= minPerClass.val || pool.length - filled - group.length < minPerClass.train) continue;
    val.add(name);
    filled += group.length;
  }
  return items.map((item) => (isTest(item) ? 'test' : val.has(item.family) ? 'val' : 'train'));
}
