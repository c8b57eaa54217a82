import { z } from 'zod';
import { type ImageSet, normalisationOf } from '../../data/index.ts';
import { fullSampler, subsetSampler, type TrainResult } from '../../train/index.ts';
import {
  argMax,
  Classifier,
  type ClassifierRun,
  classifierOptions,
  type Outputs,
} from '../classify/classifier.ts';
import { InterruptedError } from '../events.ts';
import { type Rows, row } from '../gram/k-means.ts';
import { perturbations } from './deepfool.ts';
import type { ScoreRun, Scores } from './selector.ts';
import { type Clock, wallClock } from './time-to-accuracy.ts';

/** How the networks that score images are trained. */
export const scoringOptions = z.strictObject({
  ...classifierOptions.omit({ rounds: true }).shape,
  scoringEpochs: z.int().positive().default(10).describe('epochs of pre-training on all images'),
  runs: z.int().positive().default(10).describe('pre-trainings that GraNd and EL2N average over'),
  activeEpochs: z.int().positive().default(200).describe('epochs of each training of active learning'),
});
export type ScoringOptions = z.output<typeof scoringOptions>;

/** The longest side of the pixels that stand for features no label shaped. */
const thumbnail = 14;

/** Trains networks when scores are asked for, and keeps what they say. */
export class Scoring implements Scores {
  readonly runs: number;
  private readonly classifier: Classifier;
  private readonly known = new Map<string, Promise<{ value: unknown; seconds: number }>>();
  private used = new Set<string>();
  private readonly clock: Clock;

  constructor(
    private readonly images: ImageSet,
    private readonly options: ScoringOptions,
    private readonly seed: number,
    private readonly more: {
      readonly signal?: AbortSignal;
      readonly onProgress?: (text: string, done: number, total: number) => void;
      /** What `timed` reads (default: the wall clock). */
      readonly clock?: Clock;
    } = {},
  ) {
    const { scoringEpochs: _e, runs, activeEpochs: _a, ...network } = options;
    this.runs = runs;
    this.clock = more.clock ?? wallClock;
    const complete = { ...network, rounds: options.scoringEpochs };
    this.classifier = new Classifier(complete, images.shape, images.classes.length, normalisationOf(images));
  }

  async remember<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.used.add(name);
    const before = this.known.get(name);
    if (before) return (await before).value as T;
    const started = this.clock();
    const value = work();
    const seconds = () => this.clock() - started;
    this.known.set(
      name,
      value.then((v) => ({ value: v, seconds: seconds() })),
    );
    return value;
  }

  run = (n = 0) => this.remember(`pre-training ${n + 1}`, () => this.pretrain(n));

  /** Seconds of `work`, as if nothing had been remembered before. */
  async timed<T>(work: () => Promise<T>): Promise<{ result: T; seconds: number }> {
    const before = new Set(this.known.keys());
    this.used = new Set();
    const started = this.clock();
    const result = await work();
    let seconds = this.clock() - started;
    for (const name of this.used) if (before.has(name)) seconds += (await this.known.get(name)!).seconds;
    return { result, seconds };
  }

  private async pretrain(n: number): Promise<ScoreRun & { params: TrainResult['params'] }> {
    const { images } = this;
    const count = images.labels.length;
    const classes = images.classes.length;
    const [forgotten, right, visits] = [
      new Float64Array(count),
      new Uint8Array(count),
      new Float64Array(count),
    ];
    const learned = new Uint8Array(count);
    const margins = new Float64Array(count);
    const watch = (indices: Int32Array, logits: Float32Array) =>
      indices.forEach((i, at) => {
        const z = logits.subarray(at * classes, (at + 1) * classes);
        const label = images.labels[i]!;
        const now = argMax(z) === label ? 1 : 0;
        if (right[i] && !now) forgotten[i]!++;
        right[i] = now;
        learned[i]! |= now;
        const rival = z.reduce(
          (most, v, k) => (k === label ? most : Math.max(most, v)),
          Number.NEGATIVE_INFINITY,
        );
        margins[i]! += z[label]! - rival;
        visits[i]!++;
      });
    const seed = this.seed + 1000 * n;
    const { params } = await this.train(`pre-training ${n + 1}`, {
      images,
      sampler: fullSampler(count, seed),
      seed,
      rounds: this.options.scoringEpochs,
      schedule: 'constant',
      watch,
    });
    const outputs = await this.classifier.outputs(params, images);
    const means = margins.map((m, i) => m / Math.max(1, visits[i]!));
    return { params, outputs, forgotten, learned, margins: means };
  }

  private async train(text: string, run: ClassifierRun): Promise<TrainResult> {
    const { signal, onProgress } = this.more;
    const events = this.classifier.train({ ...run, ...(signal && { signal }) });
    for (;;) {
      const { done, value } = await events.next();
      if (!done) {
        if (value.type === 'step') onProgress?.(text, value.step, value.totalSteps);
        continue;
      }
      if (value.stopped === 'interrupted') throw new InterruptedError('interrupted; nothing was selected');
      return value;
    }
  }

  trainedOn(indices: readonly number[]): Promise<Outputs> {
    const { images, seed } = this;
    return this.remember(`trained on ${indices}`, async () => {
      const { params } = await this.train(`active learning from ${indices.length} images`, {
        images,
        sampler: subsetSampler(indices, images.labels.length, seed),
        seed,
        rounds: this.options.activeEpochs,
      });
      return this.classifier.outputs(params, images);
    });
  }

  /** Pixels, averaged over squares until no side is longer than 14. */
  async embeddings(): Promise<Rows> {
    const { images, shape } = this.images;
    const [channels, height, width] = shape;
    const side = Math.ceil(Math.max(height, width) / thumbnail);
    const [rows, columns] = [Math.floor(height / side), Math.floor(width / side)];
    const d = channels * rows * columns;
    const data = new Float32Array(images.length * d);
    images.forEach((image, n) => {
      const out = row({ data, width: d }, n);
      for (let y = 0; y < rows * side; y++) {
        for (let x = 0; x < columns * side; x++) {
          const cell = Math.floor(y / side) * columns + Math.floor(x / side);
          for (let c = 0; c < channels; c++)
            out[c * rows * columns + cell]! += image.data[(y * width + x) * 3 + c]! / (255 * side * side);
        }
      }
    });
    return { data, width: d };
  }

  async perturbations(): Promise<Float64Array> {
    const { params, outputs } = await this.run();
    const { onProgress } = this.more;
    return this.remember('perturbations', () =>
      perturbations(this.classifier, params, this.images, outputs.logits, (done, total) =>
        onProgress?.('perturbing images', done, total),
      ),
    );
  }

  release(): Promise<void> {
    return this.classifier.release();
  }
}
