import { z } from 'zod';
import {
  constant,
  f32,
  type HostTensor,
  i64,
  input,
  l2Normalize,
  oneHot,
  type Tensor,
} from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { cosineLogits, logitScale } from '../../models/clip/index.ts';
import { accuracy, adamw, cosine, crossEntropy, type Scope, trace, valueInit } from '../../nn/index.ts';
import { compile, runOnce } from '../../runtime/index.ts';
import { TrainStep, train, type Values } from '../../train/index.ts';
import { defineMethod } from '../method.ts';
import { Batches, labelsOf, rowsOf, viewsOf } from '../vlm/loop.ts';
import { templateFeatures } from '../vlm/prompts.ts';
import type { Adapter, TuneTask } from '../vlm/task.ts';

const options = z.strictObject({
  alpha: z.number().nonnegative().default(1).describe('weight of the cache beside zero-shot CLIP (α)'),
  beta: z.number().positive().default(5.5).describe('how sharply the cache looks at the nearest images (β)'),
  search: z.boolean().default(true).describe('choose α and β on the validation images, where there are some'),
  views: z
    .int()
    .nonnegative()
    .default(0)
    .describe(
      'random crops and flips of each image whose features are averaged, the paper: 10; 0: the plain image',
    ),
  finetune: z.boolean().default(false).describe('train the keys of the cache too (Tip-Adapter-F)'),
  epochs: z.int().positive().default(20).describe('with finetune: passes over the shots'),
  batch: z.int().positive().default(256).describe('with finetune: images a step'),
  learningRate: z.number().positive().default(0.001).describe('with finetune: start of the cosine'),
});
type Options = z.output<typeof options>;

/** α · exp(−β(1 − f̂ Kᵀ)) V: what a cache of keys [n, D] with one-hot classes V [n, C] says about features [B, D]. */
export const cacheLogits = (
  image: Tensor,
  keys: Tensor,
  values: Tensor,
  alpha: Tensor,
  beta: Tensor,
): Tensor =>
  l2Normalize(image).matmul(keys, { transB: true }).sub(1).mul(beta).exp().matmul(values).mul(alpha);

function adapterOf({ finetune }: Options, tensors: Values): Adapter {
  const { keys, labels, alpha, beta } = tensors;
  if (!keys || !labels || !alpha || !beta) {
    throw new Error('The adapter must hold the tensors "keys", "labels", "alpha" and "beta"');
  }
  const known = 1 + Math.max(...Array.from(labels.data, Number));
  return {
    tensors,
    parameters: finetune ? keys.data.length : 0,
    fixedClasses: true,
    async classifier(model, classes, template) {
      if (classes.length !== known || keys.shape[1] !== model.config.projection) {
        throw new Error(
          `The cache holds ${known} classes in ${keys.shape[1]} dimensions, but there are ${classes.length} and ` +
            `${model.config.projection}; it serves only the model and the classes that it was made for`,
        );
      }
      const text = constant(await templateFeatures(model, classes, [template]));
      const values = oneHot(constant(labels), known);
      return {
        head: (s, x) =>
          cosineLogits(x, text, logitScale(s, model.config)).add(
            cacheLogits(x, constant(keys), values, constant(alpha), constant(beta)),
          ),
      };
    },
  };
}

/** Zhang et al. 2022: zero-shot CLIP and a cache of the few-shot images' features; training-free, or keys fine-tuned. */
export const tipAdapter = defineMethod({
  name: 'tip-adapter',
  summary:
    'zero-shot CLIP plus a cache of the shots’ features, without training or with trained keys (Tip-Adapter-F)',
  paper: 'Zhang et al., ECCV 2022, arXiv 2207.09519',
  kind: 'tune',
  options,
  async *fit(task, o) {
    const { model, train: data, template } = task;
    const labels = i64(labelsOf(data));
    const text = await templateFeatures(model, data.classes, [template]);
    const views = [];
    for (const view of viewsOf(task, o.views)) views.push(await task.features.of(view));
    let keys = await normalisedMean(views);
    if (o.finetune) {
      const batches = new Batches(
        labelsOf(data),
        { features: rowsOf(views) },
        { batch: o.batch, seed: task.seed, views: views.length },
      );
      const step = await TrainStep.compile({
        source: model.weights,
        batch: batches.types,
        build: (s, { features, labels: target }) => {
          const values = oneHot(constant(labels), data.classes.length);
          const trained = s.param('keys', keys.shape, valueInit(keys));
          const cache = cacheLogits(features!, trained, values, scalar(o.alpha), scalar(o.beta));
          const logits = clipLogits(s, model, features!, text).add(cache);
          return { loss: crossEntropy(logits, target!), accuracy: accuracy(logits, target!) };
        },
        optimizer: adamw({ lr: cosine(o.learningRate), eps: 1e-4 }),
      });
      try {
        const { params, stopped } = yield* train({
          step,
          seed: task.seed,
          totalSteps: o.epochs * batches.perEpoch,
          stepsPerEpoch: batches.perEpoch,
          batch: batches.at,
          dir: task.dir,
          resume: task.resume,
          fingerprint: task.fingerprint,
          signal: task.signal,
        });
        keys = params.keys as HostTensor<'float32'>;
        if (stopped === 'interrupted') return { adapter: adapterOf(o, cache(o, keys, labels)), stopped };
      } finally {
        await step.release();
      }
    }
    const best = o.search && task.val.examples.length ? await search(task, text, keys, labels) : o;
    return { adapter: adapterOf(o, cache(best, keys, labels)), stopped: 'end' };
  },
  restore: ({ options, tensors }) => adapterOf(options, tensors),
});

const scalar = (value: number): Tensor => constant(f32([value], []));
const cache = (
  { alpha, beta }: Pick<Options, 'alpha' | 'beta'>,
  keys: HostTensor,
  labels: HostTensor,
): Values => ({
  keys,
  labels,
  alpha: f32([alpha], []),
  beta: f32([beta], []),
});
const clipLogits = (s: Scope, model: ClipModel, image: Tensor, text: HostTensor): Tensor =>
  cosineLogits(image, constant(text), logitScale(s, model.config));

/** The mean of features [N, D] over views, normalised. */
async function normalisedMean(views: readonly HostTensor<'float32'>[]): Promise<HostTensor<'float32'>> {
  const sum = views.map((v) => constant(v)).reduce((a, b) => a.add(b));
  const { keys } = await runOnce({ keys: l2Normalize(sum) }, {}, { name: 'cache' });
  return keys as HostTensor<'float32'>;
}

/** The grid of the released code for ImageNet: 0.1 + i · (scale − 0.1) / steps. */
const grid = (scale: number, steps: number) =>
  Array.from({ length: steps }, (_, i) => 0.1 + (i * (scale - 0.1)) / steps);
const betas = grid(7, 200);
const alphas = grid(3, 20);

/** The first α and β, in the order of the grid, that are best on the validation images. */
async function search(
  task: TuneTask,
  text: HostTensor,
  keys: HostTensor,
  labels: HostTensor,
): Promise<{ alpha: number; beta: number }> {
  const { model, val } = task;
  const x = constant(await task.features.of(val));
  const target = constant(i64(labelsOf(val)));
  const { result } = trace(model.weights, (s) => {
    const values = oneHot(constant(labels), val.classes.length);
    const zeroShot = clipLogits(s, model, x, text);
    const cached = cacheLogits(x, constant(keys), values, scalar(1), input('beta', []));
    return Object.fromEntries(alphas.map((a, i) => [i, accuracy(zeroShot.add(cached.mul(a)), target)]));
  });
  const program = await compile(result, { name: 'search of alpha and beta' });
  let best = { alpha: 0, beta: 0, accuracy: -1 };
  for (const beta of betas) {
    task.signal?.throwIfAborted();
    const found = await program.run({ beta: f32([beta], []) });
    alphas.forEach((alpha, i) => {
      const value = Number(found[i]!.data[0]);
      if (value > best.accuracy) best = { alpha, beta, accuracy: value };
    });
  }
  await program.release();
  return best;
}
