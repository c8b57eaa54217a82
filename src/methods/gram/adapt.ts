import { stopGradient, type Tensor } from '../../graph/index.ts';
import { mapTree, type Tree } from '../../nn/index.ts';
import { gradTree } from '../../train/index.ts';
import type { Regulate } from './regulator.ts';

/** Whether the inner gradients are constants of the outer ones (FOMAML), or are differentiated too (MAML). */
export const orders = ['first', 'second'] as const;
export type Order = (typeof orders)[number];

export interface InnerOptions {
  /** Steps on the support set (n_in). */
  readonly innerSteps: number;
  /** Their learning rate α. */
  readonly innerRate: number;
  readonly order: Order;
}

/**
 * θ after the inner steps θ ← θ − α R_φ(∇L(θ)). The gradient of a query loss at what is returned is the meta-gradient.
 * With order `first` its part for θ is ∇L_q at the adapted θ, and that for φ is exact for one inner step; for more, both
 * are approximations.
 */
export function adapt(
  theta: Tree,
  support: (theta: Tree) => Tensor,
  regulate: Regulate,
  { innerSteps, innerRate, order }: InnerOptions,
): Tree {
  let adapted = theta;
  for (let k = 0; k < innerSteps; k++) {
    const raw = gradTree(support(adapted), adapted);
    adapted = mapTree(adapted, (value, name) => {
      const g = raw[name]!;
      return value.sub(regulate(order === 'first' ? stopGradient(g) : g, name).mul(innerRate));
    });
  }
  return adapted;
}
