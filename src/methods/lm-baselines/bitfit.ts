import { z } from 'zod';
import { type Intercept, zerosInit } from '../../nn/index.ts';
import { modulesOf, readWhole } from '../lm/families.ts';
import { defineLanguageMethod } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';

/** Biases alone are trained; a model that has none (T5, LLaMA) gets one of zeros behind each matrix and normalisation. */
export const bitfit = defineLanguageMethod({
  name: 'bitfit',
  summary: 'trains the biases alone; models without biases get new ones of zeros',
  paper: 'Ben Zaken et al., ACL 2022, arXiv 2106.10199',
  options: z.strictObject({ ...tuningOptions({ rate: 1e-3 }) }),
  inject({ model }) {
    const { weights, sites } = readWhole(model);
    if ([...weights].some((name) => name.endsWith('.bias'))) {
      return { intercept: { weight: { '**.bias': (_w, { train }) => train() } } };
    }
    const added: Intercept = (x, { name, param }) =>
      x.add(param(name.replace(/:out$/, '.bias'), [x.dim(-1)], zerosInit));
    const norms = [...sites].filter((site) => site.endsWith('norm:out'));
    const matrices = [...modulesOf(model).keys()].map((path) => `${path}:out`);
    return {
      intercept: { tap: Object.fromEntries([...norms, ...matrices].map((site) => [site, added])) },
    };
  },
});
