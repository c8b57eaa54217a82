import { join } from 'node:path';
import { z } from 'zod';
import { type ImageSet, loadImages, normalisationOf, openData } from '../../data/index.ts';
import { writeAtomic, writeSafetensors } from '../../hub/index.ts';
import { imageClassifier } from '../../models/classifiers/index.ts';
import { Random } from '../../runtime/index.ts';
import { groupsOf, type TrainEvent } from '../../train/index.ts';
import { dataOptions } from '../classify/data-options.ts';
import { condense, randomImages } from './condense.ts';
import { Judge, type Judged, judged } from './evaluate.ts';
import { type LabelledImages, labelsByClass, normalised, subsetOf } from './images.ts';
import { condensationOptions, dsaOpsOf } from './options.ts';
import { type SyntheticSet, syntheticImages, writeGrid, writeSynthetic } from './synthetic.ts';

/** What `attune distill` does: condenses a data set, and judges what came of it. */
export const distillOptions = z.strictObject({
  ...dataOptions.shape,
  ...condensationOptions.shape,
});
/** How the result is judged; a resumed run may be judged anew. */
export const judgingOptions = z.strictObject({
  networks: z.int().nonnegative().default(5).describe('fresh networks to train on it; 0: none'),
  epochs: z.int().nonnegative().default(0).describe('of each of them; 0: 300, with --dsa 1000, as the paper'),
  evaluateOn: z
    .array(z.string())
    .default([])
    .describe('networks to judge by, a,b,…; none given: that of --network'),
});
export type DistillOptions = z.output<typeof distillOptions>;
export type JudgingOptions = z.output<typeof judgingOptions>;

export type DistillEvent =
  | TrainEvent
  | { readonly type: 'stage'; readonly text: string }
  | { readonly type: 'progress'; readonly text: string; readonly done: number; readonly total: number };

export interface DistillResult {
  readonly runDir: string;
  readonly settings: DistillOptions;
  readonly judging: JudgingOptions;
  readonly images: number;
  readonly real: number;
  readonly classes: readonly string[];
  /** Accuracy on the test images (of the training images where the data has none), by network. */
  readonly accuracy: Readonly<Record<string, { readonly synthetic: Judged; readonly random: Judged }>>;
  readonly measuredOn: 'test' | 'train';
  readonly seconds: number;
}

/**
 * Condenses a data set into `dir`: `synthetic.safetensors`, `synthetic.png`, `config.json`, `result.json`, beside checkpoint
 * and metrics. Networks that are trained on it are compared with others trained on as many random real images, drawn anew
 * for each; the first of them is kept as `model.safetensors`. Returns undefined where `signal` stopped it.
 */
export async function* distill(
  settings: DistillOptions,
  judging: JudgingOptions,
  run: { readonly dir: string; readonly resume?: boolean; readonly signal?: AbortSignal },
): AsyncGenerator<DistillEvent, DistillResult | undefined> {
  const started = performance.now();
  const { data, size, ...options } = settings;
  const names = judging.evaluateOn.length ? judging.evaluateOn : [options.network];
  // A name that no network has is an error before the work, not after it.
  for (const name of names) imageClassifier(name, 2);
  yield { type: 'stage', text: `reading ${data}` };
  const splits = await openData(data);
  const set = await loadImages(splits.train, size ? { size } : {});
  const normalisation = normalisationOf(set);
  const real = normalised(set, normalisation);
  const dsa = dsaOpsOf(options, set.name);
  const classes = set.classes.length;
  yield {
    type: 'stage',
    text: `condensing ${set.labels.length} images to ${classes} × ${options.imagesPerClass}`,
  };
  const images = yield* condense({
    images: real,
    network: imageClassifier(options.network, classes),
    options,
    dsa,
    fingerprint: JSON.stringify(settings),
    ...run,
  });
  if (!images) return undefined;
  const labels = labelsByClass(classes, options.imagesPerClass);
  const synthetic: SyntheticSet = { images, labels, classes: set.classes, normalisation };
  await writeSynthetic(join(run.dir, 'synthetic.safetensors'), synthetic);
  await writeGrid(join(run.dir, 'synthetic.png'), synthetic);
  await writeAtomic(join(run.dir, 'config.json'), [`${JSON.stringify(settings, null, 2)}\n`]);

  const { images: test, measuredOn } = await testImages(set, splits.test, normalisation);
  const accuracy: Record<string, { synthetic: Judged; random: Judged }> = {};
  for (const name of judging.networks > 0 ? names : []) {
    const judge = new Judge(imageClassifier(name, classes), real.shape, {
      ...(judging.epochs && { epochs: judging.epochs }),
      dsa,
      seed: options.seed,
    });
    try {
      const found = { synthetic: [] as number[], random: [] as number[] };
      for (let n = 0; n < judging.networks; n++) {
        const sets = {
          synthetic: syntheticImages(synthetic),
          random: randomSet(real, options.imagesPerClass, options.seed, n),
        };
        for (const [i, kind] of (['synthetic', 'random'] as const).entries()) {
          const done = 2 * n + i;
          yield { type: 'progress', text: `training ${name}`, done, total: 2 * judging.networks };
          if (run.signal?.aborted) return undefined;
          const params = await judge.train(sets[kind], n, run.signal);
          if (kind === 'synthetic' && n === 0 && name === names[0])
            await writeSafetensors(join(run.dir, 'model.safetensors'), params, { format: 'pt' });
          found[kind].push(await judge.accuracy(params, test));
        }
      }
      accuracy[name] = { synthetic: judged(found.synthetic), random: judged(found.random) };
    } finally {
      await judge.release();
    }
  }
  const result: DistillResult = {
    runDir: run.dir,
    settings,
    judging,
    images: labels.length,
    real: set.labels.length,
    classes: set.classes,
    accuracy,
    measuredOn,
    seconds: (performance.now() - started) / 1000,
  };
  await writeAtomic(join(run.dir, 'result.json'), [`${JSON.stringify(result, null, 2)}\n`]);
  return result;
}

async function testImages(
  train: ImageSet,
  test: Parameters<typeof loadImages>[0],
  normalisation: ReturnType<typeof normalisationOf>,
): Promise<{ images: LabelledImages; measuredOn: 'test' | 'train' }> {
  if (test.examples.length === 0) return { images: normalised(train, normalisation), measuredOn: 'train' };
  return { images: normalised(await loadImages(test, { like: train }), normalisation), measuredOn: 'test' };
}

/** As many random real images of each class, draw number `n`. */
export const randomSet = (real: LabelledImages, perClass: number, seed: number, n: number): LabelledImages =>
  subsetOf(real, randomImages(groupsOf(real.labels), perClass, new Random(seed, 'random set', n)));
