/**
 * Farthest-first traversal: begins at `first` and adds the point that is farthest from all so far, the first of ties. Its
 * covering radius is at most twice the best (Gonzalez 1985).
 * @param distance of point i to one; where it is not below `within`, any number that is not.
 */
export function farthestFirst(
  count: number,
  budget: number,
  first: number,
  distance: (i: number, to: number, within: number) => number,
): number[] {
  const nearest = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  const chosen: number[] = [];
  for (let next = first; chosen.length < Math.min(budget, count); ) {
    chosen.push(next);
    nearest[next] = Number.NEGATIVE_INFINITY;
    let farthest = 0;
    for (let i = 0; i < count; i++) {
      const within = nearest[i]!;
      const d = distance(i, next, within);
      if (d < within) nearest[i] = d;
      if (nearest[i]! > nearest[farthest]!) farthest = i;
    }
    next = farthest;
  }
  return chosen;
}
