import { join } from 'node:path';
import { z } from 'zod';
import {
  constant,
  f32,
  norm,
  type Shape,
  sizeOf,
  softmax,
  stopGradient,
  type Tensor,
} from '../../graph/index.ts';
import { visionTower } from '../../models/clip/index.ts';
import { adam, coopCosine, crossEntropy, mapTree, type Scope } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { batchOf, gradTree, type Values } from '../../train/index.ts';
import { coop } from '../baselines/coop.ts';
import { maple } from '../baselines/maple.ts';
import { tipAdapter } from '../baselines/tip-adapter.ts';
import { zeroShot } from '../baselines/zero-shot.ts';
import { defineMethod, type Method } from '../method.ts';
import { fitPrompts, trainingOptions } from '../vlm/prompt-tuning.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import type { Adapter, Classifier, TuneTask } from '../vlm/task.ts';
import { drawsOf, dropConflicts, uniformOf } from './gradient-dropout.ts';
import {
  folding,
  kept,
  layerKinds,
  maskedWeights,
  pack,
  SCORE,
  scoring,
  splitMasks,
  THRESHOLD,
} from './masks.ts';

/** Classifiers that a mask goes under, each trained first and then left as it is. */
const hosts = { 'zero-shot': zeroShot, coop, maple, 'tip-adapter': tipAdapter } satisfies Record<
  string,
  unknown
>;
type HostName = keyof typeof hosts;
const hostNames = Object.keys(hosts) as [HostName, ...HostName[]];

const { weightDecay: _, ...training } = trainingOptions({
  epochs: 30,
  batch: 32,
  learningRate: 8e-5,
  paper: '30, on ImageNet 10',
});
const options = z.strictObject({
  on: z
    .enum(hostNames)
    .default('zero-shot')
    .describe('method above, trained first: its classifier stays as it is'),
  layers: z
    .enum(layerKinds)
    .default('attention')
    .describe('linear layers of the vision tower that are masked'),
  patches: z.boolean().default(true).describe('mask the patch convolution too, as the released code'),
  drop: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('share of a conflicting gradient that is dropped (l); 0: no regularity (AMT)'),
  temperature: z.number().positive().default(1).describe("of the teacher's and the student's logits (T)"),
  scoreNorm: z.number().min(0).default(1e-4).describe('weight of the L2 norm of each score tensor (μ)'),
  ...training,
  learningRate: training.learningRate.describe('peak of the cosine over epochs, of Adam'),
});
export type RamtOptions = z.output<typeof options>;

/** The learning rate over epochs, without warm-up. */
const schedule = (learningRate: number) => coopCosine(learningRate, 0, 0);

/** The sum of learning rates over a training: about how far Adam can move a score. */
export function reach({ learningRate, epochs, batch }: RamtOptions, images: number): number {
  const stepsPerEpoch = Math.floor(images / Math.min(batch, images));
  const totalSteps = epochs * stepsPerEpoch;
  const rate = schedule(learningRate);
  return Array.from({ length: epochs }, (_, epoch) =>
    rate({ step: epoch * stepsPerEpoch, epoch, stepsPerEpoch, totalSteps }),
  ).reduce((sum, lr) => sum + lr * stepsPerEpoch, 0);
}

/**
 * L_b = −T² mean_i Σ_c softmax(z°/T) log softmax(z/T) of logits [B, C]: the KL divergence from the teacher but for a
 * constant.
 */
export const distillation = (student: Tensor, teacher: Tensor, temperature: number): Tensor =>
  crossEntropy(student.div(temperature), softmax(stopGradient(teacher).div(temperature))).mul(
    temperature ** 2,
  );

/** Masks under a classifier whose own tensors are constants. */
export const maskPrompting = (
  classifier: Classifier,
  o: RamtOptions,
  names: readonly string[],
): PromptMethod => ({
  prompts: async ({ model }) => {
    const plain = (s: Scope, pixels: Tensor) => visionTower(s, pixels, model.config).features;
    const tower = classifier.imageFeatures ?? plain;
    return {
      // The classifier's head knows its text features.
      text: () => constant(0),
      image: (s, pixels) => tower(s.intercept(scoring(names)), pixels),
      logits: (s, image) => classifier.head(s, image),
    };
  },
  async training({ model, seed }) {
    const shapes: Record<string, Shape> = Object.fromEntries(
      names.map((name) => [`mask.${name}`, model.weights.get(name)!.shape]),
    );
    const draws = Object.values(shapes).reduce((n, shape) => n + drawsOf(shape), 0);
    const scoresOf = (s: Scope) =>
      Object.entries(shapes).map(([name, shape]) =>
        s.param(name, shape, () => {
          throw new Error(`${name} is declared by the vision tower`);
        }),
      );
    const size = Object.values(shapes).reduce((n, shape) => n + sizeOf(shape), 0);
    return {
      // Those of CLIP as it was, for the teacher.
      frozenFeatures: !classifier.imageFeatures,
      optimizer: adam({ lr: schedule(o.learningRate) }),
      objective(s, { logits, labels, batch }) {
        const scores = scoresOf(s);
        const norms = scores.map((m) => norm(m)).reduce((a, b) => a.add(b));
        const before = classifier.imageFeatures?.(s, batch.pixels!) ?? batch.features!;
        return {
          loss: crossEntropy(logits, labels).add(norms.mul(o.scoreNorm)),
          distillation: distillation(logits, classifier.head(s, before), o.temperature),
          masked: scores
            .map((m) => kept(m).sum())
            .reduce((a, b) => a.add(b))
            .mul(-1 / size)
            .add(1),
        };
      },
      ...(o.drop > 0 && {
        inputs: {
          draws: {
            type: batchOf([draws]),
            at: ({ step }) => {
              const random = new Random(seed, 'gradient dropout', step);
              return f32(
                random.fill(draws, (r) => r.next()),
                [draws],
              );
            },
          },
        },
        gradients(task, { params, batch, metrics }) {
          const teacher = gradTree(metrics.distillation!, params);
          let from = 0;
          return mapTree(task, (a, name) => {
            const count = drawsOf(a.shape);
            const own = batch.draws!.slice(0, from, from + count);
            from += count;
            return dropConflicts(a, teacher[name]!, uniformOf(own, a.shape), o.drop);
          });
        },
      }),
    };
  },
});

/** A host's adapter on the tower with packed masks folded in. */
function maskAdapter(host: Adapter, masks: Values, on: HostName): Adapter {
  return {
    ...host,
    tensors: { ...host.tensors, ...masks },
    parameters: Object.values(masks).reduce((n, { data }) => n + 8 * data.length, host.parameters),
    async classifier(model, classes, template) {
      const inner = await host.classifier(model, namesFor(on, classes), template);
      const folded = folding(model.weights, masks);
      const tower =
        inner.imageFeatures ?? ((s: Scope, pixels: Tensor) => visionTower(s, pixels, model.config).features);
      return { ...inner, imageFeatures: (s, pixels) => tower(s.intercept(folded), pixels) };
    },
  };
}

/** Under hand-written prompts class names are in lower case, as released. */
const namesFor = (on: HostName, classes: readonly string[]): readonly string[] =>
  on === 'zero-shot' ? classes.map((name) => name.toLowerCase()) : classes;

/** The host with what it takes to hold for names that it was not trained on. */
const hostOf = (on: HostName) => {
  const method: Method = hosts[on];
  return { method, options: method.options.parse(method.acrossClasses ?? {}) };
};

/** Zheng et al. 2023: a binary mask on the vision tower's weights, trained with regularised gradients. */
export const ramt = defineMethod({
  name: 'r-amt',
  summary: 'a binary mask on weights of the vision tower, its gradients held to those of CLIP (mask tuning)',
  paper: 'Zheng et al., ICCV 2023, arXiv 2307.15049',
  kind: 'tune',
  options,
  async *fit(task, o) {
    const { model, train, template, dir } = task;
    const least = SCORE - THRESHOLD;
    const far = reach(o, train.examples.length);
    if (far < least) {
      console.warn(
        `r-amt: no weight can be masked: a score must move by ${least.toPrecision(2)}, and the learning rates of this ` +
          `training add up to ${far.toPrecision(2)}. Raise --learning-rate or --epochs, or take smaller batches`,
      );
    }
    const { method, options: hostOptions } = hostOf(o.on);
    const host = yield* method.fit({ ...task, ...(dir && { dir: join(dir, 'host') }) }, hostOptions);
    if (host.stopped === 'interrupted') return host;
    const classifier = await host.adapter.classifier(model, namesFor(o.on, train.classes), template);
    const prompting = maskPrompting(classifier, o, maskedWeights(model.config, o));
    const { adapter, stopped } = yield* fitPrompts(task as TuneTask, prompting, { ...o, weightDecay: 0 });
    return { adapter: maskAdapter(host.adapter, mapTree(adapter.tensors, pack), o.on), stopped };
  },
  restore({ options: o, tensors }) {
    const { masks, rest } = splitMasks(tensors);
    const { method, options: hostOptions } = hostOf(o.on);
    return maskAdapter(method.restore({ options: hostOptions, tensors: rest }), masks, o.on);
  },
});
