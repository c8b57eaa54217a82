import { z } from 'zod';
import { toFloat32 } from '../../graph/index.ts';
import { loadAdapter } from '../../hub/index.ts';
import { type Initializer, onesInit, type Scope } from '../../nn/index.ts';
import { defineLanguageMethod, type Subject } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import {
  foldedPrompt,
  promptInit,
  promptName,
  promptOptions,
  promptRate,
  promptRateReason,
} from '../lm/prompts.ts';
import { sourceInit } from '../lm/source-prompt.ts';

export const factorNames = { u: 'factors.u', v: 'factors.v' } as const;

const options = z.strictObject({
  ...promptOptions({ length: 20 }),
  source: z
    .string()
    .default('')
    .describe(
      'folder of `attune multitask`, whose prompt the shared one begins as, and u and v as the means of its tasks’; or of a run with a prompt',
    ),
  factorRate: z.number().nonnegative().default(1e-2).describe('peak learning rate of u and v'),
  ...tuningOptions({ rate: 0, why: promptRateReason }),
});
type Options = z.output<typeof options>;

/** P = P* ⊙ (u vᵀ): a prompt that tasks share, and what one task makes of it; folds to a plain prompt. */
export const mpt = defineLanguageMethod({
  name: 'mpt',
  summary: 'a shared soft prompt times a task’s matrix of rank one (multitask prompt tuning)',
  paper: 'Wang et al., ICLR 2023, arXiv 2303.02861',
  options,
  inject: (subject, o) => ({ soft: soft(subject, o) }),
  folded: (subject, o) => foldedPrompt(subject, soft(subject, o)),
  rate: promptRate,
  rates: ({ factorRate }) => ({ 'factors.**': factorRate }),
});

const soft = (subject: Subject, o: Options) => ({
  length: o.length,
  tokens(s: Scope) {
    const { width } = subject.model.model;
    const init = o.source ? sourceInit(o.source) : promptInit(subject, o);
    const factor = (name: string) => (o.source ? meanInit(o.source, name) : onesInit);
    const u = s.param(factorNames.u, [o.length, 1], factor(factorNames.u));
    const v = s.param(factorNames.v, [1, width], factor(factorNames.v));
    return s.param(promptName, [o.length, width], init).mul(u.mul(v));
  },
});

/** Begins as the mean over source tasks of that tensor [tasks, …]; as ones where the folder has none. */
const meanInit =
  (folder: string, name: string): Initializer =>
  async (shape, random) => {
    const all = (await loadAdapter(folder)).tensors[name];
    if (!all) return onesInit(shape, random);
    const { data } = toFloat32(all);
    const tasks = all.shape[0]!;
    return Float32Array.from({ length: data.length / tasks }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < tasks; k++) sum += data[(k * data.length) / tasks + i]!;
      return sum / tasks;
    });
  };
