import { add, less, maximum, minimum, mul, type Shape, sqrt, type Tensor, where } from '../graph/index.ts';
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

export const mapTree = <T, U>(tree: Record<string, T>, f: (value: T, name: string) => U): Record<string, U> =>
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

/**
 * A transform that treats each parameter alone. `slots` gives the shapes of its state; `prepare` reads the scalars of
 * the moment once and returns the rule: from an update, the state and the parameter to the next update and state.
 */
export const perParameter = <Slot extends string>(
  slots: (shape: Shape) => Record<Slot, Shape>,
  prepare: (
    context: UpdateContext,
  ) => (
    update: Tensor,
    state: Record<Slot, Tensor>,
    param: Tensor,
    name: string,
  ) => [Tensor, Record<Slot, Tensor>],
): Transform => ({
  init: (params) =>
    Object.fromEntries(
      Object.entries(params).flatMap(([name, shape]) =>
        Object.entries<Shape>(slots(shape)).map(([slot, s]) => [`${slot}/${name}`, s]),
      ),
    ),
  update(updates, state, context) {
    const rule = prepare(context);
    const next: Tree = {};
    const result = mapTree(updates, (u, name) => {
      const own = mapTree(slots(u.shape), (_, slot) => state[`${slot}/${name}`]!);
      const [update, kept] = rule(u, own as Record<Slot, Tensor>, context.params[name]!, name);
      for (const [slot, t] of Object.entries<Tensor>(kept)) next[`${slot}/${name}`] = t;
      return update;
    });
    return { updates: result, state: next };
  },
});

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
export function selects(mask: Mask | undefined): (name: string) => boolean {
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

/** Climbs instead of descending (`maximize` of torch.optim): goes first. */
export const ascend = (): Transform => mapUpdates((u) => u.neg());

/**
 * Takes a step of `inner` every `every` steps, with the mean of the gradients since; in between nothing moves.
 * Schedules and bias corrections of `inner` count its own steps.
 */
export const accumulate = (every: number, inner: Transform): Transform => ({
  init: (params) => ({
    ...prefixed('sum/', params),
    ...prefixed('inner/', inner.init(params)),
  }),
  update(updates, state, context) {
    const due = less(
      0,
      context.hyper('accumulate', ({ step }) => ((step + 1) % every === 0 ? 1 : 0)),
    );
    const sums = mapTree(updates, (u, name) => add(state[`sum/${name}`]!, mul(u, 1 / every)));
    const before = below(state, 'inner/');
    const result = inner.update(sums, before, {
      ...context,
      hyper: (name, value) =>
        context.hyper(name, (t) =>
          value({
            ...t,
            step: Math.floor(t.step / every),
            totalSteps: Math.floor(t.totalSteps / every),
            stepsPerEpoch: t.stepsPerEpoch / every,
          }),
        ),
    });
    return {
      updates: mapTree(result.updates, (u) => where(due, u, 0)),
      state: {
        ...prefixed(
          'sum/',
          mapTree(sums, (t) => where(due, 0, t)),
        ),
        ...prefixed(
          'inner/',
          mapTree(result.state, (t, key) => where(due, t, before[key]!)),
        ),
      },
    };
  },
});

/**
 * Keeps an exponential moving average of the parameters in its state, `ema/NAME`, which starts as the first of them
 * (torch.optim.swa_utils.get_ema_multi_avg_fn). It sees the parameters after the step, so it goes last.
 */
export const averageParameters = (decay = 0.999): Transform =>
  perParameter(
    (shape) => ({ ema: shape }),
    ({ hyper }) => {
      const kept = hyper('ema', ({ step }) => (step === 0 ? 0 : decay));
      return (u, { ema }, param) => {
        const now = param.sub(u);
        return [u, { ema: now.add(ema.sub(now).mul(kept)) }];
      };
    },
  );

const prefixed = <T>(prefix: string, tree: Record<string, T>): Record<string, T> =>
  Object.fromEntries(Object.entries(tree).map(([key, value]) => [prefix + key, value]));
