import { z } from 'zod';
import type { LanguageModel } from '../../hub/index.ts';
import { type Intercept, onesInit } from '../../nn/index.ts';
import { familyOf, type Module, modulesOf, targeted } from '../lm/families.ts';
import { defineLanguageMethod } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';

const targets = z.union([z.array(z.string()), z.string()]).default([]);

/** Scales keys and values, and what the last matrix of the feed-forward part reads, by vectors `PATH.ia3_l`, as in `peft`. */
export const ia3 = defineLanguageMethod({
  name: 'ia3',
  summary: 'scales keys, values and the inner activations of the feed-forward part by trained vectors',
  paper: 'Liu et al., NeurIPS 2022, arXiv 2205.05638',
  options: z.strictObject({
    targets: targets.describe(
      'suffixes of the paths of matrices whose output is scaled, or a regular expression; none: keys and values',
    ),
    feedForward: targets.describe(
      'likewise those whose input is scaled; none: the last one of the feed-forward part',
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
function scaledModules(
  model: LanguageModel,
  o: { targets: string[] | string; feedForward: string[] | string },
) {
  const [family, modules] = [familyOf(model), modulesOf(model)];
  const inner = targeted(modules, o.feedForward.length ? o.feedForward : family.ia3FeedForward);
  const outer = targeted(modules, o.targets.length ? o.targets : family.ia3).filter(
    (m) => !inner.includes(m),
  );
  return { inner, outer };
}
