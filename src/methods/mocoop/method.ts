import { z } from 'zod';
import { concat, constant, l2Normalize, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { logitScale, visionTower } from '../../models/clip/index.ts';
import {
  chain,
  clipByGlobalNorm,
  coopCosine,
  perGroup,
  type Scope,
  sgd,
  type Transform,
  type Tree,
} from '../../nn/index.ts';
import { defineMethod } from '../method.ts';
import { promptAdapter } from '../vlm/prompt-adapter.ts';
import { fitPrompts, trainingOptions } from '../vlm/prompt-tuning.ts';
import { meanCrossEntropy, type PromptMethod } from '../vlm/prompting.ts';
import { type Expert, expertFeatures, expertOf, layoutExperts, savedExperts } from './experts.ts';
import { type Groups, groupsFor, parseGroups } from './groups.ts';
import { gateLoss, gateTarget, mixed, prototypes, route, routerLogits, textLoss } from './losses.ts';

const options = z.strictObject({
  groups: z
    .string()
    .superRefine((text, { addIssue }) => {
      try {
        parseGroups(text);
      } catch (error) {
        addIssue((error as Error).message);
      }
    })
    .default('auto')
    .describe(
      'template groups, one expert each: auto (by the data set), a name of the table, or templates, | within and ; between groups',
    ),
  topK: z.int().positive().default(2).describe('experts an image is sent to (K); all where there are fewer'),
  textWeight: z.number().nonnegative().default(5).describe('weight of the grouped text loss (λ_text)'),
  gateWeight: z.number().nonnegative().default(1).describe('weight of the routing loss (λ_gate)'),
  textTemperature: z
    .number()
    .positive()
    .default(1)
    .describe('divides the cosines of the text loss; 1: none, as the released code'),
  extraNames: z
    .array(z.string())
    .default([])
    .describe(
      'further class names, without images, for the text loss; the released code: those of new classes',
    ),
  correction: z.boolean().default(true).describe('learn a vector that is added to every text feature (w)'),
  layerNorms: z
    .boolean()
    .default(true)
    .describe('tune the LayerNorms of the vision tower too; without, image features are computed once'),
  ...trainingOptions({ epochs: 50, batch: 32, learningRate: 0.032, paper: '25, 50 or 300' }),
  learningRate: z
    .number()
    .positive()
    .default(0.032)
    .describe(
      'peak of the cosine, after a tenth of the epochs, at most 7, at 1e-5; of LayerNorms a tenth of it',
    ),
});
type Options = z.output<typeof options>;

/** How experts see class names and images; `expertsOf` says what experts there are on a model. */
const promptsOf =
  (o: Options, expertsOf: (model: ClipModel) => readonly Expert[]): PromptMethod['prompts'] =>
  async ({ model, classes }) => {
    const layout = layoutExperts(model, classes, expertsOf(model));
    return {
      text: (s) => expertFeatures(s, model, layout, o.correction),
      ...(o.layerNorms && {
        image: (s: Scope, pixels: Tensor) => visionTower(tunedNorms(s), pixels, model.config).features,
      }),
      logits(s, image, text) {
        const v = l2Normalize(image);
        const pi = route(routerLogits(s, v, text.dim(0)), o.topK);
        return mixed(v, text, pi).mul(logitScale(s, model.config));
      },
    };
  };

/** The two LayerNorms of every block; those before and behind the blocks stay. */
const tunedNorms = (s: Scope): Scope =>
  s.intercept({ weight: { 'vision_model.encoder.layers.*.layer_norm*.*': (_w, match) => match.train() } });

/** Dassl's SGD with gradients clipped; LayerNorms take a tenth of the step. */
function optimizer({ epochs, learningRate, weightDecay }: Options): Transform {
  // What the released files have: 1, 3, 5 and 7 epochs of 10, 25, 50 and 300.
  const rate = coopCosine(learningRate, 1e-5, Math.min(7, Math.ceil(epochs / 10)));
  const group = (share: number) => sgd({ lr: (t) => share * rate(t), momentum: 0.9, weightDecay });
  return chain(clipByGlobalNorm(1), perGroup({ 'vision_model.**': group(0.1), '**': group(1) }));
}

/** Experts that start from the first template of each group. */
export const mocoopPrompting = (o: Options, groups: Groups): PromptMethod => {
  const expertsOf = (model: ClipModel) => groups.map(([first]) => expertOf(model, first!));
  return {
    prompts: promptsOf(o, expertsOf),
    async training({ model, train: { classes } }) {
      const extra = [...new Set(o.extraNames)].filter((name) => !classes.includes(name));
      const h = constant(await prototypes(model, [...classes, ...extra], groups));
      const layout = extra.length ? layoutExperts(model, extra, expertsOf(model)) : undefined;
      return {
        optimizer: optimizer(o),
        objective(s, outputs) {
          let { loss } = meanCrossEntropy(s, outputs);
          const parts: Tree = {};
          if (o.textWeight > 0) {
            const more = layout && expertFeatures(s, model, layout, o.correction);
            const all = more ? concat([outputs.text, more], 1) : outputs.text;
            parts.text = textLoss(all, h, o.textTemperature);
            loss = loss.add(parts.text.mul(o.textWeight));
          }
          if (o.gateWeight > 0) {
            const v = l2Normalize(outputs.image);
            parts.gate = gateLoss(routerLogits(s, v, groups.length), gateTarget(v, h, outputs.labels));
            loss = loss.add(parts.gate.mul(o.gateWeight));
          }
          return { ...parts, loss };
        },
      };
    },
  };
};

/** Du, Niu & Zhao 2024: soft prompts for groups of hand-written templates, of which a router mixes two for each image. */
export const mocoop = defineMethod({
  name: 'mocoop',
  summary: 'several soft prompts, of which a router mixes two for each image (mixture of prompt learning)',
  paper: 'Du et al., Frontiers in AI 2025, arXiv 2409.12011',
  kind: 'tune',
  options,
  fit(task, o) {
    const given = parseGroups(o.groups);
    const groups = given === 'auto' ? groupsFor(task.train.name, task.template) : given;
    return fitPrompts(task, mocoopPrompting(o, groups), o);
  },
  restore: ({ options: o, tensors }) =>
    promptAdapter({ prompts: promptsOf(o, () => savedExperts(tensors)) }, tensors),
});
