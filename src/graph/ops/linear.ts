import type { Rules } from '../rule.ts';
import { apply, type Tensor } from '../tensor.ts';
import { broadcastShapes, opError, requireFloat } from './common.ts';
import { sumTo } from './reduce.ts';
import { reshape } from './shape.ts';

/** Flags transpose the last two axes of an operand without a copy; `alpha` scales the product. */
export interface MatmulOptions {
  transA?: boolean;
  transB?: boolean;
  alpha?: number;
}

export const linearRules: Rules<'matmul'> = {
  matmul: {
    type(inputs, { transA, transB }) {
      requireFloat('matmul', inputs);
      const [a, b] = inputs as [Tensor, Tensor];
      const [m, k] = transA ? [a.dim(-1), a.dim(-2)] : [a.dim(-2), a.dim(-1)];
      const [k2, n] = transB ? [b.dim(-1), b.dim(-2)] : [b.dim(-2), b.dim(-1)];
      const batch = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
      if (k !== k2 || !batch || a.dtype !== b.dtype) {
        const flags = `${transA ? ' transA' : ''}${transB ? ' transB' : ''}`;
        throw opError('matmul', `inner axes, batch axes or dtypes do not fit${flags}`, inputs);
      }
      return { dtype: a.dtype, shape: [...batch, m, n] };
    },
    grad: ([g], node, { transA, transB, alpha }, needs) => {
      const [a, b] = node.inputs as [Tensor, Tensor];
      const da = () =>
        transA
          ? matmul(b, g!, { transA: transB, transB: true, alpha })
          : matmul(g!, b, { transB: !transB, alpha });
      const db = () => {
        // A shared right operand sums over the batch: one flat product instead of a batch of them to be added up.
        const flat = b.rank === 2 && a.rank > 2 && !transA;
        const x = flat ? reshape(a, [-1, a.dim(-1)]) : a;
        const y = flat ? reshape(g!, [-1, g!.dim(-1)]) : g!;
        return transB
          ? matmul(y, x, { transA: true, transB: transA, alpha })
          : matmul(x, y, { transA: !transA, alpha });
      };
      return [needs[0] ? sumTo(da(), a.shape) : undefined, needs[1] ? sumTo(db(), b.shape) : undefined];
    },
    emit: (e, inputs, { transA, transB, alpha }) => {
      if (!transA && !transB && alpha === 1) return e.node('MatMul', inputs);
      const flags = { transA: transA ? 1 : 0, transB: transB ? 1 : 0, alpha: { float: alpha } };
      return e.node('FusedMatMul', inputs, flags, { domain: 'com.microsoft' });
    },
  },
};

/** Matrix product with broadcast batch axes. A rank-1 operand is a row (left) or a column (right), as in NumPy. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  if (a.rank === 0 || b.rank === 0)
    throw opError('matmul', 'a scalar has no matrix product; use mul', [a, b]);
  if (a.rank === 1) {
    const row = matmul(reshape(a, [1, a.size]), b, { ...options, transA: false });
    return reshape(row, b.rank === 1 ? [] : row.shape.filter((_, i) => i !== row.rank - 2));
  }
  if (b.rank === 1) {
    const column = matmul(a, reshape(b, [b.size, 1]), { ...options, transB: false });
    return reshape(column, column.shape.slice(0, -1));
  }
  const { transA = false, transB = false, alpha = 1 } = options;
  return apply('matmul', [a, b], { transA, transB, alpha });
}
