import { z } from 'zod';
import { coopCosine, sgd } from '../../nn/index.ts';
import { TrainStep, train } from '../../train/index.ts';
import { defineMethod, type Method } from '../method.ts';
import { Batches, type BatchSource, labelsOf, pixelsOf, rowsOf, viewsOf } from './loop.ts';
import { promptAdapter } from './prompt-adapter.ts';
import { keptBy, type PromptMethod, promptLoss } from './prompting.ts';
import type { TuneTask, Tuning } from './task.ts';

interface TrainingOptions {
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly views: number;
}

/** The options of `fitPrompts`, for a method's schema. `paper` says which epochs the paper takes. */
export const trainingOptions = (d: {
  epochs: number;
  batch: number;
  learningRate: number;
  paper: string;
}) => ({
  epochs: z.int().positive().default(d.epochs).describe(`passes over the shots; the paper: ${d.paper}`),
  batch: z.int().positive().default(d.batch).describe('images a step'),
  learningRate: z
    .number()
    .positive()
    .default(d.learningRate)
    .describe('peak of the cosine, after one epoch at 1e-5'),
  weightDecay: z.number().nonnegative().default(5e-4).describe('L2 regularisation of what is trained'),
  views: z
    .int()
    .nonnegative()
    .default(0)
    .describe('random crops and flips of each image, one of which an epoch draws; 0: plain images'),
});

/**
 * Trains a prompt method as CoOp and its successors do on Dassl: SGD with momentum 0.9, one epoch at 1e-5, then a
 * cosine over epochs; the last model is taken. Images go through the vision tower once if it stays frozen, else in
 * every step.
 */
export async function* fitPrompts(task: TuneTask, method: PromptMethod, o: TrainingOptions): Tuning {
  const { model, train: data, template, seed } = task;
  const prompts = await method.prompts({ model, classes: data.classes, template });
  const training = (await method.training?.(task)) ?? {};
  const views = viewsOf(task, o.views);
  const sources: Record<string, BatchSource> = {};
  if (!prompts.image || training.frozenFeatures) {
    const features = [];
    for (const view of views) features.push(await task.features.of(view));
    sources.features = rowsOf(features);
  }
  if (prompts.image) sources.pixels = pixelsOf(model, views);
  const batches = new Batches(labelsOf(data), sources, { batch: o.batch, seed, views: views.length });
  const inputs = Object.entries(training.inputs ?? {});
  const step = await TrainStep.compile({
    source: model.weights,
    batch: { ...batches.types, ...Object.fromEntries(inputs.map(([name, { type }]) => [name, type])) },
    build: (s, batch) => promptLoss(s, model, prompts, training, batch),
    optimizer:
      training.optimizer ??
      sgd({ lr: coopCosine(o.learningRate), momentum: 0.9, weightDecay: o.weightDecay }),
    gradients: training.gradients,
    after: training.after,
    init: training.init,
  });
  try {
    const { params: kept, stopped } = yield* train({
      step,
      seed,
      totalSteps: o.epochs * batches.perEpoch,
      stepsPerEpoch: batches.perEpoch,
      batch: async (t) => ({
        ...(await batches.at(t)),
        ...Object.fromEntries(inputs.map(([name, { at }]) => [name, at(t)])),
      }),
      dir: task.dir,
      resume: task.resume,
      fingerprint: task.fingerprint,
      signal: task.signal,
    });
    // What the loss alone reads ends with the training.
    const { params, buffers } = keptBy(model, prompts);
    const names = [...params, ...buffers.values()].map(({ name }) => name);
    const tensors = Object.fromEntries(names.map((name) => [name, kept[name]!]));
    return { adapter: promptAdapter(method, tensors), stopped };
  } finally {
    await step.release();
  }
}

/** A method of the list from a prompt method: `fit` trains it, `restore` makes its adapter. */
export const definePromptMethod = <O extends z.ZodObject & z.ZodType<TrainingOptions>>({
  prompting,
  ...about
}: Pick<Method<O>, 'name' | 'summary' | 'paper' | 'options' | 'acrossClasses'> & {
  prompting(options: z.output<O>): PromptMethod;
}): Method<O> =>
  defineMethod<O>({
    ...about,
    kind: 'tune',
    fit: (task, options) => fitPrompts(task, prompting(options), options),
    restore: ({ options, tensors }) => promptAdapter(prompting(options), tensors),
  });
