import { z } from 'zod';
import { type ContextOptions, contextOf } from '../vlm/context.ts';
import { definePromptMethod, trainingOptions } from '../vlm/prompt-tuning.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import { type ClassPosition, classPositions, layoutPrompts, promptFeatures } from '../vlm/prompts.ts';

const options = z.strictObject({
  contextLength: z
    .int()
    .min(1)
    .max(64)
    .default(4)
    .describe('soft tokens; the paper: 16 few-shot, 4 for new classes'),
  contextInit: z
    .string()
    .default('')
    .describe('words whose embeddings the soft tokens start from, e.g. "a photo of a"'),
  classPosition: z.enum(classPositions).default('end').describe('where the class name stands'),
  unified: z
    .boolean()
    .default(false)
    .describe("one context for all classes, the paper's default; else each class learns its own (CSC)"),
  ...trainingOptions({ epochs: 50, batch: 32, learningRate: 0.002, paper: '50 to 200 by shots' }),
});

/** Context vectors before, around or behind the class name: [M, width], or [C, M, width] class-specific (the paper's V). */
export const coopPrompting = (
  o: ContextOptions & { classPosition?: ClassPosition; unified?: boolean },
): PromptMethod => ({
  fixedClasses: o.unified === false,
  async prompts({ model, classes }) {
    const { length, init } = contextOf(model, o);
    const layout = layoutPrompts(model, classes, length, o.classPosition);
    const own = o.unified === false ? [classes.length] : [];
    const shape = [...own, length, model.config.text.width];
    return { text: (s) => promptFeatures(s, s.param('context', shape, init), model, layout) };
  },
});

/** Zhou et al. 2022: learns the words around the class name as vectors; CLIP stays frozen. */
export const coop = definePromptMethod({
  name: 'coop',
  summary: "learns a few soft tokens in place of the prompt's words (context optimization)",
  paper: 'Zhou et al., IJCV 2022, arXiv 2109.01134',
  options,
  acrossClasses: { unified: true },
  prompting: coopPrompting,
});
