import { isFloat } from '../../ops/common.ts';
import * as ops from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import { type Importer, integers, inWide, type NodeReader, numbersAs } from '../reader.ts';

type Reduction = (x: Tensor, axes: number[] | undefined, keepDims: boolean) => Tensor;

/** `of` where there is something to reduce; `alone` is what it makes of each element where there are no axes. */
const reduction =
  (of: Reduction, alone: (x: Tensor) => Tensor = (x) => x, empty?: number): Importer =>
  (n) => {
    const axes = n.either('axes', 1);
    const none = axes === undefined || axes.length === 0;
    const keep = n.flag('keepdims', true);
    return inWide([n.x()], (x) => {
      if (none && n.flag('noop_with_empty_axes')) return alone(x);
      if (x.size === 0 && empty !== undefined) {
        const gone = none ? x.shape.map((_, i) => i) : axes.map((a) => ops.normalizeAxis(a, x.rank));
        const shape = x.shape.flatMap((d, i) => (gone.includes(i) ? (keep ? [1] : []) : [d]));
        if (shape.every((d) => d > 0)) return ops.expand(numbersAs([empty], [], x.dtype), shape);
      }
      return of(x, none ? undefined : axes, keep);
    });
  };
/** Means and logarithms of integers are cut to integers. */
const inFloats =
  (of: Reduction): Reduction =>
  (x, axes, keep) =>
    isFloat(x) ? of(x, axes, keep) : of(x.cast('float64'), axes, keep).cast(x.dtype);
const squares = (x: Tensor) => x.mul(x);
const { NEGATIVE_INFINITY: LOW, POSITIVE_INFINITY: HIGH } = Number;

/** Bool is ordered false, true. */
const extremum =
  (of: Reduction, empty: number): Importer =>
  (n) =>
    reduction(of, undefined, isFloat(n.x()) ? empty : undefined)(n);

function selected(n: NodeReader, f: (x: Tensor, axis: number) => Tensor): Tensor {
  const axis = n.axis('axis', 0);
  const x = isFloat(n.x()) ? n.x() : n.x().cast(n.x().dtype === 'int64' ? 'float64' : 'float32');
  const last = n.flag('select_last_index');
  const found = f(last ? ops.flip(x, axis) : x, axis);
  const at = last ? ops.sub(x.dim(axis) - 1, found) : found;
  return n.flag('keepdims', true) ? at.reshape(x.shape.with(axis, 1)) : at;
}

/** Running sums or products; `exclusive` leaves out each element itself. */
function running(
  n: NodeReader,
  f: (x: Tensor, axis: number, reverse: boolean) => Tensor,
  start: number,
): Tensor {
  const axis = ops.normalizeAxis(n.required(1)[0]!, n.x().rank);
  const reverse = n.flag('reverse');
  return inWide([n.x()], (x) => {
    const y = f(x, axis, reverse);
    if (!n.flag('exclusive')) return y;
    const one = numbersAs([start], [], x.dtype).expand(x.shape.with(axis, 1));
    const length = x.dim(axis);
    return reverse
      ? ops.concat([ops.slice(y, axis, 1), one], axis)
      : ops.concat([one, ops.slice(y, axis, 0, length - 1)], axis);
  });
}
/** Running products by doubling: log₂ n steps. */
function cumProd(x: Tensor, axis: number, reverse: boolean): Tensor {
  let y = reverse ? ops.flip(x, axis) : x;
  const n = x.dim(axis);
  for (let step = 1; step < n; step *= 2) {
    const ones = numbersAs([1], [], x.dtype).expand(x.shape.with(axis, step));
    y = y.mul(ops.concat([ones, ops.slice(y, axis, 0, n - step)], axis));
  }
  return reverse ? ops.flip(y, axis) : y;
}

export const reductions: Record<string, Importer> = {
  ReduceSum: reduction(ops.sum, undefined, 0),
  ReduceMean: reduction(inFloats(ops.mean)),
  ReduceMax: extremum(ops.max, LOW),
  ReduceMin: extremum(ops.min, HIGH),
  ReduceProd: reduction(ops.prod, undefined, 1),
  ReduceL1: reduction((x, axes, keep) => ops.norm(x, 1, axes, keep), ops.abs, 0),
  ReduceL2: reduction(
    inFloats((x, axes, keep) => ops.norm(x, 2, axes, keep)),
    ops.abs,
    0,
  ),
  ReduceLogSum: reduction(
    inFloats((x, axes, keep) => ops.log(ops.sum(x, axes, keep))),
    ops.log,
    LOW,
  ),
  ReduceSumSquare: reduction((x, axes, keep) => ops.sum(squares(x), axes, keep), squares, 0),
  ReduceLogSumExp: reduction(inFloats(ops.logSumExp), undefined, LOW),
  ArgMax: (n) => selected(n, ops.argMax),
  ArgMin: (n) => selected(n, ops.argMin),
  CumSum: (n) => running(n, ops.cumSum, 0),
  CumProd: (n) => running(n, cumProd, 1),
  TopK: (n) => {
    const k = n.numbers('k')?.[0] ?? n.known(1)?.[0] ?? n.number('k', -1);
    const x = n.x();
    const axis = n.axis('axis', -1);
    const known = ['float32', 'float64', 'float16', 'int32', 'int64'].includes(x.dtype);
    const [values, at] = ops.topK(known ? x : x.cast('int64'), k, axis, n.flag('largest', true));
    return [values.cast(x.dtype), at];
  },
  Hardmax: (n) => {
    const x = n.x();
    const axis = n.axis('axis', n.opset >= 13 ? -1 : 1);
    if (n.opset < 13) {
      const rows = x.reshape([-1, x.shape.slice(axis).reduce((a, b) => a * b, 1)]);
      return hardmax(rows, 1).reshape(x.shape);
    }
    return hardmax(x, axis);
  },
};

function hardmax(x: Tensor, axis: number): Tensor {
  const first = ops.argMax(x, axis).reshape(x.shape.with(axis, 1));
  const places = integers(
    Array.from({ length: x.dim(axis) }, (_, i) => i),
    x.shape.map((d, i) => (i === axis ? d : 1)),
  );
  return ops.equal(first, places).cast(x.dtype);
}
