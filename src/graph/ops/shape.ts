import { type Shape, sizeOf } from '../host.ts';
import type { Rules } from '../rule.ts';
import { apply, constant, type Node, type Tensor } from '../tensor.ts';
import { axisOf, broadcastShapes, opError, sameShape } from './common.ts';
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
    type: ([x], { starts, ends, steps }) => ({
      dtype: x!.dtype,
      shape: starts.map((s, i) => Math.max(0, Math.ceil((ends[i]! - s) / (steps?.[i] ?? 1)))),
    }),
    grad: ([g], node, { starts, ends, steps }) => {
      const { shape } = node.inputs[0]!;
      let spread = g!;
      const before = [...starts];
      const after = shape.map((n, i) => n - ends[i]!);
      steps?.forEach((step, i) => {
        if (step === 1) return;
        const n = g!.shape[i]!;
        if (step < 0) spread = flip(spread, i);
        spread = dilate(spread, i, Math.abs(step));
        before[i] = n === 0 ? 0 : Math.min(starts[i]!, starts[i]! + (n - 1) * step);
        after[i] = shape[i]! - before[i]! - spread.shape[i]!;
      });
      return [pad(spread, before, after)];
    },
    emit: (e, inputs, { starts, ends, steps }, node) => {
      // Only the axes that are cut: the rest would be copied arguments.
      const { shape } = node.inputs[0]!;
      const axes = starts.flatMap((s, i) =>
        s === 0 && ends[i] === shape[i] && (steps?.[i] ?? 1) === 1 ? [] : [i],
      );
      const at = (xs: readonly number[]) => e.ints(axes.map((a) => xs[a]!));
      // Backwards, an end before the first element must not be read as counted from the end.
      const last = ends.map((end, i) => (end < 0 ? -shape[i]! - 1 : end));
      const args = [inputs[0]!, at(starts), at(last), e.ints(axes)];
      return e.node('Slice', steps ? [...args, at(steps)] : args);
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
  const rest = x.size / known;
  const open = shape.filter((d) => d === -1).length;
  if (
    open > 1 ||
    (open === 1 && !Number.isInteger(rest)) ||
    shape.some((d) => d < -1 || !Number.isInteger(d))
  ) {
    throw opError('reshape', `cannot become [${shape.join(', ')}]`, [x]);
  }
  const full = shape.map((d) => (d === -1 ? rest : d));
  if (sameShape(x.shape, full)) return x;
  if (x.node.op === 'constant' && sizeOf(full) === x.size) {
    return constant({ ...(x.node as Node<'constant'>).attrs.value, shape: full });
  }
  return apply('reshape', [x], { shape: full });
}

/** Reorders axes; without `perm`, swaps the last two. */
export function transpose(x: Tensor, perm?: readonly number[]): Tensor {
  const swapped = (i: number) => (i < x.rank - 2 || x.rank < 2 ? i : 2 * x.rank - 3 - i);
  const order = perm?.map((p) => axisOf('transpose', p, x)) ?? [...x.shape.keys()].map(swapped);
  if (order.length === x.rank && order.every((p, i) => p === i)) return x;
  return apply('transpose', [x], { perm: order });
}

/** Broadcasts to a larger shape; −1 keeps an axis as long as it is. */
export function expand(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.rank;
  const full = shape.map((n, i) => (n === -1 && i >= lead ? x.shape[i - lead]! : n));
  return sameShape(x.shape, full) ? x : apply('expand', [x], { shape: full });
}

const sliceAll = (
  x: Tensor,
  starts: readonly number[],
  ends: readonly number[],
  steps?: readonly number[],
): Tensor => {
  if (steps?.some((s) => s !== 1)) return apply('slice', [x], { starts, ends, steps });
  return starts.every((s, i) => s === 0 && ends[i] === x.shape[i])
    ? x
    : apply('slice', [x], { starts, ends });
};

/** Elements start, start + step, … before `end` of one axis. Negative bounds count from the end, as in NumPy. */
export function slice(x: Tensor, axis: number, start: number, end?: number, step = 1): Tensor {
  const a = axisOf('slice', axis, x);
  const n = x.shape[a]!;
  if (!Number.isInteger(step) || step === 0)
    throw opError('slice', `step ${step} must be a non-zero integer`, [x]);
  const bound = (i: number, low: number, high: number) => Math.min(Math.max(i < 0 ? i + n : i, low), high);
  const back = step < 0;
  // A start before the first element leaves nothing, whichever way it is said.
  const from = back ? bound(start, -1, n - 1) : bound(start, 0, n);
  if (back && from === -1) return slice(x, a, 0, 0);
  const stop = end === undefined ? (back ? -1 : n) : back ? bound(end, -1, n - 1) : bound(end, 0, n);
  const to = back ? Math.min(from, stop) : Math.max(from, stop);
  const at = (value: number, others: readonly number[]) => others.map((v, i) => (i === a ? value : v));
  const zeros = x.shape.map(() => 0);
  return sliceAll(
    x,
    at(from, zeros),
    at(to, x.shape),
    at(
      step,
      zeros.map(() => 1),
    ),
  );
}

/** Reverses the order along an axis, or several. */
export const flip = (x: Tensor, axes: number | readonly number[]): Tensor =>
  (typeof axes === 'number' ? [axes] : axes).reduce((y, axis) => slice(y, axis, -1, undefined, -1), x);

/** Puts `factor − 1` zeros between the elements of an axis. */
export function dilate(x: Tensor, axis: number, factor: number): Tensor {
  const n = x.shape[axis]!;
  if (factor === 1 || n < 2) return x;
  const unit = reshape(x, [...x.shape.slice(0, axis + 1), 1, ...x.shape.slice(axis + 1)]);
  const none = unit.shape.map(() => 0);
  const spaced = pad(unit, none, none.with(axis + 1, factor - 1));
  return slice(reshape(spaced, x.shape.with(axis, n * factor)), axis, 0, (n - 1) * factor + 1);
}

/** Adds `before` and `after` elements of `value` to each axis; negative counts cut as many off. */
export function pad(x: Tensor, before: readonly number[], after: readonly number[], value = 0): Tensor {
  const counts = [...before, ...after];
  const fits = before.length === x.rank && after.length === x.rank && counts.every(Number.isInteger);
  if (!fits || x.shape.some((n, i) => n + before[i]! + after[i]! < 0)) {
    throw opError('pad', `[${before}] before and [${after}] after do not fit`, [x]);
  }
  if (counts.every((n) => n === 0)) return x;
  if (counts.every((n) => n >= 0)) return apply('pad', [x], { before, after, value });
  const grow = (list: readonly number[]) => list.map((n) => Math.max(n, 0));
  // Padded first: a cut may reach into what is added on the other side.
  const wide = pad(x, grow(before), grow(after), value);
  return sliceAll(
    wide,
    before.map((n) => Math.max(-n, 0)),
    wide.shape.map((n, i) => n + Math.min(after[i]!, 0)),
  );
}

export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  if (tensors.length === 0) throw opError('concat', 'needs at least one tensor');
  return tensors.length === 1
    ? tensors[0]!
    : apply('concat', tensors, { axis: axisOf('concat', axis, tensors[0]!) });
}

/** Cuts an axis into pieces of the given lengths. */
export function split(x: Tensor, sizes: readonly number[], axis: number): Tensor[] {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (total !== x.dim(axis)) {
    throw opError('split', `lengths ${sizes.join(' + ')} = ${total} do not fill axis ${axis}`, [x]);
  }
  let start = 0;
  return sizes.map((n) => {
    start += n;
    return slice(x, axis, start - n, start);
  });
}

/** The pieces of length 1 of an axis, without it. */
export const unstack = (x: Tensor, axis = 0): Tensor[] =>
  Array.from({ length: x.dim(axis) }, (_, i) => squeeze(slice(x, axis, i, i + 1), axis));

/** Drops an axis of length 1, or all of them. */
export function squeeze(x: Tensor, axis?: number): Tensor {
  if (axis === undefined)
    return reshape(
      x,
      x.shape.filter((n) => n !== 1),
    );
  const a = axisOf('squeeze', axis, x);
  if (x.shape[a] !== 1) throw opError('squeeze', `axis ${axis} is not of length 1`, [x]);
  return reshape(x, x.shape.toSpliced(a, 1));
}
/** Inserts an axis of length 1 so that it becomes `axis`. */
export const unsqueeze = (x: Tensor, axis: number): Tensor =>
  reshape(x, x.shape.toSpliced(axisOf('unsqueeze', axis, x, x.rank + 1), 0, 1));
/** Joins the axes from `start` to `end` (inclusive) into one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  if (x.rank === 0) return reshape(x, [1]);
  const [a, b] = [axisOf('flatten', start, x), axisOf('flatten', end, x)];
  return reshape(x, [...x.shape.slice(0, a), sizeOf(x.shape.slice(a, b + 1)), ...x.shape.slice(b + 1)]);
}
/** Moves an axis to another place; the others keep their order. */
export function moveAxis(x: Tensor, from: number, to: number): Tensor {
  const a = axisOf('moveAxis', from, x);
  const rest = [...x.shape.keys()].filter((i) => i !== a);
  return transpose(x, rest.toSpliced(axisOf('moveAxis', to, x), 0, a));
}

/** Joins tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  if (tensors.length === 0) throw opError('stack', 'needs at least one tensor');
  if (tensors.some((t) => !sameShape(t.shape, tensors[0]!.shape)))
    throw opError('stack', 'shapes differ', tensors);
  const a = axisOf('stack', axis, tensors[0]!, tensors[0]!.rank + 1);
  return concat(
    tensors.map((t) => reshape(t, [...t.shape.slice(0, a), 1, ...t.shape.slice(a)])),
    a,
  );
}
