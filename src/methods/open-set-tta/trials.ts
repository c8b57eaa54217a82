/** The settings in which the claims are measured: digits 0 to 6 known, 7 to 9 unknown. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  type CorruptionName,
  corrupt,
  corruptionNames,
  type Dataset,
  type ImageSet,
  loadImages,
  normalisationOf,
  openData,
} from '../../data/index.ts';
import { crop, resize } from '../../data/resize.ts';
import { readJson, writeAtomic } from '../../hub/index.ts';
import { Random } from '../../runtime/index.ts';
import { fullSampler } from '../../train/index.ts';
import { Classifier, classifierOptions } from '../classify/classifier.ts';
import { InterruptedError } from '../events.ts';
import type { Lab } from '../reproduction.ts';
import { codeVersion } from '../study/code-version.ts';
import { frozenModel, prepareAdaptation } from './adaptation.ts';
import { meanReport, type Report } from './metrics.ts';
import type { SourceModel } from './model.ts';
import { adaptOnline } from './online.ts';
import { type AdaptationOptions, adaptationOptions } from './options.ts';
import { sketchDomains } from './sketch.ts';
import { type Domain, mixedStream } from './stream.ts';

/** Digits of MNIST, a network trained on 0 to 6, and what happens to test images. */
export interface Task {
  readonly name: string;
  readonly network: string;
  /** Pixels of a side. */
  readonly size: number;
  /** Images of each digit: known ones to train and to test on, unknown ones. */
  readonly train: number;
  readonly test: number;
  readonly unknown: number;
  readonly epochs: number;
  readonly trainingBatch: number;
  readonly learningRate: number;
  /** Known images of a batch, and as many unknown ones in the open stream. */
  readonly half: number;
  /** Fresh noise in each round, as in the card's sketch, or fixed images as CIFAR-10-C has them. */
  readonly corruptions: 'sketch' | readonly CorruptionName[];
}

/** The card's sketch on MNIST brought to 8×8: an MLP 64-128-128-7 with batch norm. */
export const sketch: Task = {
  name: 'sketch',
  network: 'mlp-bn',
  size: 8,
  train: 90,
  test: 90,
  unknown: 178,
  epochs: 30,
  trainingBatch: 32,
  learningRate: 0.05,
  half: 64,
  corruptions: 'sketch',
};
/** LeNet with batch norm under the fifteen corruptions at severity 5. */
export const convolutional: Task = {
  name: 'fifteen corruptions',
  network: 'lenet-bn',
  size: 28,
  train: 600,
  test: 100,
  unknown: 234,
  epochs: 10,
  trainingBatch: 64,
  learningRate: 0.1,
  half: 100,
  corruptions: corruptionNames,
};

export interface TrialSettings {
  readonly task: Task;
  readonly stream: 'open' | 'closed';
  readonly options: Partial<AdaptationOptions>;
  readonly rounds: number;
  readonly seed: number;
}

/** The mean report over domains of each round. */
export type Trial = readonly Report[];

const known = [0, 1, 2, 3, 4, 5, 6];

interface Bench {
  readonly model: SourceModel;
  readonly source: ImageSet;
  readonly domains: Readonly<Record<'open' | 'closed', readonly Domain[]>>;
}

/** Runs trials, or reads what the same code measured before; models and corrupted images are made once a seed. */
export class Trials {
  private readonly benches = new Map<string, Promise<Bench>>();
  constructor(private readonly lab: Pick<Lab, 'dir' | 'signal' | 'say'>) {}

  async run(settings: TrialSettings): Promise<Trial> {
    const { lab } = this;
    const about = JSON.stringify({ ...settings, code: codeVersion(import.meta.url) });
    const path = join(lab.dir, `${createHash('sha256').update(about).digest('hex').slice(0, 16)}.json`);
    const found = (await readJson(path)) as unknown as { rounds: Trial } | undefined;
    if (found) return found.rounds;
    const { task, stream, options, rounds, seed } = settings;
    const key = `${task.name} ${seed}`;
    const made = this.benches.get(key) ?? benchOf(task, seed, lab);
    this.benches.set(key, made);
    const started = performance.now();
    const trial = await measure(await made, settings, lab.signal);
    const seconds = (performance.now() - started) / 1000;
    lab.say(
      `  ${task.name}, ${stream}, ${JSON.stringify(options)}, seed ${seed}: error ${(100 * trial[0]!.error!).toFixed(1)} % in round 1, ` +
        `${(100 * trial.at(-1)!.error!).toFixed(1)} % in round ${rounds}, ${seconds.toFixed(1)} s`,
    );
    await writeAtomic(path, [JSON.stringify({ ...settings, rounds: trial })]);
    return trial;
  }
}

async function measure(
  { model, source, domains }: Bench,
  { task, stream, options, rounds, seed }: TrialSettings,
  signal: AbortSignal | undefined,
): Promise<Trial> {
  const batch = stream === 'open' ? 2 * task.half : task.half;
  const adaptation = await prepareAdaptation(
    model,
    adaptationOptions.parse({ ...options, batch, seed }),
    source,
  );
  const frozen = frozenModel(model);
  const reports: Report[][] = Array.from({ length: rounds }, () => []);
  try {
    const events = adaptOnline({ adaptation, domains: domains[stream], rounds, frozen, signal });
    for (;;) {
      const { done, value } = await events.next();
      if (done) {
        if (!value) throw new InterruptedError('interrupted; the same command goes on');
        return reports.map(meanReport);
      }
      if (value.type === 'domain') reports[value.round]!.push(value.report);
    }
  } finally {
    await adaptation.release();
    await frozen.release();
  }
}

/** The first `perClass` images of some digits, labelled from 0. */
function digitsOf(data: Dataset, digits: readonly number[], perClass: number): Dataset {
  const seen = new Map<number, number>();
  return {
    ...data,
    classes: digits.map((d) => data.classes[d]!),
    examples: data.examples.flatMap((e) => {
      const label = digits.indexOf(e.label);
      const count = (seen.get(e.label) ?? 0) + 1;
      seen.set(e.label, count);
      return label >= 0 && count <= perClass ? [{ ...e, label }] : [];
    }),
  };
}

async function benchOf(task: Task, seed: number, lab: Pick<Lab, 'signal' | 'say'>): Promise<Bench> {
  lab.say(`  ${task.name}, seed ${seed}: training on digits 0 to 6`);
  const { train, test } = await openData('mnist');
  const load = async (data: Dataset) => {
    const set = await loadImages(data);
    return task.size === 28 ? set : shrunk(set, task.size);
  };
  const source = await load(digitsOf(train, known, task.train));
  const own = await load(digitsOf(test, known, task.test));
  const others = await load(digitsOf(test, [7, 8, 9], task.unknown));
  const model = await trained(task, source, seed, lab.signal);
  const streamOf = async (open: boolean): Promise<Domain[]> => {
    const common = { batch: open ? 2 * task.half : task.half, seed };
    if (task.corruptions === 'sketch')
      return mixedStream({ ...common, known: own, ...(open && { unknown: others }), domains: sketchDomains });
    const domains: Domain[] = [];
    for (const name of task.corruptions) {
      const corrupted = async (set: ImageSet, kind: string): Promise<ImageSet> => ({
        ...set,
        images: await Promise.all(
          set.images.map((image, i) => corrupt(image, name, 5, new Random(seed, 'corrupt', kind, name, i))),
        ),
      });
      const unknown = open && { unknown: await corrupted(others, 'unknown') };
      const as = [{ name, change: (image: ImageSet['images'][number]) => image }];
      domains.push(
        ...mixedStream({ ...common, known: await corrupted(own, 'known'), ...unknown, domains: as }),
      );
    }
    return domains;
  };
  return { model, source, domains: { open: await streamOf(true), closed: await streamOf(false) } };
}

/** The 20×20 pixels within which MNIST draws its digits, at `side`×`side`: as scikit-learn's digits fill their frame. */
function shrunk(set: ImageSet, side: number): ImageSet {
  const box = { left: 4, top: 4, width: 20, height: 20 };
  const images = set.images.map((image) => resize(crop(image, box), side, side, 'box'));
  return { ...set, images, shape: [1, side, side] };
}

async function trained(
  { network, epochs, trainingBatch, learningRate }: Task,
  images: ImageSet,
  seed: number,
  signal: AbortSignal | undefined,
): Promise<SourceModel> {
  const options = classifierOptions.parse({ network, rounds: epochs, batch: trainingBatch, learningRate });
  const classes = images.classes.length;
  const classifier = new Classifier(options, images.shape, classes, normalisationOf(images));
  const sampler = fullSampler(images.labels.length, seed);
  const events = classifier.train({ images, sampler, seed, rounds: epochs, ...(signal && { signal }) });
  let next = await events.next();
  while (!next.done) next = await events.next();
  await classifier.release();
  if (next.value.stopped === 'interrupted')
    throw new InterruptedError('interrupted; the same command goes on');
  return {
    network: (s, x, norm) => classifier.network(s, x, norm).logits,
    weights: next.value.params,
    shape: images.shape,
    classes,
    normalisation: classifier.normalisation,
  };
}
