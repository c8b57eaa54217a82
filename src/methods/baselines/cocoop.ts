import { z } from 'zod';
import { l2Normalize, relu } from '../../graph/index.ts';
import { linear } from '../../nn/index.ts';
import { contextOf, contextOptions } from '../vlm/context.ts';
import { definePromptMethod, trainingOptions } from '../vlm/prompt-tuning.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import { layoutPrompts, promptFeaturesPerImage } from '../vlm/prompts.ts';

const options = z.strictObject({
  ...contextOptions,
  reduction: z
    .int()
    .positive()
    .default(16)
    .describe('the meta-net is that many times narrower than the image features'),
  ...trainingOptions({ epochs: 10, batch: 1, learningRate: 0.002, paper: '10' }),
});
type Options = Pick<z.output<typeof options>, keyof typeof contextOptions | 'reduction'>;

/** V_j(x) = V_j + π, where π = Linear(ReLU(Linear(f̂(x)))) is the same for every j. */
export const cocoopPrompting = (o: Options): PromptMethod => ({
  async prompts({ model, classes }) {
    const { length, init } = contextOf(model, o);
    const layout = layoutPrompts(model, classes, length);
    const { config } = model;
    const { width } = config.text;
    const hidden = Math.max(1, Math.floor(config.projection / o.reduction));
    return {
      perImage: true,
      text(s, image) {
        const net = s.trained().at('meta_net');
        const shift = linear(
          net.at('linear2'),
          relu(linear(net.at('linear1'), l2Normalize(image), hidden)),
          width,
        );
        const context = s.param('context', [length, width], init);
        return promptFeaturesPerImage(s, context.add(shift.reshape([-1, 1, width])), model, layout);
      },
    };
  },
});

/** Zhou et al. 2022: the context of CoOp, moved for each image by a small network. */
export const cocoop = definePromptMethod({
  name: 'cocoop',
  summary: 'soft tokens that a small network moves for each image (conditional context optimization)',
  paper: 'Zhou et al., CVPR 2022, arXiv 2203.05557',
  options,
  prompting: cocoopPrompting,
});
