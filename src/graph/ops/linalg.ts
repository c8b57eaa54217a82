import { floats } from '../host.ts';
import { constant, type Tensor } from '../tensor.ts';
import { opError } from './common.ts';
import { abs, add, div, equal, mul, sqrt, stopGradient, sub, where } from './elementwise.ts';
import { oneHot } from './gather.ts';
import { matmul } from './linear.ts';
import { argMax, sum } from './reduce.ts';
import { concat, expand, pad, reshape, slice, transpose } from './shape.ts';

/**
 * Small dense matrices, [..., n, n], in float32 or float64. Each function unrolls n steps into the graph: meant for n
 * up to some dozens.
 */
function order(op: string, a: Tensor): number {
  const n = a.rank < 2 ? -1 : a.dim(-1);
  if (n < 1 || a.dim(-2) !== n) throw opError(op, 'needs square matrices [..., n, n]', [a]);
  return n;
}

/**
 * Lower L with L·Lᵀ = (a + aᵀ) / 2, for symmetric positive definite a; NaN where it is not. So the gradient is
 * symmetric, as PyTorch's.
 */
export function cholesky(matrix: Tensor): Tensor {
  const n = order('cholesky', matrix);
  const a = mul(add(matrix, transpose(matrix)), 0.5);
  const none = a.shape.map(() => 0);
  const columns: Tensor[] = [];
  for (let j = 0; j < n; j++) {
    let column = slice(slice(a, -1, j, j + 1), -2, j);
    if (j > 0) {
      const known = slice(concat(columns, -1), -2, j);
      column = sub(column, matmul(known, slice(known, -2, 0, 1), { transB: true }));
    }
    const scaled = div(column, sqrt(slice(column, -2, 0, 1)));
    columns.push(pad(scaled, none.with(-2, j), none));
  }
  return concat(columns, -1);
}

/**
 * x with l·x = b, for triangular l [..., n, n], lower or `upper`, and b [..., n, m]; with `transpose`, lᵀ·x = b for
 * lower l. The other triangle is not read, nor the diagonal where it is one of ones (`unitDiagonal`).
 */
export function solveTriangular(
  l: Tensor,
  b: Tensor,
  options: { transpose?: boolean; upper?: boolean; unitDiagonal?: boolean } = {},
): Tensor {
  const n = order('solveTriangular', l);
  const { transpose: turned = false, unitDiagonal = false } = options;
  if (options.upper) {
    return solveTriangular(transpose(l), b, { transpose: !turned, unitDiagonal });
  }
  const upper = turned;
  if (b.rank < 2 || b.dim(-2) !== n) throw opError('solveTriangular', 'needs b [..., n, m]', [l, b]);
  const rows: Tensor[] = [];
  for (let k = 0; k < n; k++) {
    const i = upper ? n - 1 - k : k;
    let rest = slice(b, -2, i, i + 1);
    if (k > 0) {
      const [from, to] = upper ? [i + 1, n] : [0, i];
      const known = upper
        ? slice(slice(l, -1, i, i + 1), -2, from, to)
        : slice(slice(l, -2, i, i + 1), -1, from, to);
      rest = sub(rest, matmul(known, concat(rows, -2), { transA: upper }));
    }
    const solved = unitDiagonal ? rest : div(rest, slice(slice(l, -1, i, i + 1), -2, i, i + 1));
    if (upper) rows.unshift(solved);
    else rows.push(solved);
  }
  return concat(rows, -2);
}

const identity = (n: number, like: Tensor): Tensor =>
  constant(
    floats(
      Array.from({ length: n * n }, (_, k) => (k % (n + 1) === 0 ? 1 : 0)),
      [n, n],
      like.dtype,
    ),
  );

/**
 * a⁻¹ by Gauss-Jordan elimination with row pivoting, then two Newton steps X ← X·(2 − a·X). The elimination is held
 * constant: Newton's steps carry the gradients, exact up to the third order, and sharpen the value.
 */
export function inverse(a: Tensor): Tensor {
  const n = order('inverse', a);
  const eye = identity(n, a);
  const batch = a.shape.slice(0, -2);
  let work = concat([stopGradient(a), expand(eye, a.shape)], -1);
  const dtype = a.dtype as 'float32' | 'float64';
  // Rows stay in place: a row that served as pivot is marked instead of swapped.
  let free = expand(constant(1, dtype), [...batch, n]);
  const picks: Tensor[] = [];
  for (let k = 0; k < n; k++) {
    const column = reshape(slice(work, -1, k, k + 1), [...batch, n]);
    // +1 keeps a free row ahead of a used one where the column is zero.
    const pick = oneHot(argMax(mul(add(abs(column), 1), free)), n, dtype);
    picks.push(reshape(pick, [...batch, 1, n]));
    const chosen = reshape(pick, [...batch, n, 1]);
    const row = sum(mul(work, chosen), -2, true);
    const pivot = div(row, slice(row, -1, k, k + 1));
    work = where(equal(chosen, 1), pivot, sub(work, mul(reshape(column, [...batch, n, 1]), pivot)));
    free = sub(free, pick);
  }
  let x = stopGradient(matmul(concat(picks, -2), slice(work, -1, n)));
  for (let step = 0; step < 2; step++) x = sub(mul(x, 2), matmul(x, matmul(a, x)));
  return x;
}

/** x with a·x = b, for a [..., n, n] and b [..., n, m], or one b [n]. */
export const solve = (a: Tensor, b: Tensor): Tensor => matmul(inverse(a), b);
