import { abs, and, less, maximum, norm, type Shape, sign, sqrt, type Tensor, where } from '../graph/index.ts';
import type { Schedule } from './schedules.ts';
import {
  addDecayedWeights,
  ascend,
  chain,
  type Mask,
  mapTree,
  mapUpdates,
  perParameter,
  scaleByLearningRate,
  type Transform,
} from './transforms.ts';

/** Momentum of torch.optim.SGD: the buffer starts as the first gradient, undamped. */
export function momentum(
  factor: number,
  options: { dampening?: number; nesterov?: boolean } = {},
): Transform {
  const { dampening = 0, nesterov = false } = options;
  return {
    init: (params) => mapTree(params, (shape) => shape),
    update(updates, state, { hyper }) {
      const fresh = dampening ? hyper('undamped', ({ step }) => (step === 0 ? 1 : 1 - dampening)) : undefined;
      const next = mapTree(updates, (u, name) => state[name]!.mul(factor).add(fresh ? u.mul(fresh) : u));
      return {
        updates: nesterov ? mapTree(updates, (u, name) => u.add(next[name]!.mul(factor))) : next,
        state: next,
      };
    },
  };
}

export interface AdamOptions {
  beta1?: number;
  beta2?: number;
  eps?: number;
  /** Divides by the largest second moment so far (Reddi et al. 2018). */
  amsgrad?: boolean;
}

const pair = (shape: Shape) => ({ m: shape, v: shape });

/** The moving averages of gradients and of their squares. */
const moments = (u: Tensor, m: Tensor, v: Tensor, beta1: number, beta2: number): [Tensor, Tensor] => [
  m.mul(beta1).add(u.mul(1 - beta1)),
  v.mul(beta2).add(u.square().mul(1 - beta2)),
];

/** Adam's direction with bias correction, as torch.optim.Adam computes it (Kingma & Ba 2015). */
export function scaleByAdam(options: AdamOptions = {}): Transform {
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, amsgrad = false } = options;
  return perParameter(
    (shape): Record<string, Shape> => (amsgrad ? { ...pair(shape), top: shape } : pair(shape)),
    ({ hyper }) => {
      // Bias corrections come from the host in double precision: 1 − β₂ᵗ loses digits in float32.
      const correct1 = hyper('adam.m', ({ step }) => 1 / (1 - beta1 ** (step + 1)));
      const correct2 = hyper('adam.v', ({ step }) => 1 / Math.sqrt(1 - beta2 ** (step + 1)));
      return (u, s) => {
        const [m, v] = moments(u, s.m!, s.v!, beta1, beta2);
        const top = amsgrad ? maximum(s.top!, v) : v;
        const state: Record<string, Tensor> = amsgrad ? { m, v, top } : { m, v };
        return [m.mul(correct1).div(sqrt(top).mul(correct2).add(eps)), state];
      };
    },
  );
}

/** The direction of torch.optim.NAdam: Adam with Nesterov's look ahead (Dozat 2016). */
export function scaleByNadam(options: AdamOptions & { momentumDecay?: number } = {}): Transform {
  const { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, momentumDecay = 4e-3 } = options;
  const mu = (t: number) => beta1 * (1 - 0.5 * 0.96 ** (t * momentumDecay));
  const product = (t: number): number => {
    let all = 1;
    for (let i = 1; i <= t && all > 0; i++) all *= mu(i);
    return all;
  };
  return perParameter(pair, ({ hyper }) => {
    const now = hyper('nadam.now', ({ step }) => (1 - mu(step + 1)) / (1 - product(step + 1)));
    const ahead = hyper('nadam.ahead', ({ step }) => mu(step + 2) / (1 - product(step + 2)));
    const correct2 = hyper('nadam.v', ({ step }) => 1 / Math.sqrt(1 - beta2 ** (step + 1)));
    return (u, s) => {
      const [m, v] = moments(u, s.m, s.v, beta1, beta2);
      return [u.mul(now).add(m.mul(ahead)).div(sqrt(v).mul(correct2).add(eps)), { m, v }];
    };
  });
}

/** The direction of torch.optim.RAdam: momentum until the second moment can be trusted (Liu et al. 2020). */
export function scaleByRadam({ beta1 = 0.9, beta2 = 0.999, eps = 1e-8 }: AdamOptions = {}): Transform {
  const most = 2 / (1 - beta2) - 1;
  /** The rectification, or undefined while the variance of the second moment is unbounded. */
  const rectify = (t: number): number | undefined => {
    const rho = most - (2 * t * beta2 ** t) / (1 - beta2 ** t);
    if (rho <= 5) return undefined;
    const r = Math.sqrt(((rho - 4) * (rho - 2) * most) / ((most - 4) * (most - 2) * rho));
    return r * Math.sqrt(1 - beta2 ** t);
  };
  return perParameter(pair, ({ hyper }) => {
    const correct1 = hyper('radam.m', ({ step }) => 1 / (1 - beta1 ** (step + 1)));
    const adaptive = hyper('radam.adaptive', ({ step }) => rectify(step + 1) ?? 0);
    const plain = hyper('radam.plain', ({ step }) => (rectify(step + 1) === undefined ? 1 : 0));
    return (u, s) => {
      const [m, v] = moments(u, s.m, s.v, beta1, beta2);
      return [m.mul(correct1).mul(adaptive.div(sqrt(v).add(eps)).add(plain)), { m, v }];
    };
  });
}

/** The direction of torch.optim.Adamax: Adam by the largest gradient (Kingma & Ba 2015, section 7.1). */
export function scaleByAdamax({ beta1 = 0.9, beta2 = 0.999, eps = 1e-8 }: AdamOptions = {}): Transform {
  return perParameter(pair, ({ hyper }) => {
    const correct = hyper('adamax.m', ({ step }) => 1 / (1 - beta1 ** (step + 1)));
    return (u, s) => {
      const m = s.m.mul(beta1).add(u.mul(1 - beta1));
      const v = maximum(s.v.mul(beta2), abs(u).add(eps));
      return [m.mul(correct).div(v), { m, v }];
    };
  });
}

/** The direction of Lion: the sign of a look ahead (Chen et al. 2023). */
export const scaleByLion = (beta1 = 0.9, beta2 = 0.99): Transform =>
  perParameter(
    (shape) => ({ m: shape }),
    () =>
      (u, { m }) => [sign(m.mul(beta1).add(u.mul(1 - beta1))), { m: m.mul(beta2).add(u.mul(1 - beta2)) }],
  );

/** Scales each update to the length of its parameter, where neither is zero: LAMB's trust ratio (You et al. 2020). */
export const scaleByTrustRatio = (): Transform =>
  mapUpdates((u, _name, param) => {
    const [length, own] = [norm(u), norm(param)];
    return u.mul(where(and(less(0, length), less(0, own)), own.div(where(less(0, length), length, 1)), 1));
  });

/** What every optimizer takes. */
export interface OptimizerOptions {
  lr: Schedule | number;
  /** How much of each parameter is added to its gradient; in `adamw`, `lion` and `lamb` to its update. */
  weightDecay?: number;
  /** Which parameters decay: all by default. */
  decayMask?: Mask;
  /** Climbs instead of descending. */
  maximize?: boolean;
}

/** Decay that is L2 regularisation of the gradient: before `direction`. */
const coupled = (options: OptimizerOptions, ...direction: readonly Transform[]): Transform =>
  chain(
    ...(options.maximize ? [ascend()] : []),
    ...(options.weightDecay ? [addDecayedWeights(options.weightDecay, options.decayMask)] : []),
    ...direction,
    scaleByLearningRate(options.lr),
  );
/** Decay apart from the adaptive step: after `direction` (Loshchilov & Hutter 2019). */
const decoupled = (
  options: OptimizerOptions,
  decay: number,
  ...direction: readonly Transform[]
): Transform => {
  const [first, ...rest] = direction;
  return chain(
    ...(options.maximize ? [ascend()] : []),
    first!,
    addDecayedWeights(decay, options.decayMask),
    ...rest,
    scaleByLearningRate(options.lr),
  );
};

export interface SgdOptions extends OptimizerOptions {
  momentum?: number;
  dampening?: number;
  nesterov?: boolean;
}
/** torch.optim.SGD. */
export const sgd = (options: SgdOptions): Transform =>
  coupled(options, ...(options.momentum ? [momentum(options.momentum, options)] : []));

/** torch.optim.Adam. */
export const adam = (options: OptimizerOptions & AdamOptions): Transform =>
  coupled(options, scaleByAdam(options));
/** torch.optim.AdamW; its weight decay is 0.01 unless told otherwise. */
export const adamw = (options: OptimizerOptions & AdamOptions): Transform =>
  decoupled(options, options.weightDecay ?? 0.01, scaleByAdam(options));
/** torch.optim.NAdam. */
export const nadam = (options: OptimizerOptions & AdamOptions & { momentumDecay?: number }): Transform =>
  coupled(options, scaleByNadam(options));
/** torch.optim.RAdam. */
export const radam = (options: OptimizerOptions & AdamOptions): Transform =>
  coupled(options, scaleByRadam(options));
/** torch.optim.Adamax. */
export const adamax = (options: OptimizerOptions & AdamOptions): Transform =>
  coupled(options, scaleByAdamax(options));
/** Lion (Chen et al. 2023). */
export const lion = (options: OptimizerOptions & { beta1?: number; beta2?: number }): Transform =>
  decoupled(options, options.weightDecay ?? 0, scaleByLion(options.beta1, options.beta2));
/** LAMB (You et al. 2020). */
export const lamb = (options: OptimizerOptions & AdamOptions): Transform =>
  decoupled(options, options.weightDecay ?? 0, scaleByAdam({ eps: 1e-6, ...options }), scaleByTrustRatio());

export interface RmspropOptions extends OptimizerOptions {
  alpha?: number;
  eps?: number;
  momentum?: number;
  centered?: boolean;
}
/** torch.optim.RMSprop (Tieleman & Hinton 2012). */
export function rmsprop(options: RmspropOptions): Transform {
  const { alpha = 0.99, eps = 1e-8, centered = false, momentum: factor = 0 } = options;
  const scale = perParameter(
    (shape): Record<string, Shape> => (centered ? pair(shape) : { v: shape }),
    () => (u, s) => {
      const v = s.v!.mul(alpha).add(u.square().mul(1 - alpha));
      if (!centered) return [u.div(sqrt(v).add(eps)), { v }];
      const m = s.m!.mul(alpha).add(u.mul(1 - alpha));
      return [u.div(sqrt(v.sub(m.square())).add(eps)), { m, v }];
    },
  );
  return coupled(options, scale, ...(factor ? [momentum(factor)] : []));
}

/** torch.optim.Adagrad (Duchi et al. 2011). */
export function adagrad(
  options: OptimizerOptions & { eps?: number; lrDecay?: number; initial?: number },
): Transform {
  const { eps = 1e-10, lrDecay = 0, initial = 0 } = options;
  const scale = perParameter(
    (shape) => ({ v: shape }),
    ({ hyper }) => {
      const rate = hyper('adagrad.decay', ({ step }) => 1 / (1 + step * lrDecay));
      const start = hyper('adagrad.initial', ({ step }) => (step === 0 ? initial : 0));
      return (u, s) => {
        const v = s.v.add(u.square()).add(start);
        return [u.div(sqrt(v).add(eps)).mul(rate), { v }];
      };
    },
  );
  return coupled(options, scale);
}

/** torch.optim.Adadelta (Zeiler 2012); its learning rate is 1 in the paper. */
export function adadelta(options: OptimizerOptions & { rho?: number; eps?: number }): Transform {
  const { rho = 0.9, eps = 1e-6 } = options;
  const scale = perParameter(
    (shape) => ({ v: shape, d: shape }),
    () => (u, s) => {
      const v = s.v.mul(rho).add(u.square().mul(1 - rho));
      const step = sqrt(s.d.add(eps))
        .div(sqrt(v.add(eps)))
        .mul(u);
      return [step, { v, d: s.d.mul(rho).add(step.square().mul(1 - rho)) }];
    },
  );
  return coupled(options, scale);
}
