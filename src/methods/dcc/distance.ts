import { concat, norm, type Tensor } from '../../graph/index.ts';
import type { Tree } from '../../nn/index.ts';

/** How two gradients are compared; the names are those of `--distance`. */
export const distances = ['rows', 'squared-error', 'cosine'] as const;
export type Distance = (typeof distances)[number];

/** Added to products of norms, as in the reference code. */
const eps = 1e-6;

/** 1 − ⟨a, b⟩ / (‖a‖‖b‖ + 1e-6) over the last axis. A zero vector counts 1, and its gradient is 0. */
const cosineDistance = (a: Tensor, b: Tensor): Tensor =>
  a
    .mul(b)
    .sum(-1)
    .div(
      norm(a, 2, -1)
        .mul(norm(b, 2, -1))
        .add(eps),
    )
    .neg()
    .add(1);

/** The gradients that a distance reads: rows leave out biases and the scales of norms, which are vectors. */
export const isCompared = (distance: Distance, rank: number): boolean => distance !== 'rows' || rank > 1;

/**
 * The distance D of two gradients, a scalar. `rows` (Zhao et al. 2021, section 3.4): Σ over weights and over their outputs
 * of 1 − cosine, 0 to 2 times the number of rows. `squared-error` and `cosine` are of all gradients in one vector.
 * @throws where a tensor of `a` has no counterpart.
 */
export function gradientDistance(distance: Distance, a: Tree, b: Tree): Tensor {
  const parts = Object.entries(a).flatMap(([name, own]) => {
    const other = b[name];
    if (!other) throw new Error(`no gradient "${name}" to compare with`);
    return isCompared(distance, own.rank) ? [[own, other] as const] : [];
  });
  if (distance === 'squared-error') return total(parts.map(([x, y]) => x.sub(y).square().sum()));
  if (distance === 'rows') {
    const rows = (x: Tensor) => x.reshape([x.dim(0), -1]);
    return total(parts.map(([x, y]) => cosineDistance(rows(x), rows(y)).sum()));
  }
  const dot = total(parts.map(([x, y]) => x.mul(y).sum()));
  const length = (which: 0 | 1) => norm(concatenated(parts.map((p) => p[which])));
  return dot
    .div(length(0).mul(length(1)).add(eps))
    .neg()
    .add(1);
}

const concatenated = (xs: readonly Tensor[]): Tensor =>
  concat(
    xs.map((x) => x.reshape([-1])),
    0,
  );
const total = (xs: readonly Tensor[]): Tensor => xs.reduce((x, y) => x.add(y));
