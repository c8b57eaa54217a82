import type { Random } from '../../runtime/index.ts';

/** Vectors of one length, one after the other. */
export interface Rows {
  readonly data: Float32Array;
  readonly width: number;
}

export const row = ({ data, width }: Rows, i: number): Float32Array =>
  data.subarray(i * width, (i + 1) * width);

/** Draws of a first centroid. */
const candidates = 4;

/** Rows of length 1; a row of zeros stays. */
export function normalised({ data, width }: Rows): Rows {
  const out = Float32Array.from(data);
  for (let from = 0; from < out.length; from += width) scale(out.subarray(from, from + width));
  return { data: out, width };
}

/** Makes the length of `v` 1. */
export function scale(v: Float32Array): void {
  const size = Math.hypot(...v) || 1;
  for (let i = 0; i < v.length; i++) v[i]! /= size;
}

/**
 * Lloyd's k-means of the rows `members`, begun by greedy k-means++ (Arthur & Vassilvitskii 2007). Returns the clusters that have
 * members, at most `k`. Spherical: centroids have length 1 too (Dhillon & Modha 2001), for rows that have.
 */
export function kMeans(
  rows: Rows,
  members: readonly number[],
  k: number,
  random: Random,
  spherical: boolean,
): number[][] {
  const { width } = rows;
  const points = members.map((i) => row(rows, i));
  const centroids = firstCentroids(points, Math.min(k, points.length), random);
  let assigned = new Int32Array(0);
  for (let round = 0; round < 50; round++) {
    const next = Int32Array.from(points, (p) => nearest(p, centroids));
    if (next.every((c, i) => c === assigned[i])) break;
    assigned = next;
    const sums = centroids.map(() => new Float32Array(width));
    const counts = centroids.map(() => 0);
    points.forEach((p, i) => {
      counts[assigned[i]!]!++;
      const sum = sums[assigned[i]!]!;
      for (let d = 0; d < width; d++) sum[d]! += p[d]!;
    });
    sums.forEach((sum, c) => {
      // A cluster that lost its last member keeps its place.
      if (counts[c] === 0) return;
      if (spherical) scale(sum);
      else for (let d = 0; d < width; d++) sum[d]! /= counts[c]!;
      centroids[c] = sum;
    });
  }
  return centroids
    .map((_, c) => members.filter((_m, i) => assigned[i] === c))
    .filter((cluster) => cluster.length > 0);
}

/** Each the best of a few draws in proportion to the squared distance from those before it. */
function firstCentroids(points: readonly Float32Array[], k: number, random: Random): Float32Array[] {
  const chosen = [points[random.int(points.length)]!];
  let distances = points.map((p) => distance(p, chosen[0]!));
  const total = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  while (chosen.length < k) {
    const sum = total(distances);
    // Fewer distinct points than clusters.
    if (sum === 0) break;
    const draws = Array.from({ length: candidates }, () => {
      const centroid = points[drawIndex(distances, random.next() * sum)]!;
      return { centroid, left: points.map((p, i) => Math.min(distances[i]!, distance(p, centroid))) };
    });
    const best = draws.reduce((a, b) => (total(b.left) < total(a.left) ? b : a));
    chosen.push(best.centroid);
    distances = best.left;
  }
  return chosen;
}

/** Where the running sum of `weights` passes `at`. */
function drawIndex(weights: readonly number[], at: number): number {
  let sum = 0;
  const index = weights.findIndex((w) => {
    sum += w;
    return sum > at;
  });
  return Math.max(0, index);
}

export function distance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let d = 0; d < a.length; d++) sum += (a[d]! - b[d]!) ** 2;
  return sum;
}

function nearest(p: Float32Array, centroids: readonly Float32Array[]): number {
  let index = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let c = 0; c < centroids.length; c++) {
    const d = distance(p, centroids[c]!);
    if (d < least) [index, least] = [c, d];
  }
  return index;
}
