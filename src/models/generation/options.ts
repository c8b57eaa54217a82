import { z } from 'zod';

/** How tokens are chosen; names and meanings are those of `transformers`' GenerationConfig. */
export const generationOptions = z.object({
  maxNewTokens: z.int().min(1).default(64).describe('most tokens that are written'),
  minNewTokens: z.int().min(0).default(0).describe('tokens before which no text may end'),
  sample: z.boolean().default(false).describe('draw tokens instead of taking the likeliest'),
  temperature: z.number().positive().default(1).describe('what scores are divided by (sampling)'),
  topK: z.int().min(0).default(0).describe('draw among so many likeliest tokens; 0: among all (sampling)'),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .describe('draw among the fewest tokens of this probability (sampling)'),
  beams: z.int().min(1).default(1).describe('sequences that beam search follows; 1: greedy'),
  lengthPenalty: z
    .number()
    .default(1)
    .describe('power of the length that scores are divided by (beam search)'),
  earlyStopping: z
    .enum(['false', 'true', 'never'])
    .default('false')
    .describe(
      'stop when no beam is likely to improve, as soon as all have ended, or when none can (beam search)',
    ),
  repetitionPenalty: z
    .number()
    .positive()
    .default(1)
    .describe('above 1, tokens that occurred get less likely'),
  noRepeatNgramSize: z
    .int()
    .min(0)
    .default(0)
    .describe('tokens in a row that may occur only once; 0: no limit'),
  seed: z.int().default(0).describe('seed of sampling'),
});
export type GenerationOptions = z.output<typeof generationOptions>;

/** Checked options with their defaults; a wrong one is an error that names it. */
export function parseGenerationOptions(given: z.input<typeof generationOptions>): GenerationOptions {
  const parsed = generationOptions.strict().safeParse(given);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`generation: ${issue!.path.join('.')}${issue!.path.length ? ': ' : ''}${issue!.message}`);
  }
  const o = parsed.data;
  if (o.sample && o.beams > 1) throw new Error('generation: sample and beams exclude each other');
  if (o.minNewTokens > o.maxNewTokens) {
    throw new Error(`generation: minNewTokens ${o.minNewTokens} is more than maxNewTokens ${o.maxNewTokens}`);
  }
  return o;
}
