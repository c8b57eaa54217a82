import { z } from 'zod';
import { tanh } from '../../graph/index.ts';
import { type Initializer, linear, normalInit, type Scope } from '../../nn/index.ts';
import { prefixWidth } from '../lm/injection.ts';
import { defineLanguageMethod, type Subject } from '../lm/method.ts';
import { tuningOptions } from '../lm/options.ts';
import { promptName } from '../lm/prompts.ts';
import { sourceInit } from '../lm/source-prompt.ts';

const options = z.strictObject({
  length: z.int().positive().default(20).describe('positions of the prefix'),
  projection: z
    .boolean()
    .default(false)
    .describe(
      'make the prefix by a small network while training (prefix tuning); without it, train it directly (P-tuning v2)',
    ),
  projectionWidth: z
    .int()
    .nonnegative()
    .default(0)
    .describe('units of that network; 0: the width of the keys'),
  source: z
    .string()
    .default('')
    .describe('run folder of another task, whose trained prefix this one begins as (prompt transfer, PoT)'),
  ...tuningOptions({ rate: 1e-2 }),
});

/** The table [length, 2 · layers · keys' width] as it is trained, or what is left of it: `Injection.prefix`. */
export function plainPrefix({ model }: Subject, length: number, init: Initializer = normalInit(0.02)) {
  const shape = [length, prefixWidth(model)];
  return { length, table: (s: Scope) => s.param(promptName, shape, init) };
}

/** Trained keys and values before those of the text in every layer (P-tuning v2); with `projection` they come from an MLP in training. */
export const prefixTuning = defineLanguageMethod({
  name: 'prefix-tuning',
  summary: 'trains keys and values before the text’s in every layer (prefix tuning, P-tuning v2)',
  paper: 'Li & Liang, ACL 2021, arXiv 2101.00190; P-tuning v2: Liu et al., ACL 2022, arXiv 2110.07602',
  options,
  inject(subject, o) {
    if (o.projection && o.source) {
      throw new Error('prefix-tuning: a source replaces the trained prefix itself: leave out projection');
    }
    if (o.projection) return { prefix: { length: o.length, table: (s) => projected(s, subject, o) } };
    return { prefix: plainPrefix(subject, o.length, o.source ? sourceInit(o.source) : undefined) };
  },
  folded: (subject, o) =>
    o.projection
      ? {
          injection: { prefix: plainPrefix(subject, o.length) },
          tensors: (s) => ({ [promptName]: projected(s, subject, o) }),
        }
      : undefined,
});

/** MLP(P'): width → middle, tanh, middle → 2 · layers · width (Li & Liang, section 4.3; sizes as in `peft`). */
function projected(
  s: Scope,
  { model }: Subject,
  { length, projectionWidth }: { length: number; projectionWidth: number },
) {
  const { keyHeads, headWidth } = model.model;
  const width = keyHeads * headWidth;
  const at = s.at('prompt_encoder').trained();
  const x = at.param('embedding.weight', [length, width], normalInit(1));
  const inner = tanh(linear(at.at('transform.0'), x, projectionWidth || width));
  return linear(at.at('transform.2'), inner, prefixWidth(model));
}
