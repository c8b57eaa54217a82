import type { DsaOp } from '../../data/index.ts';
import type { ImageClassifier } from '../../models/classifiers/index.ts';
import { Random } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { figureOf } from '../study/summary.ts';
import type { LabelledImages } from './images.ts';
import { Network, networkSeed } from './network.ts';

/** How networks are trained to judge a set of images; defaults are those of the reference code. */
export interface EvaluationRecipe {
  /** Default 300, with `dsa` 1000. */
  readonly epochs?: number;
  /** Default 0.01; a tenth of it after half of the epochs, where momentum begins anew. */
  readonly learningRate?: number;
  /** Changes each image by one of these ops. */
  readonly dsa?: readonly DsaOp[] | undefined;
  readonly seed: number;
}

/** Accuracies of networks, one each, with their mean and deviation. */
export interface Judged {
  readonly mean: number;
  readonly deviation: number;
  readonly accuracies: readonly number[];
}

export const judged = (accuracies: readonly number[]): Judged => {
  const { mean, std } = figureOf(accuracies);
  return { mean, deviation: std, accuracies };
};

/**
 * Trains networks of one architecture on sets of images of one shape, and measures them on others. SGD with momentum 0.9
 * and weight decay 5e-4 in batches of 256; E + 1 epochs, the last ⌊E/2⌋ − 1 of them at a tenth of the learning rate, as in
 * the reference code.
 */
export class Judge {
  private readonly network: Network;
  private readonly epochs: number;
  private readonly seed: number;

  constructor(build: ImageClassifier, shape: LabelledImages['shape'], recipe: EvaluationRecipe) {
    const { dsa, learningRate = 0.01, epochs = dsa ? 1000 : 300, seed } = recipe;
    this.epochs = epochs;
    this.seed = seed;
    this.network = new Network(build, shape, {
      learningRate: ({ epoch }) => (epoch > this.drop ? learningRate / 10 : learningRate),
      momentum: 0.9,
      weightDecay: 5e-4,
      ...(dsa && { dsa }),
    });
  }

  /** The last epoch at the full learning rate. */
  private get drop(): number {
    return Math.floor(this.epochs / 2) + 1;
  }

  /** Trains network number `n` of this seed, or goes on from `params`. */
  async train(images: LabelledImages, n: number, signal?: AbortSignal, params?: Values): Promise<Values> {
    const { network, seed } = this;
    let state = network.untrained(params ?? (await network.fresh(networkSeed(seed, 'judge', n))));
    for (let epoch = 0; epoch <= this.epochs; epoch++) {
      signal?.throwIfAborted();
      if (epoch === this.drop + 1) state = network.untrained(state.params);
      state = await network.epoch(state, images, new Random(seed, 'judge', n, epoch), epoch);
    }
    return state.params;
  }

  accuracy(params: Values, test: LabelledImages): Promise<number> {
    return this.network.accuracy(params, test);
  }

  /** Accuracy on `test` of network number `n` trained on `images`. */
  async judge(
    images: LabelledImages,
    test: LabelledImages,
    n: number,
    signal?: AbortSignal,
  ): Promise<number> {
    return this.accuracy(await this.train(images, n, signal), test);
  }

  release(): Promise<void> {
    return this.network.release();
  }
}
