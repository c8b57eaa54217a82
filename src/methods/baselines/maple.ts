import { z } from 'zod';
import { constant, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { deepText, deepVision, textTower, visionTower } from '../../models/clip/index.ts';
import { type Initializer, linear, type Scope } from '../../nn/index.ts';
import { leadingWords } from '../vlm/context.ts';
import { definePromptMethod, trainingOptions } from '../vlm/prompt-tuning.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import { layerTokens } from './ivlp.ts';

export const mapleOptions = {
  contextLength: z.int().positive().default(2).describe('soft tokens a layer (m)'),
  depth: z
    .int()
    .positive()
    .default(9)
    .describe('first layers that get soft tokens of their own (J), all where a tower has fewer'),
  contextInit: z
    .string()
    .default('a photo of a')
    .describe(
      'words before the class name, the first of which the soft tokens replace; "": soft tokens alone',
    ),
};
const options = z.strictObject({
  ...mapleOptions,
  ...trainingOptions({ epochs: 5, batch: 4, learningRate: 0.0035, paper: '5' }),
});
export type MapleOptions = Pick<z.output<typeof options>, keyof typeof mapleOptions>;

/** P_l [m, text width], and P_l W_l + b_l [m, vision width] for the same layers l < J. */
export function mapleTokens(
  s: Scope,
  { config }: ClipModel,
  o: MapleOptions,
  init?: Initializer,
): { text: Tensor[]; vision: Tensor[] } {
  const layers = Math.min(o.depth, config.text.layers, config.vision.layers);
  const text = layerTokens(s, 'text', [layers, o.contextLength, config.text.width], init);
  const coupling = s.trained().at('coupling');
  return { text, vision: text.map((p, l) => linear(coupling.at(l), p, config.vision.width)) };
}

export const maplePrompting = (o: MapleOptions): PromptMethod => ({
  async prompts({ model, classes }) {
    const { layout, init } = leadingWords(model, classes, o);
    return {
      text(s) {
        const prompted = deepText(s, mapleTokens(s, model, o, init).text, layout.slots);
        return textTower(prompted, constant(layout.ids), model.config).features;
      },
      image: (s, pixels) =>
        visionTower(deepVision(s, mapleTokens(s, model, o, init).vision), pixels, model.config).features,
    };
  },
});

/** Khattak et al. 2023: deep prompts in the text tower, from which those of the vision tower are linear maps. */
export const maple = definePromptMethod({
  name: 'maple',
  summary: 'soft tokens in many layers of both towers, coupled by linear maps (multi-modal prompt learning)',
  paper: 'Khattak et al., CVPR 2023, arXiv 2210.03117',
  options,
  prompting: maplePrompting,
});
