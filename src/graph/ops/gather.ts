import { i64, type Shape, sizeOf } from '../host.ts';
import type { Rules } from '../rule.ts';
import { apply, constant, type Tensor } from '../tensor.ts';
import { axisOf, normalizeAxis, opError, sameShape } from './common.ts';
import { add, cast, div, equal, less, mul, onnxTypes, stopGradient, where } from './elementwise.ts';
import { sum } from './reduce.ts';
import { expand, reshape, transpose } from './shape.ts';

function requireIndices(op: 'gather' | 'gatherElements' | 'scatter', indices: Tensor): void {
  if (indices.dtype !== 'int64' && indices.dtype !== 'int32') {
    throw opError(op, 'indices must be int64 or int32', [indices]);
  }
}

export const gatherRules: Rules<'gather' | 'gatherElements' | 'scatter'> = {
  gather: {
    type([x, indices], { axis }) {
      requireIndices('gather', indices!);
      return {
        dtype: x!.dtype,
        shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)],
      };
    },
    grad: ([g], node, { axis }) => {
      const [x, indices] = node.inputs as [Tensor, Tensor];
      // Bring the gathered axes to the front, add rows by index, and bring the axis back.
      const k = indices.rank;
      const rest = x.shape.filter((_, i) => i !== axis);
      const front = [
        ...indices.shape.map((_, i) => axis + i),
        ...g!.shape.map((_, i) => i).filter((i) => i < axis || i >= axis + k),
      ];
      const rows = reshape(transpose(g!, front), [indices.size, rest.reduce((a, b) => a * b, 1)]);
      const zero = expand(constant(0, x.dtype), [x.shape[axis]!, rows.shape[1]!]);
      const spread = expand(reshape(indices, [indices.size, 1]), rows.shape);
      const back = reshape(scatterAdd(zero, spread, rows, 0), [x.shape[axis]!, ...rest]);
      const order = x.shape.map((_, i) => (i === axis ? 0 : i < axis ? i + 1 : i));
      return [transpose(back, order), undefined];
    },
    emit: (e, inputs, { axis }) => e.node('Gather', inputs, { axis }),
  },
  gatherElements: {
    type([x, indices], { axis }) {
      requireIndices('gatherElements', indices!);
      if (x!.rank !== indices!.rank || !indices!.shape.every((n, i) => i === axis || n <= x!.shape[i]!)) {
        throw opError('gatherElements', `indices do not fit outside axis ${axis}`, [x!, indices!]);
      }
      return { dtype: x!.dtype, shape: indices!.shape };
    },
    grad: ([g], node, { axis }) => {
      const [x, indices] = node.inputs as [Tensor, Tensor];
      return [scatterAdd(expand(constant(0, x.dtype), x.shape), indices, g!, axis), undefined];
    },
    emit: (e, inputs, { axis }) => e.node('GatherElements', inputs, { axis }),
  },
  scatter: {
    type(inputs, { axis }) {
      const [x, indices, updates] = inputs as [Tensor, Tensor, Tensor];
      requireIndices('scatter', indices);
      const same = sameShape(indices.shape, updates.shape) && x.rank === indices.rank;
      if (!same || x.dtype !== updates.dtype) {
        throw opError('scatter', `indices and updates must agree (axis ${axis})`, inputs);
      }
      if (indices.shape.some((n, i) => i !== axis && n > x.shape[i]!)) {
        throw opError('scatter', `indices do not fit outside axis ${axis}`, inputs);
      }
      return { dtype: x.dtype, shape: x.shape };
    },
    grad: ([g], node, { axis, reduction }) => {
      const [, indices, updates] = node.inputs as [Tensor, Tensor, Tensor];
      const zero = () => expand(constant(0, g!.dtype), updates.shape);
      if (reduction === 'max' || reduction === 'min') {
        // Ties share evenly, as those of max and min.
        const [x, y] = [node.inputs[0]!, node.outputs[0]!];
        const own = cast(equal(x, y), g!.dtype);
        const hit = cast(equal(updates, gatherElements(y, indices, axis)), g!.dtype);
        const share = div(g!, scatterAdd(own, indices, hit, axis));
        return [mul(own, share), undefined, mul(hit, gatherElements(share, indices, axis))];
      }
      return [
        reduction === 'add' ? g : scatter(g!, indices, zero(), axis),
        undefined,
        gatherElements(g!, indices, axis),
      ];
    },
    emit: (e, inputs, { axis, reduction }, node) => {
      if (node.outputs[0]!.dtype !== 'float16' || reduction === 'none') {
        return e.node('ScatterElements', inputs, { axis, reduction });
      }
      // There is no kernel that combines halves.
      const wide = (name: string) => e.node('Cast', [name], { to: onnxTypes.float32 })[0]!;
      const [x, indices, updates] = inputs as [string, string, string];
      const sums = e.node('ScatterElements', [wide(x), indices, wide(updates)], { axis, reduction });
      return e.node('Cast', sums, { to: onnxTypes.float16 });
    },
  },
};

/** Slices of `x` along `axis` picked by index: output shape is x.shape with the axis replaced by indices.shape. */
export const gather = (x: Tensor, indices: Tensor, axis = 0): Tensor =>
  apply('gather', [x, indices], { axis: axisOf('gather', axis, x) });

/** out[i][j] = x[i][indices[i][j]] along `axis` (torch.gather). */
export const gatherElements = (x: Tensor, indices: Tensor, axis: number): Tensor =>
  apply('gatherElements', [x, indices], { axis: axisOf('gatherElements', axis, x) });

/** Adds `updates` to `x` at indices along `axis`; repeated indices accumulate (torch.scatter_add). */
export const scatterAdd = (x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor =>
  apply('scatter', [x, indices, updates], { axis: axisOf('scatter', axis, x), reduction: 'add' });

/** Replaces the elements of `x` at indices along `axis` by `updates` (torch.scatter). Indices must not repeat. */
export const scatter = (x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor =>
  apply('scatter', [x, indices, updates], { axis: axisOf('scatter', axis, x), reduction: 'none' });

/**
 * The largest (`max`), smallest (`min`) or mean (`mean`) of each element of `x` and the `updates` that go to it; ties
 * share the gradient evenly (torch.scatter_reduce).
 */
export function scatterReduce(
  x: Tensor,
  indices: Tensor,
  updates: Tensor,
  axis: number,
  reduction: 'max' | 'min' | 'mean',
): Tensor {
  if (reduction === 'mean') {
    const one = (t: Tensor) => expand(constant(1, t.dtype), t.shape);
    return div(scatterAdd(x, indices, updates, axis), scatterAdd(one(x), indices, one(updates), axis));
  }
  if (reduction !== 'max' && reduction !== 'min') {
    throw opError('scatterReduce', `has no reduction "${String(reduction)}"`, [x, indices, updates]);
  }
  return apply('scatter', [x, indices, updates], { axis: axisOf('scatter', axis, x), reduction });
}

/** Positions [...] in the flattened first k axes of `shape`, from index vectors [..., k]. */
function flatPositions(op: string, shape: Shape, indices: Tensor): Tensor {
  const k = indices.dim(-1);
  if (k > shape.length) throw opError(op, `index vectors of ${k} entries do not fit [${shape}]`, [indices]);
  const lengths = shape.slice(0, k);
  const strides = lengths.map((_, i) => sizeOf(lengths.slice(i + 1)));
  const wide = cast(indices, 'int64');
  const counted = where(less(wide, 0), add(wide, constant(i64(lengths))), wide);
  return sum(mul(counted, constant(i64(strides))), -1);
}

/** x at index vectors: indices [..., k] into the first k axes → [..., rest of x]. */
export function gatherND(x: Tensor, indices: Tensor): Tensor {
  const k = indices.dim(-1);
  const at = flatPositions('gatherND', x.shape, indices);
  return gather(reshape(x, [sizeOf(x.shape.slice(0, k)), ...x.shape.slice(k)]), at, 0);
}

/**
 * Puts updates [..., rest of x] at index vectors [..., k] of x: in the place of what stood there (`none`, where
 * indices must not repeat) or added to it.
 */
export function scatterND(
  x: Tensor,
  indices: Tensor,
  updates: Tensor,
  reduction: 'none' | 'add' = 'none',
): Tensor {
  const k = indices.dim(-1);
  const at = flatPositions('scatterND', x.shape, indices);
  const [rows, width] = [sizeOf(x.shape.slice(0, k)), sizeOf(x.shape.slice(k))];
  if (!sameShape(updates.shape, [...at.shape, ...x.shape.slice(k)])) {
    throw opError('scatterND', 'updates do not fit x at the indices', [x, updates, indices]);
  }
  const flat = reshape(updates, [at.size, width]);
  const spread = expand(reshape(at, [at.size, 1]), flat.shape);
  const put = apply('scatter', [reshape(x, [rows, width]), spread, flat], { axis: 0, reduction });
  return reshape(put, x.shape);
}

/** Rows of `table` [V, D] for int ids of any shape: [...ids, D]. The row `paddingIndex` gets no gradient. */
export function embedding(table: Tensor, ids: Tensor, options: { paddingIndex?: number } = {}): Tensor {
  const rows = gather(table, ids, 0);
  if (options.paddingIndex === undefined) return rows;
  const padding = equal(reshape(ids, [...ids.shape, 1]), normalizeAxis(options.paddingIndex, table.dim(0)));
  return where(padding, stopGradient(rows), rows);
}

/** 1 where the class index equals the position, on a new last axis of length `depth`. Not differentiable. */
export function oneHot(ids: Tensor, depth: number, dtype: 'float32' | 'float64' = 'float32'): Tensor {
  const positions = constant(i64(Array.from({ length: depth }, (_, i) => i)));
  return cast(equal(cast(reshape(ids, [...ids.shape, 1]), 'int64'), positions), dtype);
}
