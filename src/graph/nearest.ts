/** "Did you mean …?" for every message that rejects a name. */

/** Up to `count` candidates that `name` was probably meant to be, best first; empty when nothing is near. */
export function nearest(name: string, candidates: Iterable<string>, count = 3): string[] {
  const wanted = name.toLowerCase();
  return [...new Set(candidates)]
    .map((candidate) => ({ candidate, cost: cost(wanted, candidate.toLowerCase()) }))
    .filter(({ cost }) => cost <= 0.4)
    .sort((a, b) => a.cost - b.cost)
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** ` (did you mean "x" or "y"?)`, or nothing. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const near = nearest(name, candidates).map((candidate) => JSON.stringify(candidate));
  return near.length ? ` (did you mean ${near.join(' or ')}?)` : '';
}

/** Share of the longer name that must be edited; a name that continues or ends the other counts as near. */
function cost(a: string, b: string): number {
  const share = editDistance(a, b) / Math.max(a.length, b.length, 1);
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  const part = short.length > 1 && (long.startsWith(short) || long.endsWith(short));
  return part ? Math.min(share, 0.3 + share / 10) : share;
}

/** Insertions, deletions, substitutions and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, before[j - 2]! + 1);
      }
      row.push(best);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length]!;
}
