import { join } from 'node:path';
import { z } from 'zod';
import type { ImageSet, Normalisation } from '../../data/index.ts';
import { writeAtomic, writeSafetensors } from '../../hub/index.ts';
import { subsetSampler, type TrainEvent } from '../../train/index.ts';
import { Classifier, classifierOptions } from './classifier.ts';
import { dataOptions } from './data-options.ts';
import { samplerNames, samplers } from './samplers.ts';
import { readSubset } from './subset-file.ts';
import { trainingImages } from './training-images.ts';

/** What `attune train` does: a classifier from scratch, on what a sampler gives. */
export const trainingOptions = z.strictObject({
  ...dataOptions.shape,
  data: dataOptions.shape.data.describe(
    'a built-in set, a folder with one sub-folder a class, a .csv or .jsonl; or a run of attune distill',
  ),
  sampler: z.enum(samplerNames).default('full').describe('which images a round has'),
  subset: z.string().default('').describe('a file of attune select: its images, in place of a sampler'),
  fraction: z.number().positive().max(1).default(1).describe('share of the images a round has'),
  evaluateEvery: z
    .int()
    .nonnegative()
    .default(0)
    .describe('rounds between measurements on the test set; 0: at the end'),
  seed: z.int().nonnegative().default(1).describe('of initial values and draws'),
  ...classifierOptions.shape,
});
export type TrainingOptions = z.output<typeof trainingOptions>;

export type TrainingEvent = TrainEvent | { readonly type: 'stage'; readonly text: string };

export interface TrainingResult {
  readonly runDir: string;
  readonly settings: TrainingOptions;
  /** The data set of the test images, where those to train on were condensed from it. */
  readonly condensedFrom?: string;
  readonly images: number;
  /** Of a round. */
  readonly imagesPerRound: number;
  readonly classes: readonly string[];
  /** [C, H, W] of an image, and how its values are normalised. */
  readonly shape: ImageSet['shape'];
  readonly normalisation: Normalisation;
  readonly steps: number;
  /** The share of test images that is right; of the training images where the data has no test images. */
  readonly accuracy: number;
  readonly measuredOn: 'test' | 'train';
  /** [step, accuracy] after every `evaluateEvery` rounds; of a resumed run since then. */
  readonly curve: readonly (readonly [number, number])[];
  readonly seconds: number;
}

/**
 * Trains a classifier into `dir`: checkpoint and metrics, `model.safetensors` with PyTorch's names, `result.json`. Stopped and
 * resumed, it ends with the same parameters, bit for bit; returns undefined where `signal` stopped it.
 */
export async function* trainClassifier(
  settings: TrainingOptions,
  run: { readonly dir: string; readonly resume?: boolean; readonly signal?: AbortSignal },
): AsyncGenerator<TrainingEvent, TrainingResult | undefined> {
  const started = performance.now();
  const { seed, fraction } = settings;
  yield { type: 'stage', text: `reading ${settings.data}` };
  const read = await trainingImages(settings.data, settings.size);
  const { train: images, test, measuredOn, normalisation, condensedFrom } = read;
  const count = images.labels.length;
  const chosen = settings.subset ? await readSubset(settings.subset) : undefined;
  if (chosen && chosen.count !== count)
    throw new Error(
      `${settings.subset} selects from ${chosen.count} images of ${chosen.data}; ${settings.data} has ${count}`,
    );
  const sampler = chosen
    ? subsetSampler(chosen.indices, count, seed, chosen.weights)
    : samplers[settings.sampler]!.of(images.labels, fraction, seed);
  const {
    data: _d,
    size: _s,
    sampler: _n,
    subset: _f,
    fraction: _r,
    evaluateEvery,
    seed: _e,
    ...options
  } = settings;
  const classifier = new Classifier(options, images.shape, images.classes.length, normalisation);
  yield { type: 'stage', text: `${sampler.size} of ${count} images a round` };
  const curve: [number, number][] = [];
  try {
    const events = classifier.train({
      images,
      sampler,
      seed,
      rounds: settings.rounds,
      ...(evaluateEvery > 0 && {
        evaluation: {
          every: evaluateEvery,
          run: async (params) => ({ accuracy: await classifier.accuracy(params, test) }),
        },
      }),
      ...run,
      fingerprint: JSON.stringify({ ...settings, indices: chosen?.indices }),
    });
    let next = await events.next();
    for (; !next.done; next = await events.next()) {
      if (next.value.type === 'evaluation') curve.push([next.value.step, next.value.metrics.accuracy!]);
      yield next.value;
    }
    const { params, step, stopped } = next.value;
    if (stopped === 'interrupted') return undefined;
    const accuracy = await classifier.accuracy(params, test);
    const result: TrainingResult = {
      runDir: run.dir,
      settings,
      ...(condensedFrom !== undefined && { condensedFrom }),
      images: count,
      imagesPerRound: sampler.size,
      classes: images.classes,
      shape: images.shape,
      normalisation,
      steps: step,
      accuracy,
      measuredOn,
      curve,
      seconds: (performance.now() - started) / 1000,
    };
    await writeSafetensors(join(run.dir, 'model.safetensors'), params, { format: 'pt' });
    await writeAtomic(join(run.dir, 'result.json'), [`${JSON.stringify(result, null, 2)}\n`]);
    return result;
  } finally {
    await classifier.release();
  }
}
