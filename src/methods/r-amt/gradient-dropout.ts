import { abs, add, cast, less, lessEqual, mul, sign, sub, type Tensor, where } from '../../graph/index.ts';

/**
 * P: how likely an element of the task's gradient `a` is kept beside that of the teacher, `b`. Where they agree 1, where
 * they are of opposite signs |a| / (|a| + |b|). That is ½ [1 + sgn(a) (a + b) / (|a| + |b| + ε)] without the ε, which is
 * not small beside small gradients.
 */
export function keepProbability(a: Tensor, b: Tensor): Tensor {
  const conflict = less(mul(sign(a), sign(b)), 0);
  return where(conflict, abs(a).div(add(abs(a), abs(b))), 1);
}

/** ã = ((1 − l) + l · 1[P > U]) · a, with U uniform on [0, 1). */
export const dropConflicts = (a: Tensor, b: Tensor, uniform: Tensor, l: number): Tensor =>
  mul(a, add(mul(cast(less(uniform, keepProbability(a, b)), 'float32'), l), 1 - l));

/** Numbers that `uniformOf` needs for a tensor of `shape`. */
export const drawsOf = (shape: readonly number[]): number =>
  shape[0]! + shape.slice(1).reduce((a, b) => a * b, 1);

/**
 * U of `shape` from independent uniform draws u [rows] and v [columns], as the fraction of u_i + v_j: every element is
 * uniform, and any two are independent, so means and variances are those of a draw for each, of which CLIP would need
 * thirty million a step.
 */
export function uniformOf(draws: Tensor, shape: readonly number[]): Tensor {
  const rows = shape[0]!;
  const total = add(draws.slice(0, 0, rows).reshape([rows, 1]), draws.slice(0, rows).reshape([1, -1]));
  return sub(total, cast(lessEqual(1, total), 'float32')).reshape(shape);
}
