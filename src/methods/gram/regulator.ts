import { div, norm, relu, sigmoid, type Tensor } from '../../graph/index.ts';
import { linear, onesInit, type Scope, zerosInit } from '../../nn/index.ts';

/**
 * Forms of R_φ (card: A, B, C). `none` is the identity (MAML); `scale` is `affine` without its bias, which would move a
 * prompt that has no gradient.
 */
export const regulatorForms = ['none', 'scale', 'affine', 'conditioned', 'gate'] as const;
export type RegulatorForm = (typeof regulatorForms)[number];

/** R_φ of the gradient `g` [..., m, d] of one trained tensor: the same shape. */
export type Regulate = (g: Tensor, name: string) => Tensor;

/**
 * The regulator whose φ are params below `s`, one set a trained tensor, in a graph that is traced:
 *
 * - `affine` (A): γ ⊙ g + δ, of g's shape
 * - `conditioned` (B): (1 + Δγ) ⊙ g + ‖g‖ Δδ with (Δγ, Δδ) = MLP(g / ‖g‖), by rows of g
 * - `gate` (C): 2σ(MLP(g / ‖g‖)) ⊙ g, by rows
 *
 * All begin as the identity. The MLP is d → d/16 → its output with ReLU, the last layer from zero.
 */
export function regulator(s: Scope, form: RegulatorForm): Regulate {
  if (form === 'none') return (g) => g;
  return (g, name) => {
    const own = s.at(name).trained();
    if (form === 'scale' || form === 'affine') {
      const scaled = g.mul(own.weight('scale', g.shape, onesInit));
      return form === 'scale' ? scaled : scaled.add(own.weight('bias', g.shape, zerosInit));
    }
    const rows = g.reshape([-1, g.dim(-1)]);
    return (form === 'gate' ? gated(own, rows) : conditioned(own, rows)).reshape(g.shape);
  };
}

function conditioned(s: Scope, g: Tensor): Tensor {
  const width = g.dim(-1);
  const size = norm(g, 2, -1, true);
  const out = mlp(s, g, size, 2 * width);
  const [scale, bias] = [out.slice(1, 0, width), out.slice(1, width)];
  return g.mul(scale.add(1)).add(size.mul(bias));
}

const gated = (s: Scope, g: Tensor): Tensor =>
  g.mul(sigmoid(mlp(s, g, norm(g, 2, -1, true), g.dim(-1))).mul(2));

/** The direction alone goes in: gradients of prompts span orders of magnitude. */
function mlp(s: Scope, g: Tensor, size: Tensor, out: number): Tensor {
  const direction = div(g, size.add(1e-12));
  const hidden = relu(linear(s.at('hidden'), direction, Math.max(1, Math.floor(g.dim(-1) / 16))));
  return linear(s.at('out'), hidden, out, { init: zerosInit, biasInit: zerosInit });
}
