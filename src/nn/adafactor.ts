import { maximum, rsqrt, type Shape, sqrt, type Tensor, unsqueeze } from '../graph/index.ts';
import type { OptimizerOptions } from './optimizers.ts';
import type { Schedule } from './schedules.ts';
import { ascend, chain, perParameter, selects, type Transform } from './transforms.ts';

export interface AdafactorOptions extends Omit<OptimizerOptions, 'lr'> {
  /** A fixed rate; absent, the relative step min(10⁻², 1 / √t). */
  lr?: Schedule | number;
  /** Added to squared gradients, and the least root mean square of a parameter that scales its step. */
  eps?: readonly [number, number];
  clipThreshold?: number;
  decayRate?: number;
  beta1?: number;
  scaleParameter?: boolean;
  /** The relative step starts at 10⁻⁶·t. */
  warmupInit?: boolean;
}
/** Adafactor (Shazeer & Stern 2018), as transformers.optimization.Adafactor: factored second moments for matrices. */
export function adafactor(options: AdafactorOptions = {}): Transform {
  const { eps = [1e-30, 1e-3], clipThreshold = 1, decayRate = -0.8, beta1, maximize } = options;
  const { scaleParameter = true, weightDecay = 0, decayMask, warmupInit = false, lr } = options;
  const rate: Schedule | number =
    lr ?? (({ step }) => Math.min(warmupInit ? 1e-6 * (step + 1) : 1e-2, 1 / Math.sqrt(step + 1)));
  const decays = selects(decayMask);
  const rms = (t: Tensor) => sqrt(t.square().mean());
  const scale = perParameter(
    (shape): Record<string, Shape> => ({
      ...(shape.length >= 2
        ? { row: shape.slice(0, -1), column: [...shape.slice(0, -2), shape.at(-1)!] }
        : { v: shape }),
      ...(beta1 === undefined ? {} : { m: shape }),
    }),
    ({ hyper }) => {
      const fresh = hyper('adafactor.fresh', ({ step }) => (step + 1) ** decayRate);
      const now = hyper('lr', typeof rate === 'number' ? () => rate : rate);
      const mix = (old: Tensor, t: Tensor) => old.add(t.sub(old).mul(fresh));
      return (u, s, param, name) => {
        const squares = u.square().add(eps[0]);
        const state: Record<string, Tensor> = {};
        let step: Tensor;
        if (s.row && s.column) {
          state.row = mix(s.row, squares.mean(-1));
          state.column = mix(s.column, squares.mean(-2));
          const rows = rsqrt(state.row.div(state.row.mean(-1, true)));
          step = u.mul(unsqueeze(rows, -1)).mul(unsqueeze(rsqrt(state.column), -2));
        } else {
          state.v = mix(s.v!, squares);
          step = u.mul(rsqrt(state.v));
        }
        const size = scaleParameter ? maximum(rms(param), eps[1]).mul(now) : now;
        step = step.div(maximum(rms(step).div(clipThreshold), 1)).mul(size);
        if (s.m && beta1 !== undefined) {
          step = s.m.mul(beta1).add(step.mul(1 - beta1));
          state.m = step;
        }
        return [weightDecay && decays(name) ? step.add(param.mul(size).mul(weightDecay)) : step, state];
      };
    },
  );
  return maximize ? chain(ascend(), scale) : scale;
}
