import { z } from 'zod';
import { onesInit, type Scope, valueInit } from '../../nn/index.ts';
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
import { sourcePrompt } from '../lm/source-prompt.ts';

const options = z.strictObject({
  ...promptOptions({ length: 20 }),
  source: z.string().default('').describe('run folder whose prompt the shared one begins as'),
  factorRate: z.number().nonnegative().default(1e-2).describe('peak learning rate of u and v'),
  ...tuningOptions({ rate: 0, why: promptRateReason }),
});
type Options = z.output<typeof options>;

/** P = P* ⊙ (u vᵀ): a prompt that tasks share, and what one task makes of it; folds to a plain prompt. */
export const mpt = defineLanguageMethod({
  name: 'mpt',
  summary: 'a shared soft prompt times a task’s matrix of rank one (target stage of multitask prompt tuning)',
  paper: 'Wang et al., ICLR 2023, arXiv 2303.02861',
  options,
  inject: async (subject, o) => ({ soft: soft(subject, o, await startOf(subject, o)) }),
  folded: async (subject, o) => foldedPrompt(subject, soft(subject, o, await startOf(subject, o))),
  rate: promptRate,
  rates: ({ factorRate }) => ({ 'factors.**': factorRate }),
});

async function startOf(subject: Subject, o: Options) {
  if (!o.source) return promptInit(subject, o);
  return valueInit(await sourcePrompt(o.source, [o.length, subject.model.model.width]));
}

const soft = ({ model }: Subject, o: Options, init: Awaited<ReturnType<typeof startOf>>) => ({
  length: o.length,
  tokens(s: Scope) {
    const { width } = model.model;
    const u = s.param('factors.u', [o.length, 1], onesInit);
    const v = s.param('factors.v', [1, width], onesInit);
    return s.param(promptName, [o.length, width], init).mul(u.mul(v));
  },
});
