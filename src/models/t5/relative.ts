import { arange, clip, constant, gather, i64, type Tensor } from '../../graph/index.ts';

/** Which distances share a bias, in one stack of layers. */
export interface Buckets {
  readonly count: number;
  readonly maxDistance: number;
  /** Whether keys after the query have buckets of their own (encoder), or none (decoder). */
  readonly bidirectional: boolean;
}

/**
 * The bucket of a key so far behind the query (negative: before it): the first half of the buckets holds one distance
 * each, the others ever more of them, up to `maxDistance` (Raffel et al. 2020, section 2.1). Rounded as `transformers` does, in float32.
 */
export function bucketOf(distance: number, { count, maxDistance, bidirectional }: Buckets): number {
  const size = bidirectional ? count / 2 : count;
  const first = bidirectional && distance > 0 ? size : 0;
  const away = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = size / 2;
  if (away < exact) return first + away;
  const f = Math.fround;
  const share = f(f(Math.log(f(away / exact))) / f(Math.log(maxDistance / exact)));
  return first + Math.min(exact + Math.trunc(f(share * (size - exact))), size - 1);
}

/** Buckets of queries, which are the last of the keys, and keys: int64 [length, keys]. */
export function bucketIds(length: number, keys: number, buckets: Buckets): Tensor {
  const most = buckets.maxDistance;
  const table = Array.from({ length: 2 * most + 1 }, (_, i) => bucketOf(i - most, buckets));
  const distance = arange(keys).sub(arange(length, keys - length).reshape([length, 1]));
  return gather(constant(i64(table)), clip(distance, -most, most).add(most), 0);
}
