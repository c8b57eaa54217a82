import { z } from 'zod';
import { clipTrainTransform, type Dataset } from '../../data/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { cosineLogits, logitScale } from '../../models/clip/index.ts';
import { accuracy, coopCosine, crossEntropy, normalInit, sgd, valueInit } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { batchOf, TrainStep, train, type Values } from '../../train/index.ts';
import { defineMethod } from '../method.ts';
import { textClassifier } from '../vlm/classify.ts';
import { FeatureBatches, labelsOf } from '../vlm/loop.ts';
import { layoutPrompts, promptFeatures, textFeatures, wordEmbeddings } from '../vlm/prompts.ts';
import type { Adapter, TuneTask } from '../vlm/task.ts';

const options = z.strictObject({
  contextLength: z
    .int()
    .min(1)
    .max(64)
    .default(4)
    .describe('soft tokens; the paper: 16 few-shot, 4 for new classes'),
  contextInit: z
    .string()
    .default('')
    .describe('words whose embeddings the soft tokens start from, e.g. "a photo of a"'),
  classPosition: z.enum(['front', 'middle', 'end']).default('end').describe('where the class name stands'),
  unified: z
    .boolean()
    .default(false)
    .describe("one context for all classes, the paper's default; else each class learns its own (CSC)"),
  epochs: z.int().positive().default(50).describe('passes over the shots; the paper: 50 to 200 by shots'),
  batch: z.int().positive().default(32).describe('images a step'),
  learningRate: z.number().positive().default(0.002).describe('peak of the cosine, after one epoch at 1e-5'),
  weightDecay: z.number().nonnegative().default(5e-4).describe('L2 regularisation of the soft tokens'),
  views: z
    .int()
    .nonnegative()
    .default(0)
    .describe('random crops and flips of each image whose features are cached; 0: plain images'),
});
type Options = z.output<typeof options>;

/** The context vectors: [M, width], or [C, M, width] class-specific (the paper's V). */
export const contextShape = (o: Options, model: ClipModel, classes: number): number[] => [
  ...(o.unified ? [] : [classes]),
  o.contextLength,
  model.config.text.width,
];

function adapterOf(options: Options, tensors: Values): Adapter {
  const context = tensors.context;
  if (!context) throw new Error('The adapter holds no tensor "context"');
  return {
    tensors,
    parameters: context.data.length,
    fixedClasses: !options.unified,
    async classifier(model, classes) {
      const wanted = contextShape(options, model, classes.length);
      if (String(context.shape) !== String(wanted)) {
        throw new Error(
          `The context vectors are [${context.shape}]; this model and its ${classes.length} classes need [${wanted}]` +
            (!options.unified ? ' (class-specific prompts hold for the classes they were trained on)' : ''),
        );
      }
      const layout = layoutPrompts(model, classes, options.contextLength, options.classPosition);
      const text = await textFeatures(model, layout.ids, { context }, (s, ids) =>
        promptFeatures(s, ids, s.param('context', context.shape, valueInit(context)), model, layout),
      );
      return textClassifier(model, text);
    },
  };
}

/** Zhou et al. 2022: learns the words around the class name as vectors; CLIP stays frozen. */
export const coop = defineMethod({
  name: 'coop',
  summary: "learns a few soft tokens in place of the prompt's words (context optimization)",
  paper: 'Zhou et al., IJCV 2022, arXiv 2109.01134',
  kind: 'tune',
  options,
  async *fit(task, o) {
    const { model, train: data } = task;
    const { classes } = data;
    const layout = layoutPrompts(model, classes, o.contextLength, o.classPosition);
    const batches = new FeatureBatches(await views(task, data, o.views), labelsOf(data), o.batch, task.seed);
    const init = o.contextInit ? await wordsInit(model, o, classes.length) : normalInit(0.02);
    const step = await TrainStep.compile({
      source: model.weights,
      batch: {
        features: batchOf([batches.size, model.config.projection]),
        labels: batchOf([batches.size], 'int64'),
        ids: batchOf(layout.ids.shape, 'int64'),
      },
      build: (s, { features, labels, ids }) => {
        const context = s.param('context', contextShape(o, model, classes.length), init);
        const text = promptFeatures(s, ids!, context, model, layout);
        const logits = cosineLogits(features!, text, logitScale(s, model.config));
        return { loss: crossEntropy(logits, labels!), accuracy: accuracy(logits, labels!) };
      },
      optimizer: sgd({ lr: coopCosine(o.learningRate), momentum: 0.9, weightDecay: o.weightDecay }),
    });
    try {
      const { params, stopped } = yield* train({
        step,
        seed: task.seed,
        totalSteps: o.epochs * batches.perEpoch,
        stepsPerEpoch: batches.perEpoch,
        batch: (t) => ({ ...batches.at(t), ids: layout.ids }),
        dir: task.dir,
        resume: task.resume,
        fingerprint: task.fingerprint,
        signal: task.signal,
      });
      return { adapter: adapterOf(o, params), stopped };
    } finally {
      await step.release();
    }
  },
  restore: ({ options, tensors }) => adapterOf(options, tensors),
});

/** Starts every context vector from the embeddings of the given words. */
async function wordsInit(model: ClipModel, o: Options, classes: number) {
  const words = await wordEmbeddings(model, o.contextInit);
  if (words.shape[0] !== o.contextLength) {
    throw new Error(
      `"${o.contextInit}" is ${words.shape[0]} tokens, but contextLength is ${o.contextLength}; make them equal`,
    );
  }
  const copies = o.unified ? 1 : classes;
  const data = new Float32Array(copies * words.data.length);
  for (let c = 0; c < copies; c++) data.set(words.data, c * words.data.length);
  return valueInit({ dtype: 'float32', shape: contextShape(o, model, classes), data });
}

/** Features of the plain images, or of `count` random crops and flips of each (CoOp's training transform). */
async function views({ features, model, seed }: TuneTask, data: Dataset, count: number) {
  if (count === 0) return [await features.of(data)];
  const transform = clipTrainTransform(model.config.vision.imageSize);
  const out = [];
  for (let v = 0; v < count; v++) {
    const examples = data.examples.map((e) => ({
      ...e,
      id: `${e.id} view ${v} of seed ${seed}`,
      image: async () => transform(await e.image(), new Random(seed, 'view', v, e.id)),
    }));
    out.push(await features.of({ ...data, examples }));
  }
  return out;
}
