import { z } from 'zod';
import { constant, logSoftmax, maximum, minimum, softmax, type Tensor } from '../../graph/index.ts';
import { cosineLogits, logitScale } from '../../models/clip/index.ts';
import { gradTree } from '../../train/index.ts';
import { contextOptions } from '../vlm/context.ts';
import { definePromptMethod, trainingOptions } from '../vlm/prompt-tuning.ts';
import { meanCrossEntropy, type PromptMethod } from '../vlm/prompting.ts';
import { templateFeatures } from '../vlm/prompts.ts';
import { coopPrompting } from './coop.ts';

const options = z.strictObject({
  ...contextOptions,
  projection: z
    .number()
    .nonnegative()
    .default(1)
    .describe('share of the conflicting part that is taken away (λ)'),
  temperature: z.number().positive().default(1).describe('T of the distillation loss'),
  ...trainingOptions({ epochs: 50, batch: 32, learningRate: 0.002, paper: '50 to 200 by shots' }),
});
type Options = Pick<z.output<typeof options>, keyof typeof contextOptions | 'projection' | 'temperature'>;

/** −T² · mean_i Σ_c softmax(teacher/T) log softmax(student/T): what distils logits [B, C]. */
export const distillation = (student: Tensor, teacher: Tensor, t: number): Tensor =>
  softmax(teacher.div(t))
    .mul(logSoftmax(student.div(t)))
    .sum(-1)
    .mean()
    .mul(-(t ** 2));

/** a without λ times its part along b, where the two point apart (a · b < 0); else a. */
export function projected(a: Tensor, b: Tensor, lambda: number): Tensor {
  const conflict = minimum(a.mul(b).sum(), 0);
  return a.sub(b.mul(conflict.div(maximum(b.square().sum(), 1e-30)).mul(lambda)));
}

/** Any prompt method whose gradients may not point against those of distillation from zero-shot CLIP. */
export const aligned = (
  method: PromptMethod,
  { projection, temperature }: Pick<Options, 'projection' | 'temperature'>,
): PromptMethod => ({
  ...method,
  async training(task) {
    const { model, train, template } = task;
    const base = await method.training?.(task);
    const objective = base?.objective ?? meanCrossEntropy;
    const hand = constant(await templateFeatures(model, train.classes, [template]));
    return {
      ...base,
      frozenFeatures: true,
      objective(s, outputs) {
        const teacher = cosineLogits(outputs.batch.features!, hand, logitScale(s, model.config));
        return { ...objective(s, outputs), distillation: distillation(outputs.logits, teacher, temperature) };
      },
      gradients(raw, step) {
        const general = gradTree(step.metrics.distillation!, step.params);
        const given = base?.gradients?.(raw, step) ?? raw;
        return Object.fromEntries(
          Object.entries(given).map(([name, g]) => [name, projected(g, general[name]!, projection)]),
        );
      },
    };
  },
});

/** Zhu et al. 2023: CoOp that learns nothing against what zero-shot CLIP knows. */
export const prograd = definePromptMethod({
  name: 'prograd',
  summary:
    'CoOp without the part of its gradient that works against zero-shot CLIP (prompt-aligned gradient)',
  paper: 'Zhu et al., ICCV 2023, arXiv 2205.14865',
  options,
  prompting: (o: Options) => aligned(coopPrompting(o), o),
});
