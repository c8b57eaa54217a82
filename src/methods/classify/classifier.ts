import { z } from 'zod';
import {
  type Augmentation,
  compose,
  horizontalFlip,
  type ImageSet,
  imageTensor,
  type Normalisation,
  randomShift,
} from '../../data/index.ts';
import { f32, i64, input } from '../../graph/index.ts';
import { type ImageClassifier, imageClassifier, imageClassifiers } from '../../models/classifiers/index.ts';
import { batchNormInTraining, cosine, crossEntropy, type Progress, sgd, trace } from '../../nn/index.ts';
import { compile, type Program, Random } from '../../runtime/index.ts';
import {
  batchOf,
  type Sampler,
  sampledBatches,
  stepsOf,
  type TrainEvent,
  type TrainResult,
  type TrainState,
  TrainStep,
  train,
  type Values,
} from '../../train/index.ts';
import type { LabelledImages } from '../dcc/images.ts';
import { type Rows, row } from '../gram/k-means.ts';

/** How an image classifier is trained from scratch. */
export const classifierOptions = z.strictObject({
  network: z
    .enum(Object.keys(imageClassifiers) as [string, ...string[]])
    .default('lenet')
    .describe('the network'),
  rounds: z.int().positive().default(20).describe('epochs, or rounds in their place'),
  batch: z.int().positive().default(128).describe('images a step'),
  learningRate: z
    .number()
    .positive()
    .default(0.02)
    .describe('peak of the cosine over all steps; networks with batch norm stand 0.1'),
  momentum: z.number().min(0).max(1).default(0.9).describe('of SGD, Nesterov'),
  weightDecay: z.number().nonnegative().default(5e-4).describe('L2 regularisation'),
  augment: z
    .enum(['none', 'crop', 'crop-flip'])
    .default('none')
    .describe('random crops with 4 pixels of black around, and flips'),
});
export type ClassifierOptions = z.output<typeof classifierOptions>;

/** What a network says of images. */
export interface Outputs {
  /** [N, classes] */
  readonly logits: Rows;
  /** The input of the last layer: [N, D]. */
  readonly features: Rows;
}

/** Chooses the images of each round by what the network says of all of them when the round begins. */
export interface RoundSelector {
  /** Images of every round. */
  readonly size: number;
  /** Indices of the round, shuffled: a pure function of the outputs and its number. */
  select(outputs: Outputs, epoch: number): Int32Array;
}

/** Pictures, which are normalised and may be augmented, or what networks read as it is. */
type Images = ImageSet | LabelledImages;

export interface ClassifierRun {
  readonly images: Images;
  /** With a selector, training is stopped and resumed between rounds only. */
  readonly sampler: Sampler | RoundSelector;
  readonly seed: number;
  readonly rounds: number;
  /** A cosine to 1e-4 that spans the steps of this run, however short, or the same rate throughout. */
  readonly schedule?: 'cosine' | 'constant';
  /** Sees the images of every step and the logits that training made of them, [B, classes]. */
  readonly watch?: (indices: Int32Array, logits: Float32Array) => void;
  readonly evaluation?: {
    /** In rounds. */
    readonly every: number;
    run(params: Values): Promise<Record<string, number>>;
  };
  readonly dir?: string;
  readonly resume?: boolean;
  readonly fingerprint?: string;
  readonly signal?: AbortSignal;
}

/** Images of one run of the forward program. */
const chunk = 500;

const augmentations: Record<ClassifierOptions['augment'], Augmentation | undefined> = {
  none: undefined,
  crop: randomShift(4, 0),
  'crop-flip': compose(randomShift(4, 0), horizontalFlip()),
};

/** A network on images of one shape, trained from scratch. Its programs are compiled when first needed, and kept. */
export class Classifier {
  private readonly steps = new Map<string, Promise<TrainStep>>();
  private forward: Promise<Program<'logits' | 'features'>> | undefined;

  constructor(
    readonly options: ClassifierOptions,
    readonly shape: ImageSet['shape'],
    readonly classes: number,
    readonly normalisation: Normalisation,
  ) {}

  /** Logits and features of images [B, C, H, W] by running statistics. */
  readonly network: ImageClassifier = (s, x, norm) =>
    imageClassifier(this.options.network, this.classes)(s, x, norm);

  private step(batch: number, schedule: 'cosine' | 'constant'): Promise<TrainStep> {
    const { learningRate, momentum, weightDecay } = this.options;
    const key = `${batch} ${schedule}`;
    const known = this.steps.get(key);
    if (known) return known;
    const compiled = TrainStep.compile({
      source: 'scratch',
      batch: {
        images: batchOf([batch, ...this.shape]),
        labels: batchOf([batch], 'int64'),
        weights: batchOf([batch]),
      },
      build: (s, { images, labels, weights }) => {
        const { logits } = this.network(s, images!, batchNormInTraining);
        const losses = crossEntropy(logits, labels!, { reduction: 'none' });
        return { loss: losses.mul(weights!).sum().div(weights!.sum()), logits };
      },
      optimizer: sgd({
        lr:
          schedule === 'constant'
            ? learningRate
            : cosine(learningRate, { end: Math.min(1e-4, learningRate) }),
        momentum,
        nesterov: momentum > 0,
        weightDecay,
      }),
    });
    this.steps.set(key, compiled);
    return compiled;
  }

  /**
   * Trains a network with initial values drawn from `seed`. Loss: Σ w ℓ / Σ w of a batch, with the sampler's weights.
   * @throws where images that are no pictures are to be augmented.
   */
  async *train(run: ClassifierRun): AsyncGenerator<TrainEvent, TrainResult> {
    const { images, sampler, seed, rounds, schedule = 'cosine', watch, evaluation, signal } = run;
    const change = augmentations[this.options.augment];
    if (change && 'tensor' in images)
      throw new Error('condensed images are no pictures that could be shifted: set augment to none');
    const { batch, stepsPerEpoch, totalSteps } = stepsOf(sampler, this.options.batch, rounds);
    const step = await this.step(batch, schedule);
    const indicesOf = this.batchIndices(sampler, images);
    // What a selector chose is in no checkpoint: it is chosen again from the parameters at the beginning of a round.
    const wholeRounds = 'select' in sampler;
    const weights = wholeRounds ? undefined : sampler.weights;
    const stop = new AbortController();
    let indices: Int32Array = new Int32Array(0);
    const events = train({
      step,
      seed,
      totalSteps,
      stepsPerEpoch,
      batch: async (t, params) => {
        indices = await indicesOf(t, params);
        return {
          images: this.tensor(
            images,
            indices,
            change && ((image, i) => change(image, new Random(seed, 'augment', t.step, i))),
          ),
          labels: i64(Array.from(indices, (i) => images.labels[i]!)),
          weights: f32(Float32Array.from(indices, (i) => weights?.[i] ?? 1)),
        };
      },
      ...(evaluation && {
        evaluation: {
          every: evaluation.every * stepsPerEpoch,
          run: (state: TrainState) => evaluation.run(state.params),
        },
      }),
      ...(run.dir !== undefined && {
        dir: run.dir,
        checkpointEvery: wholeRounds ? stepsPerEpoch : Math.max(100, stepsPerEpoch),
      }),
      resume: run.resume ?? false,
      fingerprint: run.fingerprint ?? '',
      ...(signal && { signal: wholeRounds ? stop.signal : signal }),
    });
    for (;;) {
      const { done, value } = await events.next();
      if (done) return value;
      if (watch && value.type === 'step') watch(indices, value.observed.logits!.data as Float32Array);
      yield value;
      if (signal?.aborted && value.step % stepsPerEpoch === 0) stop.abort(signal.reason);
    }
  }

  private tensor(images: Images, indices: ArrayLike<number>, change?: Parameters<typeof imageTensor>[3]) {
    return 'tensor' in images
      ? images.tensor(indices)
      : imageTensor(images, this.normalisation, indices, change);
  }

  /** The images of each step; a selector is asked at the first of a round. */
  private batchIndices(
    sampler: ClassifierRun['sampler'],
    images: Images,
  ): (at: Progress, params: Values) => Int32Array | Promise<Int32Array> {
    if (!('select' in sampler)) {
      const indicesOf = sampledBatches(sampler, this.options.batch);
      return ({ step }) => indicesOf(step);
    }
    const { batch, stepsPerEpoch } = stepsOf(sampler, this.options.batch, 1);
    let round: Int32Array = new Int32Array(0);
    return async ({ step, epoch }, params) => {
      const from = (step % stepsPerEpoch) * batch;
      if (from === 0) round = sampler.select(await this.outputs(params, images), epoch);
      return round.subarray(from, from + batch);
    };
  }

  /** What the network of these parameters says of all images, or of some, in evaluation. */
  async outputs(params: Values, images: Images, indices?: ArrayLike<number>): Promise<Outputs> {
    this.forward ??= compile(
      trace('scratch', (s) => ({ ...this.network(s, input('images', [chunk, ...this.shape])) })).result,
      { name: 'classifier' },
    );
    const program = await this.forward;
    const count = indices?.length ?? images.labels.length;
    const widths = { logits: this.classes, features: program.outputs.get('features')!.shape[1]! };
    const all = {
      logits: { data: new Float32Array(count * widths.logits), width: widths.logits },
      features: { data: new Float32Array(count * widths.features), width: widths.features },
    };
    const feeds = feedsOf(program, params);
    for (let from = 0; from < count; from += chunk) {
      const positions = Int32Array.from({ length: chunk }, (_, i) => Math.min(from + i, count - 1));
      const picked = indices ? positions.map((p) => indices[p]!) : positions;
      const out = await program.run({ ...feeds, images: this.tensor(images, picked) });
      const rows = Math.min(chunk, count - from);
      for (const name of ['logits', 'features'] as const) {
        const width = widths[name];
        all[name].data.set((out[name].data as Float32Array).subarray(0, rows * width), from * width);
      }
    }
    return all;
  }

  /** The share of images whose largest logit is at their label. */
  async accuracy(params: Values, images: Images): Promise<number> {
    const { logits } = await this.outputs(params, images);
    let right = 0;
    for (let i = 0; i < images.labels.length; i++) if (argMax(row(logits, i)) === images.labels[i]) right++;
    return right / images.labels.length;
  }

  async release(): Promise<void> {
    for (const step of this.steps.values()) await (await step).release();
    await (await this.forward)?.release();
    this.steps.clear();
    this.forward = undefined;
  }
}

/** The parameters that a program over the same network takes. */
export const feedsOf = (program: Program, params: Values): Values =>
  Object.fromEntries(
    Object.entries(params).flatMap(([name, value]) =>
      program.inputs.has(`param/${name}`) ? [[`param/${name}`, value]] : [],
    ),
  );

/** The first position of the largest value. */
export function argMax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
