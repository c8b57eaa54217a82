import { z } from 'zod';
import { constant } from '../../graph/index.ts';
import { deepText, deepVision, textTower, visionTower } from '../../models/clip/index.ts';
import { type Initializer, normalInit, type Scope } from '../../nn/index.ts';
import { leadingWords } from '../vlm/context.ts';
import { definePromptMethod, trainingOptions } from '../vlm/prompt-tuning.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import { templateFeatures } from '../vlm/prompts.ts';

const depth = (tower: string) =>
  z
    .int()
    .min(0)
    .default(12)
    .describe(
      `first layers of the ${tower} tower that get soft tokens of their own (all where it has fewer); 0: none`,
    );
const options = z.strictObject({
  textLength: z.int().positive().default(2).describe('soft tokens a layer of the text tower'),
  textDepth: depth('text'),
  visionLength: z.int().positive().default(2).describe('soft tokens a layer of the vision tower'),
  visionDepth: depth('vision'),
  contextInit: z
    .string()
    .default('a photo of a')
    .describe(
      'words before the class name, the first of which the soft tokens replace; "": soft tokens alone',
    ),
  ...trainingOptions({ epochs: 5, batch: 4, learningRate: 0.0035, paper: '5' }),
});
export type IvlpOptions = Pick<
  z.output<typeof options>,
  'textLength' | 'textDepth' | 'visionLength' | 'visionDepth' | 'contextInit'
>;

/** Free soft tokens [m, width] for each of the first layers of a tower: `TOWER.LAYER`. */
export const layerTokens = (
  s: Scope,
  tower: string,
  [layers, m, width]: readonly [number, number, number],
  first: Initializer = normalInit(0.02),
) =>
  Array.from({ length: layers }, (_, l) =>
    s.at(tower).param(`${l}`, [m, width], l ? normalInit(0.02) : first),
  );

/** Deep prompts in both towers, or in one alone. */
export const ivlpPrompting = (o: IvlpOptions): PromptMethod => ({
  async prompts({ model, classes, template }) {
    const { config } = model;
    const { text, vision } = config;
    const { layout, init } = leadingWords(model, classes, {
      contextLength: o.textLength,
      contextInit: o.contextInit,
    });
    const textShape = [Math.min(o.textDepth, text.layers), o.textLength, text.width] as const;
    const visionShape = [Math.min(o.visionDepth, vision.layers), o.visionLength, vision.width] as const;
    const hand = o.textDepth === 0 && constant(await templateFeatures(model, classes, [template]));
    return {
      text(s) {
        if (hand) return hand;
        const prompted = deepText(s, layerTokens(s, 'text', textShape, init), layout.slots);
        return textTower(prompted, constant(layout.ids), config).features;
      },
      ...(o.visionDepth > 0 && {
        image: (s: Scope, pixels) =>
          visionTower(deepVision(s, layerTokens(s, 'vision', visionShape)), pixels, config).features,
      }),
    };
  },
});

/** Deep prompts of both towers that know nothing of each other; with one depth 0, VPT-deep or deep language prompts. */
export const ivlp = definePromptMethod({
  name: 'ivlp',
  summary:
    'soft tokens in many layers of both towers, or of one (independent vision-language prompting, VPT-deep)',
  paper: 'Khattak et al., CVPR 2023, arXiv 2210.03117; Jia et al., ECCV 2022, arXiv 2203.12119',
  options,
  prompting: ivlpPrompting,
});
