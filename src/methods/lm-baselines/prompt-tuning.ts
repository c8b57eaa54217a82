import { z } from 'zod';
import { defineLanguageMethod } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import { plainPrompt, promptInit, promptOptions, promptRate, promptRateReason } from '../lm/prompts.ts';
import { sourceInit } from '../lm/source-prompt.ts';

/** X = [P; E] with P [n, width] before the text's embeddings E; with a source prompt to begin from it is SPoT. */
export const promptTuning = defineLanguageMethod({
  name: 'prompt-tuning',
  summary: 'trains soft tokens before the text; from another task’s prompt it is SPoT',
  paper: 'Lester et al., EMNLP 2021, arXiv 2104.08691; SPoT: Vu et al., ACL 2022, arXiv 2110.07904',
  options: z.strictObject({
    ...promptOptions({ length: 20 }),
    source: z
      .string()
      .default('')
      .describe('run folder of another task, whose trained prompt this one begins as (SPoT)'),
    readAt: z
      .enum(['prompt', 'text'])
      .default('prompt')
      .describe('what an encoder’s head reads: the first soft token, as in peft, or the first of the text'),
    ...tuningOptions({ rate: 0, why: promptRateReason }),
  }),
  inject(subject, o) {
    const init = o.source ? sourceInit(o.source) : promptInit(subject, o);
    return { soft: { ...plainPrompt(subject, o.length, init), readAt: o.readAt } };
  },
  rate: promptRate,
});
