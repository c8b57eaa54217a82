import type { Shape } from '../host.ts';
import { nonDifferentiable, type OpRule, type Reduce, type Rules } from '../rule.ts';
import { apply, applyAll, constant, type Tensor } from '../tensor.ts';
import { axisOf, broadcastShapes, opError, requireFloat, sameShape } from './common.ts';
import { customGradient } from './custom.ts';
import {
  abs,
  add,
  cast,
  div,
  equal,
  exp,
  less,
  log,
  maximum,
  mul,
  neg,
  not,
  pow,
  sqrt,
  stopGradient,
  sub,
  where,
} from './elementwise.ts';
import { scatterAdd } from './gather.ts';
import { expand, pad, reshape, slice, squeeze, transpose } from './shape.ts';

/** One axis, several, or (absent) all. */
export type Axes = number | readonly number[];

const reducedShape = (shape: Shape, axes: readonly number[]): Shape =>
  shape.map((n, i) => (axes.includes(i) ? 1 : n));

const reduceType: OpRule<Reduce>['type'] = ([x], { axes }) => ({
  dtype: x!.dtype,
  shape: reducedShape(x!.shape, axes),
});

const extremum = (op: 'max' | 'min', onnx: string): OpRule<Reduce> => ({
  type: (inputs, attrs) => {
    const [x] = inputs;
    if (attrs.axes.some((a) => x!.shape[a] === 0)) throw opError(op, 'an empty axis has no extremum', inputs);
    return reduceType(inputs, attrs);
  },
  // Ties share the gradient evenly, as torch.amax does.
  grad: ([g], node, { axes }) => {
    const x = node.inputs[0]!;
    const hit = cast(equal(x, node.outputs[0]!), x.dtype);
    return [mul(hit, div(g!, sum(hit, axes, true)))];
  },
  emit: (e, inputs, { axes }) => e.node(onnx, [inputs[0]!, e.ints(axes)], { keepdims: 1 }),
});

export const reduceRules: Rules<'sum' | 'mean' | 'max' | 'min' | 'argMax' | 'cumSum' | 'topK'> = {
  sum: {
    type: reduceType,
    grad: ([g], node) => [expand(g!, node.inputs[0]!.shape)],
    emit: (e, inputs, { axes }) => e.node('ReduceSum', [inputs[0]!, e.ints(axes)], { keepdims: 1 }),
  },
  mean: {
    type: reduceType,
    grad: ([g], node) => {
      const x = node.inputs[0]!;
      return [expand(mul(g!, x.size === 0 ? 0 : g!.size / x.size), x.shape)];
    },
    emit: (e, inputs, { axes }, node) =>
      // Nothing has no mean, but ONNX Runtime says 0.
      node.inputs[0]!.size === 0 && node.outputs[0]!.size > 0
        ? e.node('Expand', [e.scalar(Number.NaN, node.outputs[0]!.dtype), e.ints(node.outputs[0]!.shape)])
        : e.node('ReduceMean', [inputs[0]!, e.ints(axes)], { keepdims: 1 }),
  },
  max: extremum('max', 'ReduceMax'),
  min: extremum('min', 'ReduceMin'),
  argMax: {
    type: ([x], { axis }) => ({ dtype: 'int64', shape: x!.shape.filter((_, i) => i !== axis) }),
    grad: nonDifferentiable,
    emit: (e, inputs, { axis }) => e.node('ArgMax', inputs, { axis, keepdims: 0 }),
  },
  cumSum: {
    type: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
    grad: ([g], _node, { axis, reverse }) => [apply('cumSum', [g!], { axis, reverse: !reverse })],
    emit: (e, inputs, { axis, reverse }) =>
      e.node('CumSum', [inputs[0]!, e.scalar(axis, 'int64')], { reverse: reverse ? 1 : 0 }),
  },
  topK: {
    type: ([x], { k, axis }) => {
      if (k > x!.shape[axis]!) throw opError('topK', `k = ${k} exceeds axis ${axis}`, [x!]);
      const shape = x!.shape.map((n, i) => (i === axis ? k : n));
      return [
        { dtype: x!.dtype, shape },
        { dtype: 'int64', shape },
      ];
    },
    grad: ([g], node, { axis }) => {
      const x = node.inputs[0]!;
      const zero = expand(constant(0, x.dtype), x.shape);
      return [scatterAdd(zero, node.outputs[1]!, g!, axis)];
    },
    emit: (e, inputs, { k, axis, largest }) =>
      e.node('TopK', [inputs[0]!, e.ints([k])], { axis, largest: largest ? 1 : 0 }, { outputs: 2 }),
  },
};

function reduce(
  op: 'sum' | 'mean' | 'max' | 'min',
  x: Tensor,
  axes: Axes | undefined,
  keepDims: boolean,
): Tensor {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === 'number' ? [axes] : axes;
  const sorted = [...new Set(list.map((a) => axisOf(op, a, x)))].sort((a, b) => a - b);
  const reduced = sorted.length === 0 ? x : apply(op, [x], { axes: sorted });
  return keepDims
    ? reduced
    : reshape(
        reduced,
        x.shape.filter((_, i) => !sorted.includes(i)),
      );
}

export const sum = (x: Tensor, axes?: Axes, keepDims = false): Tensor => reduce('sum', x, axes, keepDims);
export const mean = (x: Tensor, axes?: Axes, keepDims = false): Tensor => {
  requireFloat('mean', [x]);
  return reduce('mean', x, axes, keepDims);
};
/** Largest element; ties share the gradient evenly. */
export const max = (x: Tensor, axes?: Axes, keepDims = false): Tensor => reduce('max', x, axes, keepDims);
export const min = (x: Tensor, axes?: Axes, keepDims = false): Tensor => reduce('min', x, axes, keepDims);
/** Index of the first largest element of an axis, int64. */
export const argMax = (x: Tensor, axis = -1): Tensor =>
  apply('argMax', [x], { axis: axisOf('argMax', axis, x) });
/** Index of the first smallest element of an axis, int64. */
export const argMin = (x: Tensor, axis = -1): Tensor => argMax(neg(x), axis);
/** Running sum along an axis; `reverse` sums from the end. */
export const cumSum = (x: Tensor, axis: number, reverse = false): Tensor =>
  apply('cumSum', [x], { axis: axisOf('cumSum', axis, x), reverse });
/** The k largest (or smallest) elements of an axis in order, and their int64 indices. */
export function topK(x: Tensor, k: number, axis = -1, largest = true): [values: Tensor, indices: Tensor] {
  return applyAll('topK', [x], { k, axis: axisOf('topK', axis, x), largest }) as [Tensor, Tensor];
}
/** An axis in ascending or descending order, and the int64 indices that put it there. */
export const sort = (x: Tensor, axis = -1, descending = false): [values: Tensor, indices: Tensor] =>
  topK(x, x.dim(axis), axis, descending);

/** The middle element of an axis; of an even number the lower one, as torch.median. */
export const median = (x: Tensor, axis = -1, keepDims = false): Tensor => {
  const middle = Math.floor((x.dim(axis) - 1) / 2);
  return pick(sort(x, axis)[0], axis, middle, keepDims);
};
/** The value below which a share `q` of an axis lies, interpolated linearly between elements (torch.quantile). */
export function quantile(x: Tensor, q: number, axis = -1, keepDims = false): Tensor {
  if (!(q >= 0 && q <= 1)) throw opError('quantile', `${q} is not between 0 and 1`, [x]);
  const sorted = sort(x, axis)[0];
  const at = q * (x.dim(axis) - 1);
  const low = pick(sorted, axis, Math.floor(at), keepDims);
  if (Number.isInteger(at)) return low;
  const high = pick(sorted, axis, Math.ceil(at), keepDims);
  return add(low, mul(sub(high, low), at - Math.floor(at)));
}
function pick(x: Tensor, axis: number, i: number, keepDims: boolean): Tensor {
  const one = slice(x, axis, i, i + 1);
  return keepDims ? one : squeeze(one, axis);
}

/** Variance: divides by n − `correction`, 0 as layer norms use it. */
export function variance(x: Tensor, axes?: Axes, keepDims = false, correction = 0): Tensor {
  const middle = mean(x, axes, true);
  const centred = sub(x, middle);
  const squares = mul(centred, centred);
  const count = x.size / middle.size - correction;
  const y = correction === 0 ? mean(squares, axes, keepDims) : div(sum(squares, axes, keepDims), count);
  // What the mean contributes is zero.
  return customGradient(y, [x], (g, [x]) => [
    mul(sub(x!, mean(x!, axes, true)), mul(reshape(g, middle.shape), 2 / count)),
  ]);
}

/** Standard deviation: the root of `variance`. */
export const std = (x: Tensor, axes?: Axes, keepDims = false, correction = 0): Tensor =>
  sqrt(variance(x, axes, keepDims, correction));

/** Whether any element is true, of a bool tensor. */
export const any = (x: Tensor, axes?: Axes, keepDims = false): Tensor =>
  less(0, sum(cast(x, 'int32'), axes, keepDims));
/** Whether all elements are true, of a bool tensor. */
export const all = (x: Tensor, axes?: Axes, keepDims = false): Tensor => not(any(not(x), axes, keepDims));

/** Product over axes, by halves: the gradient is right where elements are zero. */
export function prod(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  const { kept, reduced, flat } = lastAxis(x, axes);
  let y = flat;
  while (y.dim(-1) > 1) {
    const n = y.dim(-1);
    const half = Math.ceil(n / 2);
    const rest = pad(slice(y, -1, half), [...kept.map(() => 0), 0], [...kept.map(() => 0), 2 * half - n], 1);
    y = mul(slice(y, -1, 0, half), rest);
  }
  const shape = x.shape.flatMap((n, i) => (reduced.includes(i) ? (keepDims ? [1] : []) : [n]));
  return y.dim(-1) === 0 ? expand(constant(1, x.dtype), shape) : reshape(y, shape);
}

/** `x` with the reduced axes flattened into a last one. */
function lastAxis(x: Tensor, axes?: Axes): { kept: number[]; reduced: number[]; flat: Tensor } {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === 'number' ? [axes] : axes;
  const reduced = list.map((a) => axisOf('prod', a, x));
  const kept = x.shape.map((_, i) => i).filter((i) => !reduced.includes(i));
  const count = reduced.reduce((n, i) => n * x.shape[i]!, 1);
  const turned = transpose(x, [...kept, ...reduced]);
  return { kept, reduced, flat: reshape(turned, [...kept.map((i) => x.shape[i]!), count]) };
}

/**
 * (Σ |x|^p)^(1/p) over axes; p may be ±Infinity, the largest and smallest |x|, or 0, the count of what is not 0. The
 * gradient at a zero vector is zero.
 */
export function norm(x: Tensor, p = 2, axes?: Axes, keepDims = false): Tensor {
  if (p === Number.POSITIVE_INFINITY) return max(abs(x), axes, keepDims);
  if (p === Number.NEGATIVE_INFINITY) return min(abs(x), axes, keepDims);
  if (p === 0) return sum(cast(not(equal(x, 0)), x.dtype), axes, keepDims);
  if (p === 1) return sum(abs(x), axes, keepDims);
  const zero = equal(x, 0);
  // Below p = 1 the slope at 0 is infinite: such elements are left out.
  const power = () => (p < 1 ? where(zero, 0, pow(abs(where(zero, 1, x)), p)) : pow(abs(x), p));
  const total = sum(p === 2 ? mul(x, x) : power(), axes, keepDims);
  const none = equal(total, 0);
  const safe = where(none, 1, total);
  return where(none, 0, p === 2 ? sqrt(safe) : pow(safe, 1 / p));
}

/** Σ a·b / (max(‖a‖, eps)·max(‖b‖, eps)) along an axis, with broadcasting. */
export function cosineSimilarity(a: Tensor, b: Tensor, axis = -1, eps = 1e-8): Tensor {
  const shape = broadcastShapes(a.shape, b.shape);
  if (!shape) throw opError('cosineSimilarity', 'shapes do not broadcast', [a, b]);
  const unit = (x: Tensor) => div(x, maximum(norm(x, 2, axis, true), eps));
  return sum(mul(unit(expand(a, shape)), unit(expand(b, shape))), axis);
}
/** log Σ exp(x), without overflow; −∞ where there is nothing, or nothing but −∞. */
export function logSumExp(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  if (x.size === 0) return log(sum(exp(x), axes, keepDims));
  const top = stopGradient(max(x, axes, true));
  const peak = where(equal(abs(top), Number.POSITIVE_INFINITY), 0, top);
  const out = add(log(sum(exp(sub(x, peak)), axes, true)), peak);
  if (keepDims) return out;
  const dropped = sumShape(x, axes);
  return reshape(out, dropped);
}
const sumShape = (x: Tensor, axes?: Axes): Shape => {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === 'number' ? [axes] : axes;
  const drop = list.map((a) => axisOf('logSumExp', a, x));
  return x.shape.filter((_, i) => !drop.includes(i));
};

/** Undoes a broadcast: sums `g` down to `shape`. The gradient of every broadcasting op ends here. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const lead = g.rank - shape.length;
  const axes = g.shape.flatMap((n, i) => (i < lead || (shape[i - lead] === 1 && n !== 1) ? [i] : []));
  return reshape(sum(g, axes, true), shape);
}
