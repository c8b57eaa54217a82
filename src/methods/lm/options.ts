import { z } from 'zod';

/** How any method on a language model is trained: `fitLanguage`. */
export interface TuningOptions {
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly maxLength: number;
  readonly evaluations: number;
}

/** Which matrices a method changes, for its schema; `standard` says which where none is named. */
export const targetsOption = (what: string, standard: string) =>
  z
    .array(z.string())
    .default([])
    .describe(
      `${what}: suffixes of their paths, or re: and a regular expression of whole paths; none given: ${standard}`,
    );

/** The options of `fitLanguage`, for a method's schema. `rate`: the learning rate, 0 where it depends on the model; `why`: what decides it then. */
export const tuningOptions = (d: { rate: number; why?: string; steps?: number }) => ({
  steps: z
    .int()
    .positive()
    .default(d.steps ?? 500)
    .describe('training steps'),
  batch: z.int().positive().default(32).describe('texts a step'),
  learningRate: z
    .number()
    .nonnegative()
    .default(d.rate)
    .describe(`peak, reached after the warm-up; it falls linearly to 0${d.why ? `. 0: ${d.why}` : ''}`),
  warmup: z.number().min(0).max(1).default(0.06).describe('share of the steps in which the rate rises'),
  weightDecay: z.number().nonnegative().default(0).describe('of AdamW'),
  maxLength: z.int().positive().default(128).describe('tokens of a text, the rest is cut'),
  evaluations: z
    .int()
    .positive()
    .default(10)
    .describe('times that validation texts are looked at; the best parameters are kept'),
});
