/** Which split a text belongs to: what is alike stays together, and a split never moves. */
import type { SplitName } from '../files.ts';
import { hash } from '../icons/split.ts';

const rank = (group: string) => hash(group).readUInt32BE(0);

/** Of a tenth of all groups each: test and val; the rest: train. The name of the group alone decides. */
export function splitOf(group: string): SplitName {
  const tenth = rank(group) % 10;
  return tenth === 0 ? 'test' : tenth === 1 ? 'val' : 'train';
}

/** The same for a few groups of a fixed list, of which test and val get one in ten, and at least one. */
export function splitFew(groups: readonly string[]): Map<string, SplitName> {
  const order = groups.toSorted((a, b) => rank(a) - rank(b));
  const part = Math.ceil(order.length / 10);
  return new Map(order.map((group, i) => [group, i < part ? 'test' : i < 2 * part ? 'val' : 'train']));
}

/** The group of each item: items that share a key, directly or through others, are in one group. */
export function joinByKeys<T>(items: readonly T[], keysOf: (item: T) => readonly string[]): string[] {
  const parent = new Map<string, string>();
  const root = (key: string): string => {
    let top = key;
    for (let up = parent.get(top); up !== undefined; up = parent.get(top)) top = up;
    if (top !== key) parent.set(key, top);
    return top;
  };
  const firstKeys = items.map((item) => {
    const [first, ...others] = keysOf(item);
    for (const other of others) {
      const [a, b] = [root(first!), root(other)];
      // The smaller name becomes the group's, whatever the order of the items.
      if (a !== b) parent.set(a < b ? b : a, a < b ? a : b);
    }
    return first!;
  });
  return firstKeys.map(root);
}
