import { z } from 'zod';
import { onesInit, type Scope } from '../../nn/index.ts';
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
    const u = s.param('factors.u', [o.length, 1], onesInit);
    const v = s.param('factors.v', [1, width], onesInit);
    return s.param(promptName, [o.length, width], init).mul(u.mul(v));
  },
});
