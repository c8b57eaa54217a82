/**
 * Farthest-first traversal: begins at `first` and adds the point that is farthest from all so far, the first of ties. Its
 * covering radius is at most twice the best (Gonzalez 1985).
 * @param distances of all points to one: [n].
 */
export function farthestFirst(
  count: number,
  budget: number,
  first: number,
  distances: (to: number) => ArrayLike<number>,
): number[] {
  const nearest = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  const chosen: number[] = [];
  for (let next = first; chosen.length < Math.min(budget, count); ) {
    chosen.push(next);
    nearest[next] = Number.NEGATIVE_INFINITY;
    const d = distances(next);
    let farthest = 0;
    for (let i = 0; i < count; i++) {
      if (d[i]! < nearest[i]!) nearest[i] = d[i]!;
      if (nearest[i]! > nearest[farthest]!) farthest = i;
    }
    next = farthest;
  }
  return chosen;
}
