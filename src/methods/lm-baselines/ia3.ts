import { z } from 'zod';
import type { LanguageWeights } from '../../hub/index.ts';
import { type Intercept, onesInit } from '../../nn/index.ts';
import { familyOf, type Module, modulesOf, targeted } from '../lm/families.ts';
import { defineLanguageMethod } from '../lm/method.ts';
import { targetsOption, tuningOptions } from '../lm/options.ts';

/** Scales keys and values, and what the last matrix of the feed-forward part reads, by vectors `PATH.ia3_l`, as in `peft`. */
export const ia3 = defineLanguageMethod({
  name: 'ia3',
  summary: 'scales keys, values and the inner activations of the feed-forward part by trained vectors',
  paper: 'Liu et al., NeurIPS 2022, arXiv 2205.05638',
  options: z.strictObject({
    targets: targetsOption('the matrices', 'keys, values and the last of the feed-forward part, as in peft'),
    feedForward: targetsOption(
      'those of them whose input is scaled, not their output',
      'the last of the feed-forward part; `none` means none',
    ),
    ...tuningOptions({ rate: 3e-3 }),
  }),
  inject({ model }, o) {
    const { inner, outer } = scaledModules(model, o);
    const scaled =
      (path: string): Intercept =>
      (x, { param }) =>
        x.mul(param(`${path}.ia3_l`, [x.dim(-1)], onesInit));
    return {
      intercept: {
        tap: Object.fromEntries([
          ...outer.map(({ path }) => [`${path}:out`, scaled(path)] as const),
          ...inner.map(({ path }) => [`${path}:in`, scaled(path)] as const),
        ]),
      },
    };
  },
  merged({ model }, o) {
    const { inner, outer } = scaledModules(model, o);
    const across = familyOf(model).transposed ?? false;
    /** Scales a matrix by its outputs or inputs. */
    const scaled =
      ({ path, inputs, outputs }: Module, byInput: boolean): Intercept =>
      (w, { param }) => {
        const length = byInput ? inputs : outputs;
        const l = param(`${path}.ia3_l`, [length], onesInit);
        return w.mul(byInput === across ? l.reshape([length, 1]) : l);
      };
    const bias =
      ({ path, outputs }: Module): Intercept =>
      (b, { param }) =>
        b.mul(param(`${path}.ia3_l`, [outputs], onesInit));
    return {
      weight: Object.fromEntries([
        ...inner.map((m) => [`${m.path}.weight`, scaled(m, true)] as const),
        ...outer.map((m) => [`${m.path}.weight`, scaled(m, false)] as const),
        ...outer.flatMap((m) => (m.biased ? [[`${m.path}.bias`, bias(m)] as const] : [])),
      ]),
    };
  },
});

/** The matrices whose inputs are scaled, and those whose outputs are. */
export function scaledModules(
  model: LanguageWeights,
  o: { readonly targets: readonly string[]; readonly feedForward: readonly string[] },
) {
  const [family, modules] = [familyOf(model), modulesOf(model)];
  const all = targeted(modules, o.targets.length ? o.targets : [...family.ia3, ...family.ia3FeedForward]);
  const byInput = targeted(modules, o.feedForward.length ? o.feedForward : family.ia3FeedForward);
  return { inner: all.filter((m) => byInput.includes(m)), outer: all.filter((m) => !byInput.includes(m)) };
}
