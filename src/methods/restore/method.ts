import { z } from 'zod';
import { equal, f32, norm, quickGelu, stack, stopGradient, type Tensor, where } from '../../graph/index.ts';
import { constantInit, layerNorm, linear, type Progress, type Scope, zerosInit } from '../../nn/index.ts';
import { batchOf } from '../../train/index.ts';
import { mapleOptions, maplePrompting, mapleTokens } from '../baselines/maple.ts';
import { definePromptMethod, trainingOptions } from '../vlm/prompt-tuning.ts';
import { meanCrossEntropy, type PromptMethod } from '../vlm/prompting.ts';

const ratio = (tower: string) =>
  z.number().min(0).default(0.1).describe(`share of the ${tower} tower's surgery block at first (r)`);
const gain = (tower: string, value: number) =>
  z
    .number()
    .min(0)
    .default(value)
    .describe(`how much of the mean norm of its deep soft tokens is added to the ${tower} tower's r, once`);
const options = z.strictObject({
  ...mapleOptions,
  depth: z
    .int()
    .min(2)
    .default(9)
    .describe('first layers that get soft tokens of their own (J), all where a tower has fewer'),
  consistency: z.number().min(0).default(1).describe('weight of the feature-shift consistency loss (w)'),
  textRatio: ratio('text'),
  visionRatio: ratio('vision'),
  textGain: gain('text', 0.02),
  visionGain: gain('vision', 0.005),
  expansion: z.int().positive().default(4).describe('width of the surgery blocks by that of the features'),
  ...trainingOptions({ epochs: 10, batch: 4, learningRate: 0.0035, paper: '10, for transfer 2' }),
});
export type RestoreOptions = Omit<z.output<typeof options>, keyof ReturnType<typeof trainingOptions>>;

const towers = ['text', 'vision'] as const;
type Tower = (typeof towers)[number];

/** S(P_l) = ‖P_l P_lᵀ‖_F, which is ‖P_lᵀ P_l‖_F, of the soft tokens [m, width] of each layer: [layers]. */
export function gramNorms(tokens: readonly Tensor[]): Tensor {
  const rows = stack(tokens);
  return norm(rows.matmul(rows, { transB: true }), 2, [1, 2]);
}

/** L_fs = Σ_l (S(P_l) / S(P_l at first) − S(Ṽ_l) / S(Ṽ_l at first))² of norms [layers]. */
export const consistencyLoss = (now: Record<Tower, Tensor>, first: Record<Tower, Tensor>): Tensor =>
  now.text.div(first.text).sub(now.vision.div(first.vision)).square().sum();

/** z [N, D] + r · FFN(LN(z)), which is r · A(z) + (1 − r) · z of the paper's A(z) = z + FFN(LN(z)). */
export function surgery(s: Scope, features: Tensor, r: Tensor, expansion: number): Tensor {
  const width = features.dim(-1);
  const inner = linear(s.at('linear1'), layerNorm(s.at('norm'), features), expansion * width);
  return features.add(linear(s.at('linear2'), quickGelu(inner), width).mul(r));
}

/** Whether a step is the last of epoch ⌊E/3⌋, counted from 0. */
const raises = ({ step, stepsPerEpoch, totalSteps }: Progress): boolean =>
  step + 1 === stepsPerEpoch * (Math.floor(totalSteps / stepsPerEpoch / 3) + 1);

export const restorePrompting = (o: RestoreOptions): PromptMethod => {
  const maple = maplePrompting(o);
  const start = { text: o.textRatio, vision: o.visionRatio };
  const gains = { text: o.textGain, vision: o.visionGain };
  const ratioOf = (s: Scope, tower: Tower) => s.buffer(`ratio.${tower}`, [], constantInit(start[tower]));
  const operated = (s: Scope, tower: Tower, features: Tensor) =>
    surgery(s.trained().at('surgery').at(tower), features, ratioOf(s, tower), o.expansion);
  return {
    buffers: towers.map((tower) => `ratio.${tower}`),
    async prompts(naming) {
      const { text, image } = await maple.prompts(naming);
      return {
        text: (s, x) => operated(s, 'text', text(s, x)),
        image: (s, pixels) => operated(s, 'vision', image!(s, pixels)),
      };
    },
    async training({ model }) {
      const { text, vision } = model.config;
      if (Math.min(text.layers, vision.layers) < 2) {
        throw new Error(
          `RESTORE compares the towers' soft tokens behind the first layer; ${model.spec} has ${text.layers} and ` +
            `${vision.layers} layers. Use maple`,
        );
      }
      // Their initial values are known by now: MaPLe declared them in the forward pass.
      const deepNorms = (s: Scope): Record<Tower, Tensor> => {
        const tokens = mapleTokens(s, model, o);
        return { text: gramNorms(tokens.text.slice(1)), vision: gramNorms(tokens.vision.slice(1)) };
      };
      /** The norms of the run's first step, where the buffer is still zero. */
      const firstOf = (s: Scope, tower: Tower, now: Tensor): Tensor => {
        const kept = s.buffer(`norms.${tower}`, now.shape, zerosInit);
        const first = where(equal(kept, 0), stopGradient(now), kept);
        s.update(`norms.${tower}`, first);
        return first;
      };
      return {
        objective(s, outputs) {
          const now = deepNorms(s);
          const first = { text: firstOf(s, 'text', now.text), vision: firstOf(s, 'vision', now.vision) };
          const consistency = consistencyLoss(now, first);
          const { loss } = meanCrossEntropy(s, outputs);
          return { loss: loss.add(consistency.mul(o.consistency)), consistency };
        },
        inputs: { raise: { type: batchOf([]), at: (t) => f32([raises(t) ? 1 : 0], []) } },
        after(s, { raise }) {
          const norms = deepNorms(s);
          for (const tower of towers) {
            const more = norms[tower].mean().mul(gains[tower]).mul(raise!);
            s.update(`ratio.${tower}`, ratioOf(s, tower).add(more));
          }
        },
      };
    },
  };
};

/** Yang et al. 2024: MaPLe whose prompts grow alike in both towers, with residual blocks on the features. */
export const restore = definePromptMethod({
  name: 'restore',
  summary: 'MaPLe with equal feature shifts in both towers, and residual blocks on their features',
  paper: 'Yang et al., 2024, arXiv 2403.06136',
  options,
  prompting: restorePrompting,
});
