import { z } from 'zod';
import { constant, cosineSimilarity, sub } from '../../graph/index.ts';
import { contextOptions } from '../vlm/context.ts';
import { definePromptMethod, trainingOptions } from '../vlm/prompt-tuning.ts';
import { meanCrossEntropy, type PromptMethod } from '../vlm/prompting.ts';
import { templateFeatures } from '../vlm/prompts.ts';
import { coopPrompting } from './coop.ts';

const options = z.strictObject({
  ...contextOptions,
  guidance: z
    .number()
    .nonnegative()
    .default(8)
    .describe('weight of the distance to the hand-written prompt (λ)'),
  ...trainingOptions({ epochs: 100, batch: 128, learningRate: 0.002, paper: '100' }),
});
type Options = Pick<z.output<typeof options>, keyof typeof contextOptions | 'guidance'>;

/** Adds λ · (1 − mean_c cos(t_c, t_c of the template)) to the cross-entropy of a prompt method with static text features. */
export const guided = (method: PromptMethod, guidance: number): PromptMethod => ({
  ...method,
  async training(task) {
    const base = await method.training?.(task);
    const objective = base?.objective ?? meanCrossEntropy;
    const hand = constant(await templateFeatures(task.model, task.train.classes, [task.template]));
    return {
      ...base,
      objective(s, outputs) {
        const metrics = objective(s, outputs);
        const distance = sub(1, cosineSimilarity(outputs.text, hand).mean());
        return { ...metrics, loss: metrics.loss.add(distance.mul(guidance)), distance };
      },
    };
  },
});

/** Yao et al. 2023: CoOp whose text features are pulled towards those of the hand-written prompt. */
export const kgcoop = definePromptMethod({
  name: 'kgcoop',
  summary: "CoOp, pulled towards the hand-written prompt's text features (knowledge-guided)",
  paper: 'Yao et al., CVPR 2023, arXiv 2303.13283',
  options,
  prompting: (o: Options) => guided(coopPrompting(o), o.guidance),
});
