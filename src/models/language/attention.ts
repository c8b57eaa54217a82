import * as g from '../../graph/index.ts';
import { concat, type Tensor } from '../../graph/index.ts';
import {
  causalMask,
  type Initializer,
  joinHeads,
  LOWEST,
  linear,
  normalInit,
  type Scope,
  zerosInit,
} from '../../nn/index.ts';

/** Keys and values of one layer, as they enter its attention (keys rotated where a model rotates): [B, heads, P, d] each. */
export interface KeyValue {
  readonly key: Tensor;
  readonly value: Tensor;
}

/** A weight matrix [out, in] with the taps `PATH:in` and `PATH:out`, where adapters and scalings go. */
export function project(
  s: Scope,
  x: Tensor,
  out: number,
  { bias = true, init = normalInit(0.02) }: { bias?: boolean; init?: Initializer } = {},
): Tensor {
  return s.tap('out', linear(s, s.tap('in', x), out, { bias, init, biasInit: zerosInit }));
}

/**
 * What is added to the scores [B, heads, length, keys] so that nobody looks at padding or, where `causal`, ahead: [B or
 * 1, 1, length or 1, keys], or nothing. The positions are the last of the keys.
 *
 * @param mask [B, keys] of 1 and 0, int64.
 */
export function hiding(length: number, keys: number, causal: boolean, mask?: Tensor): Tensor | undefined {
  const ahead = causal && length > 1 ? causalMask(length, keys).reshape([1, 1, length, keys]) : undefined;
  if (!mask) return ahead;
  if (mask.rank !== 2 || mask.dim(1) !== keys) {
    throw new Error(
      `The mask must be [B, ${keys}], one entry for each position that is looked at, not [${mask.shape}]`,
    );
  }
  const padding = g
    .sub(1, mask.cast('float32'))
    .mul(LOWEST)
    .reshape([mask.dim(0), 1, 1, keys]);
  return ahead ? g.minimum(ahead, padding) : padding;
}

/**
 * Attention of queries [B, heads, T, d] over `past` and their `own` keys and values: [B, T, heads · d]. There may be fewer
 * heads of keys than of queries: each then serves heads / keyHeads of them (grouped-query attention). Tap: `PATH:probabilities`
 * [B, heads, T, P + T].
 */
export function attend(
  s: Scope,
  q: Tensor,
  own: KeyValue,
  {
    past,
    bias,
    scale = q.dim(-1) ** -0.5,
  }: { past?: KeyValue | undefined; bias?: Tensor | undefined; scale?: number } = {},
): Tensor {
  const [k, v] = past
    ? [concat([past.key, own.key], 2), concat([past.value, own.value], 2)]
    : [own.key, own.value];
  const [batch, heads, length, width] = q.shape as [number, number, number, number];
  const [groups, keys] = [k.dim(1), k.dim(2)];
  // Queries that share keys are rows of one product.
  const rows = (heads / groups) * length;
  const scores = q
    .reshape([batch, groups, rows, width])
    .matmul(k, { transB: true, alpha: scale })
    .reshape([batch, heads, length, keys]);
  const probabilities = s.tap('probabilities', g.softmax(bias ? scores.add(bias) : scores));
  const mixed = probabilities.reshape([batch, groups, rows, keys]).matmul(v);
  return joinHeads(mixed.reshape([batch, heads, length, width]));
}
