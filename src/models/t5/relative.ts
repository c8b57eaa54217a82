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

/** Buckets of queries, which are the last of the keys, and keys: [length, keys] in order. */
export const bucketTable = (length: number, keys: number, buckets: Buckets): number[] =>
  Array.from({ length: length * keys }, (_, i) =>
    bucketOf((i % keys) - (keys - length + Math.floor(i / keys)), buckets),
  );
