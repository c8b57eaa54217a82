import { z } from 'zod';
import { defineLanguageMethod } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';

/** All weights are trained. */
export const fullFineTuning = defineLanguageMethod({
  name: 'full-fine-tuning',
  summary: 'trains every weight of the model: what the cheap methods are compared with',
  paper: 'Devlin et al., NAACL 2019, arXiv 1810.04805',
  options: z.strictObject({ ...tuningOptions({ rate: 1e-4 }) }),
  inject: () => ({ intercept: { weight: { '**': (_w, { train }) => train() } } }),
});
