import type { Shape } from '../host.ts';
import { nonDifferentiable, type OpRule, type Reduce, type Rules } from '../rule.ts';
import { apply, applyAll, constant, type Tensor } from '../tensor.ts';
import { normalizeAxis, opError, requireFloat, sameShape } from './common.ts';
import { add, cast, div, equal, exp, log, mul, sub } from './elementwise.ts';
import { scatterAdd } from './gather.ts';
import { expand, reshape } from './shape.ts';

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
      return [expand(mul(g!, g!.size / x.size), x.shape)];
    },
    emit: (e, inputs, { axes }) => e.node('ReduceMean', [inputs[0]!, e.ints(axes)], { keepdims: 1 }),
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
  const sorted = [...new Set(list.map((a) => normalizeAxis(a, x.rank)))].sort((a, b) => a - b);
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
  apply('argMax', [x], { axis: normalizeAxis(axis, x.rank) });
/** Running sum along an axis; `reverse` sums from the end. */
export const cumSum = (x: Tensor, axis: number, reverse = false): Tensor =>
  apply('cumSum', [x], { axis: normalizeAxis(axis, x.rank), reverse });
/** The k largest (or smallest) elements of an axis in order, and their int64 indices. */
export function topK(x: Tensor, k: number, axis = -1, largest = true): [values: Tensor, indices: Tensor] {
  return applyAll('topK', [x], { k, axis: normalizeAxis(axis, x.rank), largest }) as [Tensor, Tensor];
}
/** Population variance (divides by n), as layer norms use it. */
export function variance(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  const centred = sub(x, mean(x, axes, true));
  return mean(mul(centred, centred), axes, keepDims);
}
/** log Σ exp(x), without overflow. */
export function logSumExp(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  const peak = max(x, axes, true);
  const out = add(log(sum(exp(sub(x, peak)), axes, true)), peak);
  if (keepDims) return out;
  const dropped = sumShape(x, axes);
  return reshape(out, dropped);
}
const sumShape = (x: Tensor, axes?: Axes): Shape => {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === 'number' ? [axes] : axes;
  const drop = list.map((a) => normalizeAxis(a, x.rank));
  return x.shape.filter((_, i) => !drop.includes(i));
};

/** Undoes a broadcast: sums `g` down to `shape`. The gradient of every broadcasting op ends here. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const lead = g.rank - shape.length;
  const axes = g.shape.flatMap((n, i) => (i < lead || (shape[i - lead] === 1 && n !== 1) ? [i] : []));
  return reshape(sum(g, axes, true), shape);
}
