import { i64, type Shape, sizeOf } from '../host.ts';
import type { Rules } from '../rule.ts';
import { apply, constant, type Node, type Tensor } from '../tensor.ts';
import { broadcastShapes, normalizeAxis, opError, sameShape } from './common.ts';
import { gather } from './gather.ts';
import { sumTo } from './reduce.ts';

export const shapeRules: Rules<'reshape' | 'transpose' | 'expand' | 'slice' | 'pad' | 'concat'> = {
  reshape: {
    type([x], { shape }) {
      if (sizeOf(shape) !== x!.size) throw opError('reshape', `cannot become [${shape.join(', ')}]`, [x!]);
      return { dtype: x!.dtype, shape };
    },
    grad: ([g], node) => [reshape(g!, node.inputs[0]!.shape)],
    emit: (e, inputs, { shape }) => e.node('Reshape', [inputs[0]!, e.ints(shape)], { allowzero: 1 }),
  },
  transpose: {
    type([x], { perm }) {
      if ([...perm].sort((a, b) => a - b).some((p, i) => p !== i) || perm.length !== x!.rank) {
        throw opError('transpose', `[${perm.join(', ')}] is not an order of its axes`, [x!]);
      }
      return { dtype: x!.dtype, shape: perm.map((p) => x!.shape[p]!) };
    },
    grad: ([g], _node, { perm }) => [
      transpose(
        g!,
        perm.map((_, i) => perm.indexOf(i)),
      ),
    ],
    emit: (e, inputs, { perm }) => e.node('Transpose', inputs, { perm }),
  },
  expand: {
    type([x], { shape }) {
      const joint = broadcastShapes(x!.shape, shape);
      if (!joint || !sameShape(joint, shape))
        throw opError('expand', `cannot become [${shape.join(', ')}]`, [x!]);
      return { dtype: x!.dtype, shape };
    },
    grad: ([g], node) => [sumTo(g!, node.inputs[0]!.shape)],
    emit: (e, inputs, { shape }) => e.node('Expand', [inputs[0]!, e.ints(shape)]),
  },
  slice: {
    type: ([x], { starts, ends }) => ({ dtype: x!.dtype, shape: starts.map((s, i) => ends[i]! - s) }),
    grad: ([g], node, { starts, ends }) => {
      const { shape } = node.inputs[0]!;
      return [
        pad(
          g!,
          starts,
          ends.map((end, i) => shape[i]! - end),
        ),
      ];
    },
    emit: (e, inputs, { starts, ends }, node) => {
      // Only the axes that are cut: the rest would be copied arguments.
      const axes = starts.flatMap((s, i) => (s === 0 && ends[i] === node.inputs[0]!.shape[i] ? [] : [i]));
      const at = (xs: readonly number[]) => e.ints(axes.map((a) => xs[a]!));
      return e.node('Slice', [inputs[0]!, at(starts), at(ends), e.ints(axes)]);
    },
  },
  pad: {
    type: ([x], { before, after }) => ({
      dtype: x!.dtype,
      shape: x!.shape.map((n, i) => n + before[i]! + after[i]!),
    }),
    grad: ([g], node, { before }) => {
      const { shape } = node.inputs[0]!;
      return [
        sliceAll(
          g!,
          before,
          before.map((b, i) => b + shape[i]!),
        ),
      ];
    },
    emit: (e, inputs, { before, after, value }, node) =>
      e.node('Pad', [inputs[0]!, e.ints([...before, ...after]), e.scalar(value, node.outputs[0]!.dtype)]),
  },
  concat: {
    type(inputs, { axis }) {
      const [first, ...rest] = inputs;
      const fits = (t: Tensor) =>
        t.dtype === first!.dtype &&
        t.rank === first!.rank &&
        t.shape.every((n, i) => i === axis || n === first!.shape[i]);
      if (!rest.every(fits)) throw opError('concat', `shapes differ outside axis ${axis}`, inputs);
      const total = inputs.reduce((n, t) => n + t.shape[axis]!, 0);
      return { dtype: first!.dtype, shape: first!.shape.map((n, i) => (i === axis ? total : n)) };
    },
    grad: ([g], node, { axis }) => {
      let start = 0;
      return node.inputs.map((t) => {
        start += t.shape[axis]!;
        return slice(g!, axis, start - t.shape[axis]!, start);
      });
    },
    emit: (e, inputs, { axis }) => e.node('Concat', inputs, { axis }),
  },
};

/** The same elements in another shape; one entry may be −1, for what is left. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = shape.reduce((n, d) => (d === -1 ? n : n * d), 1);
  const full = shape.map((d) => (d === -1 ? x.size / known : d));
  if (sameShape(x.shape, full)) return x;
  if (x.node.op === 'constant' && sizeOf(full) === x.size) {
    return constant({ ...(x.node as Node<'constant'>).attrs.value, shape: full });
  }
  return apply('reshape', [x], { shape: full });
}

/** Reorders axes; without `perm`, swaps the last two. */
export function transpose(x: Tensor, perm?: readonly number[]): Tensor {
  const order = perm ?? [...x.shape.keys()].map((i) => (i < x.rank - 2 ? i : 2 * x.rank - 3 - i));
  if (order.every((p, i) => p === i)) return x;
  return apply('transpose', [x], { perm: order });
}

/** Broadcasts to a larger shape. */
export const expand = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : apply('expand', [x], { shape });

const sliceAll = (x: Tensor, starts: readonly number[], ends: readonly number[]): Tensor =>
  starts.every((s, i) => s === 0 && ends[i] === x.shape[i]) ? x : apply('slice', [x], { starts, ends });

/** Elements start, start + step, … before `end` of one axis. Negative bounds count from the end, as in NumPy. */
export function slice(x: Tensor, axis: number, start: number, end?: number, step = 1): Tensor {
  const a = normalizeAxis(axis, x.rank);
  const n = x.shape[a]!;
  const bound = (i: number, low: number, high: number) => Math.min(Math.max(i < 0 ? i + n : i, low), high);
  if (step !== 1) {
    if (!Number.isInteger(step) || step === 0)
      throw new Error(`slice: step ${step} must be a non-zero integer`);
    const first = step > 0 ? bound(start, 0, n) : bound(start, -1, n - 1);
    const last =
      end === undefined ? (step > 0 ? n : -1) : step > 0 ? bound(end, 0, n) : bound(end, -1, n - 1);
    const picked: number[] = [];
    for (let i = first; step > 0 ? i < last : i > last; i += step) picked.push(i);
    return gather(x, constant(i64(picked)), a);
  }
  const from = bound(start, 0, n);
  const to = Math.max(from, bound(end ?? n, 0, n));
  return sliceAll(
    x,
    x.shape.map((_, i) => (i === a ? from : 0)),
    x.shape.map((d, i) => (i === a ? to : d)),
  );
}

/** Adds `before` and `after` elements of `value` to each axis. */
export const pad = (x: Tensor, before: readonly number[], after: readonly number[], value = 0): Tensor =>
  [...before, ...after].every((n) => n === 0) ? x : apply('pad', [x], { before, after, value });

export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  if (tensors.length === 0) throw new Error('concat: needs at least one tensor');
  return tensors.length === 1
    ? tensors[0]!
    : apply('concat', tensors, { axis: normalizeAxis(axis, tensors[0]!.rank) });
}

/** Cuts an axis into pieces of the given lengths. */
export function split(x: Tensor, sizes: readonly number[], axis: number): Tensor[] {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (total !== x.dim(axis)) {
    throw new Error(`split: lengths ${sizes.join(' + ')} = ${total} do not fill axis ${axis} of ${x}`);
  }
  let start = 0;
  return sizes.map((n) => {
    start += n;
    return slice(x, axis, start - n, start);
  });
}

/** Joins tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  const rank = (tensors[0]?.rank ?? 0) + 1;
  const a = normalizeAxis(axis, rank);
  return concat(
    tensors.map((t) => reshape(t, [...t.shape.slice(0, a), 1, ...t.shape.slice(a)])),
    a,
  );
}
