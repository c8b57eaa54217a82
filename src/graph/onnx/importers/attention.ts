import * as ops from '../../ops/index.ts';
import { constant, type Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader, numbersAs } from '../reader.ts';

/** [N, length, heads·width] → [N, heads, length, width] */
export const splitHeads = (x: Tensor, heads: number): Tensor =>
  x.reshape([x.dim(0), x.dim(1), heads, x.dim(2) / heads]).transpose([0, 2, 1, 3]);
/** [N, heads, length, width] → [N, length, heads·width] */
export const joinHeads = (x: Tensor): Tensor =>
  x.transpose([0, 2, 1, 3]).reshape([x.dim(0), x.dim(2), x.dim(1) * x.dim(3)]);
/** Each head of keys or values serves several of queries, side by side. */
export function repeatHeads(x: Tensor, heads: number): Tensor {
  const [n, own, length, width] = x.shape as [number, number, number, number];
  if (own === heads) return x;
  return x
    .reshape([n, own, 1, length, width])
    .expand([n, own, heads / own, length, width])
    .reshape([n, heads, length, width]);
}

/** 0 where query i + offset may see key j, else −∞: [queries, keys]; `window` limits how far back it sees. */
export function causalBias(
  like: Tensor,
  queries: number,
  keys: number,
  offset: number,
  window = Number.POSITIVE_INFINITY,
): Tensor {
  const values = Array.from({ length: queries * keys }, (_, k) => {
    const distance = Math.floor(k / keys) + offset - (k % keys);
    return distance >= 0 && distance < window ? 0 : Number.NEGATIVE_INFINITY;
  });
  return numbersAs(values, [queries, keys], like.dtype);
}

/** A mask that lets through where it is true, as a bias; what is no mask is a bias already. */
export const asBias = (mask: Tensor, like: Tensor): Tensor =>
  mask.dtype === 'bool'
    ? ops.where(mask, constant(0, like.dtype), constant(Number.NEGATIVE_INFINITY, like.dtype))
    : mask;

export interface Attended {
  readonly y: Tensor;
  readonly scores: Tensor;
  readonly capped: Tensor;
  readonly biased: Tensor;
  readonly probabilities: Tensor;
}

/** softmax(scale·q·kᵀ + bias)·v for [N, heads, length, width]; rows in which all is masked give zeros if `guard`. */
export function attend(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: { scale: number; bias?: Tensor | undefined; softcap?: number; guard?: boolean },
): Attended {
  const { scale, bias, softcap = 0, guard = false } = options;
  const scores = ops.matmul(q, k, { transB: true, alpha: scale });
  const capped = softcap > 0 ? ops.tanh(scores.div(softcap)).mul(softcap) : scores;
  if (!bias) {
    const probabilities = ops.softmax(capped);
    return { y: ops.matmul(probabilities, v), scores, capped, biased: capped, probabilities };
  }
  const biased = capped.add(bias);
  if (!guard) {
    const probabilities = ops.softmax(biased);
    return { y: ops.matmul(probabilities, v), scores, capped, biased, probabilities };
  }
  // Without the masked rows' own scores, so that no NaN gets into gradients either.
  const none = ops.equal(ops.stopGradient(bias).max(-1, true), Number.NEGATIVE_INFINITY);
  const probabilities = ops.where(none, 0, ops.softmax(ops.where(none, 0, biased)));
  return { y: ops.matmul(probabilities, v), scores, capped, biased, probabilities };
}

/** ONNX's attention (opset 23 and 24). */
function attention(n: NodeReader): Tensor[] {
  const flat = n.x().rank === 3;
  const heads = n.number('q_num_heads', flat ? 0 : n.x().dim(1));
  const own = n.number('kv_num_heads', flat ? 0 : n.x(1).dim(1));
  const split = (x: Tensor, h: number) => (flat ? splitHeads(x, h) : x);
  const q = split(n.x(0), heads);
  const past = n.maybe(4)?.dim(2) ?? 0;
  const grow = (i: number, x: Tensor) => (n.maybe(i) ? ops.concat([n.x(i), x], 2) : x);
  const [k, v] = [grow(4, split(n.x(1), own)), grow(5, split(n.x(2), own))];
  const [queries, keys] = [q.dim(2), k.dim(2)];
  const lengths = n.maybe(6)?.cast('int64').reshape([-1, 1, 1, 1]);
  const biases: Tensor[] = [];
  const given = n.maybe(3);
  if (given) biases.push(asBias(padded(given, keys), q));
  const places = (count: number, shape: readonly number[]) =>
    integers(
      Array.from({ length: count }, (_, i) => i),
      shape,
    );
  const bounds = [n.number('left_window_size', -1), n.number('right_window_size', -1)] as const;
  const distance = (): Tensor => {
    const from = places(queries, [queries, 1]).add(lengths ? lengths.sub(queries) : integers([past], []));
    return from.sub(places(keys, [1, keys]));
  };
  if (n.flag('is_causal')) biases.push(asBias(ops.lessEqual(0, distance()), q));
  if (bounds[0] >= 0) biases.push(asBias(ops.lessEqual(distance(), bounds[0]), q));
  if (bounds[1] >= 0) biases.push(asBias(ops.lessEqual(-bounds[1], distance()), q));
  if (lengths) biases.push(asBias(ops.less(places(keys, [keys]), lengths), q));
  const a = attend(q, repeatHeads(k, heads), repeatHeads(v, heads), {
    scale: n.number('scale', 1 / Math.sqrt(q.dim(3))),
    bias: biases.length ? biases.reduce(ops.add) : undefined,
    softcap: n.number('softcap', 0),
    guard: given !== undefined || lengths !== undefined,
  });
  const looks = [a.scores, n.number('softcap', 0) > 0 ? a.capped : a.scores, a.biased, a.probabilities];
  const look = looks[n.number('qk_matmul_output_mode', 0)] ?? n.fail('has a qk_matmul_output_mode beyond 3');
  return [flat ? joinHeads(a.y) : a.y, k, v, look];
}
/** A mask of fewer keys than there are hides the rest. */
function padded(mask: Tensor, keys: number): Tensor {
  const missing = keys - mask.dim(-1);
  if (missing <= 0) return mask;
  const none = mask.shape.map(() => 0);
  const after = none.with(-1, missing);
  if (mask.dtype === 'bool') return ops.pad(mask.cast('int32'), none, after, 0).cast('bool');
  return ops.pad(mask, none, after, Number.NEGATIVE_INFINITY);
}

/** Rotates pairs of x [N, length, heads, width] by the angles of cosines and sines [N or 1, length, width / 2]. */
export function rotate(x: Tensor, cos: Tensor, sin: Tensor, width: number, interleaved: boolean): Tensor {
  const turned = ops.slice(x, -1, 0, width);
  const rest = ops.slice(x, -1, width);
  const half = width / 2;
  const a = interleaved ? ops.slice(turned, -1, 0, width, 2) : ops.slice(turned, -1, 0, half);
  const b = interleaved ? ops.slice(turned, -1, 1, width, 2) : ops.slice(turned, -1, half);
  const wide = (t: Tensor) => t.reshape([...t.shape.slice(0, 2), 1, half]);
  const [c, s] = [wide(cos), wide(sin)];
  const [re, im] = [a.mul(c).sub(b.mul(s)), a.mul(s).add(b.mul(c))];
  const y = interleaved ? ops.stack([re, im], -1).reshape(turned.shape) : ops.concat([re, im], -1);
  return rest.dim(-1) === 0 ? y : ops.concat([y, rest], -1);
}
/** Rows of a table of angles at positions [N, length], or as they are where there are none. */
export const angles = (table: Tensor, positions: Tensor | undefined): Tensor =>
  positions ? ops.gather(table, positions, 0) : table;

function rotaryEmbedding(n: NodeReader): Tensor {
  const x = n.x();
  const flat = x.rank === 3;
  const heads = n.number('num_heads', 0);
  const open = flat ? x.reshape([x.dim(0), x.dim(1), heads, x.dim(2) / heads]) : x.transpose([0, 2, 1, 3]);
  const width = n.number('rotary_embedding_dim', 0) || open.dim(-1);
  const at = n.maybe(3);
  const y = rotate(open, angles(n.x(1), at), angles(n.x(2), at), width, n.flag('interleaved'));
  return flat ? y.reshape(x.shape) : y.transpose([0, 2, 1, 3]);
}

export const attentions: Record<string, Importer> = {
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
};
