import { i64 } from '../host.ts';
import type { Rules } from '../rule.ts';
import { apply, constant, type Tensor } from '../tensor.ts';
import { normalizeAxis, opError, sameShape } from './common.ts';
import { cast, equal } from './elementwise.ts';
import { expand, reshape, transpose } from './shape.ts';

function requireIndices(op: 'gather' | 'gatherElements' | 'scatterAdd', indices: Tensor): void {
  if (indices.dtype !== 'int64' && indices.dtype !== 'int32') {
    throw opError(op, 'indices must be int64 or int32', [indices]);
  }
}

export const gatherRules: Rules<'gather' | 'gatherElements' | 'scatterAdd'> = {
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
  scatterAdd: {
    type([x, indices, updates], { axis }) {
      requireIndices('scatterAdd', indices!);
      if (
        !sameShape(indices!.shape, updates!.shape) ||
        x!.rank !== indices!.rank ||
        x!.dtype !== updates!.dtype
      ) {
        throw opError('scatterAdd', `indices and updates must agree (axis ${axis})`, [
          x!,
          indices!,
          updates!,
        ]);
      }
      return { dtype: x!.dtype, shape: x!.shape };
    },
    grad: ([g], node, { axis }) => [g, undefined, gatherElements(g!, node.inputs[1]!, axis)],
    emit: (e, inputs, { axis }) => e.node('ScatterElements', inputs, { axis, reduction: 'add' }),
  },
};

/** Slices of `x` along `axis` picked by index: output shape is x.shape with the axis replaced by indices.shape. */
export const gather = (x: Tensor, indices: Tensor, axis = 0): Tensor =>
  apply('gather', [x, indices], { axis: normalizeAxis(axis, x.rank) });

/** out[i][j] = x[i][indices[i][j]] along `axis` (torch.gather). */
export const gatherElements = (x: Tensor, indices: Tensor, axis: number): Tensor =>
  apply('gatherElements', [x, indices], { axis: normalizeAxis(axis, x.rank) });

/** Adds `updates` to `x` at indices along `axis`; repeated indices accumulate (torch.scatter_add). */
export const scatterAdd = (x: Tensor, indices: Tensor, updates: Tensor, axis: number): Tensor =>
  apply('scatterAdd', [x, indices, updates], { axis: normalizeAxis(axis, x.rank) });

/** Rows of `table` [V, D] for int ids of any shape: [...ids, D]. */
export const embedding = (table: Tensor, ids: Tensor): Tensor => gather(table, ids, 0);

/** 1 where the class index equals the position, on a new last axis of length `depth`. Not differentiable. */
export function oneHot(ids: Tensor, depth: number, dtype: 'float32' | 'float64' = 'float32'): Tensor {
  const positions = constant(i64(Array.from({ length: depth }, (_, i) => i)));
  return cast(equal(cast(reshape(ids, [...ids.shape, 1]), 'int64'), positions), dtype);
}
