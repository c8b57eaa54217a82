import { maximum, minimum, mul, type Shape, sqrt, type Tensor } from '../graph/index.ts';
import { compilePattern } from './pattern.ts';
import type { Progress, Schedule } from './schedules.ts';

/** Tensors by parameter name. */
export type Tree = Record<string, Tensor>;

/** What a transform may read while the update is traced. */
export interface UpdateContext {
  /** The parameters before the update. */
  readonly params: Tree;
  /** A scalar computed on the host at every step and fed to the graph; `name` is made unique. */
  hyper(name: string, value: (t: Progress) => number): Tensor;
}

/**
 * A gradient transform in the manner of Optax: a step of the way from gradients to updates. State tensors start
 * at zero; parameters become `params − updates`.
 */
export interface Transform {
  /** Shapes of the state by name. */
  init(params: Record<string, Shape>): Record<string, Shape>;
  update(updates: Tree, state: Tree, context: UpdateContext): { updates: Tree; state: Tree };
}

const stateless = (update: (updates: Tree, context: UpdateContext) => Tree): Transform => ({
  init: () => ({}),
  update: (updates, _state, context) => ({ updates: update(updates, context), state: {} }),
});

const mapTree = <T, U>(tree: Record<string, T>, f: (value: T, name: string) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(tree).map(([name, value]) => [name, f(value, name)]));

/** The part of the state whose names begin with `prefix`, without it. */
const below = (state: Tree, prefix: string): Tree =>
  Object.fromEntries(
    Object.entries(state).flatMap(([key, t]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), t]] : [],
    ),
  );

/** One transform after the other. */
export function chain(...transforms: readonly Transform[]): Transform {
  return {
    init: (params) =>
      Object.assign(
        {},
        ...transforms.map((t, i) =>
          Object.fromEntries(Object.entries(t.init(params)).map(([key, shape]) => [`${i}.${key}`, shape])),
        ),
      ),
    update(updates, state, context) {
      const next: Tree = {};
      let current = updates;
      transforms.forEach((t, i) => {
        const result = t.update(current, below(state, `${i}.`), context);
        current = result.updates;
        for (const [key, value] of Object.entries(result.state)) next[`${i}.${key}`] = value;
      });
      return { updates: current, state: next };
    },
  };
}

/** Any function of each gradient: masking, dropping, regulating. */
export const mapUpdates = (f: (update: Tensor, name: string, param: Tensor) => Tensor): Transform =>
  stateless((updates, { params }) => mapTree(updates, (u, name) => f(u, name, params[name]!)));

/** Scales all updates so that their joint L2 norm is at most `max` (torch.nn.utils.clip_grad_norm_). */
export const clipByGlobalNorm = (max: number): Transform =>
  stateless((updates) => {
    const total = Object.values(updates)
      .map((u) => u.square().sum())
      .reduce((a, b) => a.add(b));
    const factor = minimum(mul(sqrt(total).add(1e-6).pow(-1), max), 1);
    return mapTree(updates, (u) => u.mul(factor));
  });

/** Clips every element to ±max. */
export const clipByValue = (max: number): Transform => mapUpdates((u) => minimum(maximum(u, -max), max));

/** Which parameters a rule applies to: a predicate on names, a list of patterns, or (absent) all. */
export type Mask = ((name: string) => boolean) | readonly string[];
function selects(mask: Mask | undefined): (name: string) => boolean {
  if (mask === undefined) return () => true;
  if (typeof mask === 'function') return mask;
  const patterns = mask.map(compilePattern);
  return (name) => patterns.some((matches) => matches(name) !== undefined);
}

/** Adds decay · parameter to the updates: before momentum it is L2 regularisation, after Adam it is AdamW's decay. */
export function addDecayedWeights(decay: number, mask?: Mask): Transform {
  const applies = selects(mask);
  return mapUpdates((u, name, p) => (decay && applies(name) ? u.add(p.mul(decay)) : u));
}

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
}

/** Adam's direction with bias correction, as torch.optim.Adam computes it (Kingma & Ba 2015). */
export function scaleByAdam({ beta1 = 0.9, beta2 = 0.999, eps = 1e-8 }: AdamOptions = {}): Transform {
  return {
    init: (params) =>
      Object.fromEntries(
        Object.entries(params).flatMap(([name, shape]) => [
          [`m/${name}`, shape],
          [`v/${name}`, shape],
        ]),
      ),
    update(updates, state, { hyper }) {
      // Bias corrections come from the host in double precision: 1 − β₂ᵗ loses digits in float32.
      const correct1 = hyper('adam.m', ({ step }) => 1 / (1 - beta1 ** (step + 1)));
      const correct2 = hyper('adam.v', ({ step }) => 1 / Math.sqrt(1 - beta2 ** (step + 1)));
      const next: Tree = {};
      const directions = mapTree(updates, (u, name) => {
        const m = state[`m/${name}`]!.mul(beta1).add(u.mul(1 - beta1));
        const v = state[`v/${name}`]!.mul(beta2).add(u.square().mul(1 - beta2));
        next[`m/${name}`] = m;
        next[`v/${name}`] = v;
        return m.mul(correct1).div(sqrt(v).mul(correct2).add(eps));
      });
      return { updates: directions, state: next };
    },
  };
}

/** Multiplies by the learning rate of the moment. */
export const scaleByLearningRate = (rate: Schedule | number): Transform =>
  stateless((updates, { hyper }) => {
    const lr = hyper('lr', typeof rate === 'number' ? () => rate : rate);
    return mapTree(updates, (u) => u.mul(lr));
  });

/** A transform for each group of parameters: the first pattern that matches decides. A name without group is an error. */
export function perGroup(groups: Record<string, Transform>): Transform {
  const list = Object.entries(groups).map(([pattern, transform]) => ({
    matches: compilePattern(pattern),
    transform,
  }));
  const partition = <T>(tree: Record<string, T>): Record<string, T>[] => {
    const parts: Record<string, T>[] = list.map(() => ({}));
    for (const [name, value] of Object.entries(tree)) {
      const i = list.findIndex(({ matches }) => matches(name) !== undefined);
      if (i < 0) throw new Error(`Parameter "${name}" is in no group (${Object.keys(groups).join(', ')})`);
      parts[i]![name] = value;
    }
    return parts;
  };
  return {
    init: (params) =>
      Object.assign(
        {},
        ...partition(params).map((part, i) =>
          Object.fromEntries(
            Object.entries(list[i]!.transform.init(part)).map(([key, s]) => [`g${i}.${key}`, s]),
          ),
        ),
      ),
    update(updates, state, context) {
      const next = { updates: {} as Tree, state: {} as Tree };
      partition(updates).forEach((part, i) => {
        if (Object.keys(part).length === 0) return;
        const prefix = `g${i}.`;
        const result = list[i]!.transform.update(part, below(state, prefix), context);
        Object.assign(next.updates, result.updates);
        for (const [key, value] of Object.entries(result.state)) next.state[prefix + key] = value;
      });
      return next;
    },
  };
}

export interface SgdOptions {
  lr: Schedule | number;
  momentum?: number;
  dampening?: number;
  nesterov?: boolean;
  weightDecay?: number;
  decayMask?: Mask;
}
/** torch.optim.SGD. */
export function sgd(options: SgdOptions): Transform {
  const { lr, weightDecay = 0, decayMask } = options;
  return chain(
    ...(weightDecay ? [addDecayedWeights(weightDecay, decayMask)] : []),
    ...(options.momentum ? [momentum(options.momentum, options)] : []),
    scaleByLearningRate(lr),
  );
}

/** torch.optim.Adam; its weight decay is L2 regularisation of the gradient. */
export function adam(
  options: AdamOptions & { lr: Schedule | number; weightDecay?: number; decayMask?: Mask },
): Transform {
  const { lr, weightDecay = 0, decayMask } = options;
  return chain(
    ...(weightDecay ? [addDecayedWeights(weightDecay, decayMask)] : []),
    scaleByAdam(options),
    scaleByLearningRate(lr),
  );
}

/** torch.optim.AdamW (Loshchilov & Hutter 2019): decay apart from the adaptive step. */
export function adamw(
  options: AdamOptions & { lr: Schedule | number; weightDecay?: number; decayMask?: Mask },
): Transform {
  const { lr, weightDecay = 0.01, decayMask } = options;
  return chain(scaleByAdam(options), addDecayedWeights(weightDecay, decayMask), scaleByLearningRate(lr));
}
