import { applyDsa, type DsaOp, drawDsa } from '../../data/index.ts';
import { grad, type HostTensor, i64, input, memoryWeights, type Tensor, zeros } from '../../graph/index.ts';
import type { ImageClassifier, Norm } from '../../models/classifiers/index.ts';
import {
  type Buffer,
  batchNormInTraining,
  crossEntropy,
  mapTree,
  type Param,
  type Schedule,
  sgd,
  type Transform,
  type Tree,
  trace,
} from '../../nn/index.ts';
import { compile, type Program, Random } from '../../runtime/index.ts';
import { batchOf, initParams, type TrainState, TrainStep, type Values } from '../../train/index.ts';
import { argMax, feedsOf } from '../classify/classifier.ts';
import { changesOf, changeTypes } from './changes.ts';
import type { LabelledImages } from './images.ts';

/** How a network is trained on few images: SGD. */
export interface Recipe {
  readonly learningRate: Schedule | number;
  readonly momentum?: number;
  readonly weightDecay?: number;
  /** Changes each image of a batch by one of these ops, with parameters of its own. */
  readonly dsa?: readonly DsaOp[];
}

/** Images of a step, as in the reference code. */
const batch = 256;
/** Images of one run of the forward program. */
const chunk = 500;

/** Weights that are all given. */
const nothing = memoryWeights({}, 'no weights');

/** An architecture on images of one shape. Its programs are compiled when first needed, and kept. */
export class Network {
  /** What is trained, and what training keeps beside it: running statistics. */
  readonly params: readonly Param[];
  readonly buffers: readonly Buffer[];
  private readonly optimizer: Transform;
  private readonly steps = new Map<number, Promise<TrainStep>>();
  private readonly statistic = new Map<number, Promise<Program>>();
  private forward: Promise<Program<'logits'>> | undefined;

  constructor(
    private readonly build: ImageClassifier,
    readonly shape: LabelledImages['shape'],
    private readonly recipe: Recipe,
  ) {
    const { params, buffers } = trace('scratch', (s) =>
      build(s, input('images', [2, ...shape]), batchNormInTraining),
    );
    this.params = params;
    this.buffers = [...buffers.values()];
    const { learningRate: lr, momentum = 0, weightDecay = 0 } = recipe;
    this.optimizer = sgd({ lr, momentum, weightDecay });
  }

  /** [height, width] */
  get size(): readonly [number, number] {
    return [this.shape[1], this.shape[2]];
  }

  /** Initial values of a new network: parameters and buffers. */
  fresh(seed: number): Promise<Values> {
    return initParams([...this.params, ...this.buffers], seed);
  }

  /** Inputs `net/NAME` for all values. */
  inputs(): Tree {
    return Object.fromEntries(
      [...this.params, ...this.buffers].map(({ name, shape }) => [name, input(`net/${name}`, shape)]),
    );
  }

  /** Logits of images with these values, by running statistics where there are any. */
  logits(values: Tree, images: Tensor): Tensor {
    return trace(nothing, (s) => this.build(s.bind(values).trained(), images)).result.logits;
  }

  /**
   * Gradients of the cross-entropy Σ w ℓ / Σ w (without weights its mean) by `names`: tensors that can be differentiated
   * again, also by the images.
   */
  gradients(values: Tree, names: readonly string[], images: Tensor, labels: Tensor, weights?: Tensor): Tree {
    const losses = crossEntropy(this.logits(values, images), labels, { reduction: 'none' });
    const loss = weights ? losses.mul(weights).sum().div(weights.sum()) : losses.mean();
    const gradients = grad(
      loss,
      names.map((name) => values[name]!),
    );
    return Object.fromEntries(names.map((name, i) => [name, gradients[i]!]));
  }

  /** The running statistics after a forward pass in training over these images, with the other values as they are. */
  async statistics(values: Values, images: HostTensor<'float32'>): Promise<Values> {
    if (this.buffers.length === 0) return values;
    const count = images.shape[0]!;
    let program = this.statistic.get(count);
    if (!program) {
      const { buffers } = trace('scratch', (s) =>
        this.build(s, input('images', [count, ...this.shape]), batchNormInTraining),
      );
      program = compile(
        Object.fromEntries([...buffers.values()].map(({ name, next }) => [`next/${name}`, next])),
        { name: 'running statistics' },
      );
      this.statistic.set(count, program);
    }
    const ready = await program;
    const out = await ready.run({ ...feedsOf(ready, values), images });
    const next = Object.entries(out).map(([name, value]) => [name.slice('next/'.length), value]);
    return { ...values, ...Object.fromEntries(next) };
  }

  private step(count: number): Promise<TrainStep> {
    const known = this.steps.get(count);
    if (known) return known;
    const { dsa } = this.recipe;
    const compiled = TrainStep.compile({
      source: 'scratch',
      batch: {
        images: batchOf([count, ...this.shape]),
        labels: batchOf([count], 'int64'),
        ...(dsa && changeTypes(this.size, count)),
      },
      build: (s, { images, labels, ...changes }) => {
        const x = dsa ? applyDsa(images!, changesOf(changes)) : images!;
        const byBatch: Norm = (scope, y) => batchNormInTraining(scope, y);
        return { loss: crossEntropy(this.build(s, x, byBatch).logits, labels!) };
      },
      optimizer: this.optimizer,
    });
    this.steps.set(count, compiled);
    return compiled;
  }

  /** These values with a new optimizer. */
  untrained(params: Values): TrainState {
    const shapes = this.optimizer.init(Object.fromEntries(this.params.map((p) => [p.name, p.shape])));
    return { params, optimizer: mapTree(shapes, (shape) => zeros(shape)) };
  }

  /** One pass over the images in batches of 256, shuffled; the last may be smaller. */
  async epoch(state: TrainState, images: LabelledImages, random: Random, epoch: number): Promise<TrainState> {
    const { dsa } = this.recipe;
    const count = images.labels.length;
    const order = random.permutation(count);
    let next = state;
    for (let from = 0; from < count; from += batch) {
      const picked = order.subarray(from, from + batch);
      const step = await this.step(picked.length);
      const fed: Values = {
        images: images.tensor(picked),
        labels: i64(Array.from(picked, (i) => images.labels[i]!)),
        ...(dsa && drawDsa(random, this.size, { ops: dsa, count: picked.length })),
      };
      const at = { step: epoch, epoch, stepsPerEpoch: 1, totalSteps: 1 };
      next = (await step.run(next, fed, at)).state;
    }
    return next;
  }

  /** The share of images whose largest logit is at their label, by running statistics. */
  async accuracy(values: Values, images: LabelledImages): Promise<number> {
    this.forward ??= compile(
      { logits: this.logits(this.inputs(), input('images', [chunk, ...this.shape])) },
      { name: 'classifier' },
    );
    const program = await this.forward;
    const fed = netFeeds(values);
    const count = images.labels.length;
    let right = 0;
    for (let from = 0; from < count; from += chunk) {
      const picked = Int32Array.from({ length: chunk }, (_, i) => Math.min(from + i, count - 1));
      const { logits } = await program.run({ ...fed, images: images.tensor(picked) });
      const width = logits.shape[1]!;
      for (let i = 0; i < Math.min(chunk, count - from); i++) {
        const row = (logits.data as Float32Array).subarray(i * width, (i + 1) * width);
        if (argMax(row) === images.labels[from + i]) right++;
      }
    }
    return right / count;
  }

  async release(): Promise<void> {
    for (const step of this.steps.values()) await (await step).release();
    for (const program of this.statistic.values()) await (await program).release();
    await (await this.forward)?.release();
    this.steps.clear();
    this.statistic.clear();
    this.forward = undefined;
  }
}

/** Values for the inputs of `Network.inputs`. */
export const netFeeds = (values: Values): Values =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`net/${name}`, value]));

/** The seed of one of many networks of a run. */
export const networkSeed = (seed: number, ...stream: (number | string)[]): number =>
  new Random(seed, 'network', ...stream).uint32();
