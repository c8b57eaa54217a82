import type { Pixels } from '../../data/index.ts';
import type { HostTensor } from '../../graph/index.ts';
import type { TrainState, Values } from '../../train/index.ts';
import { CottaAdaptation } from './cotta.ts';
import { EntropyAdaptation } from './entropy.ts';
import { Forward, type SourceModel, trainable } from './model.ts';
import { type AdaptationOptions, hosts, requireConsistent } from './options.ts';
import { fisherInformation, type SourceImages, shiftAgnosticism } from './preparation.ts';

/** What adaptation makes of a batch. */
export interface Adapted {
  /** The predictions, made before the update: [n, K]. */
  readonly logits: HostTensor;
  /** With the filter, 1 where Φ keeps an image: [n]. */
  readonly kept?: HostTensor;
  /** Share of the images that were learned from. */
  readonly selected?: number;
}

/** A classifier that learns from the images that it predicts. */
export interface Adaptation {
  /**
   * Predicts the classes of a batch, at least two images, and learns from it.
   * @throws where the loss or a weight is no number any more.
   */
  step(images: readonly Pixels[]): Promise<Adapted>;
  /** Back to the source model and a fresh optimizer. */
  reset(): void;
  /** All that steps change; undefined before the first. */
  readonly state: TrainState | undefined;
  /** Since the last reset. */
  readonly steps: number;
  /** Goes on from there. */
  resume(state: TrainState | undefined, steps: number): void;
  /** All weights of the network as they are now, with the running statistics of the source model. */
  weights(): Values;
  release(): Promise<void>;
}

/** Source and BN adapt: nothing is learned. */
class FixedAdaptation implements Adaptation {
  private readonly forward: Forward;
  readonly state = undefined;
  steps = 0;

  constructor(
    private readonly model: SourceModel,
    statistics: 'batch' | 'running',
  ) {
    this.forward = new Forward(model, statistics);
  }

  async step(images: readonly Pixels[]): Promise<Adapted> {
    this.steps++;
    return { logits: await this.forward.run(images) };
  }
  reset(): void {
    this.steps = 0;
  }
  resume(_state: TrainState | undefined, steps: number): void {
    this.steps = steps;
  }
  weights = (): Values => this.model.weights;
  release = (): Promise<void> => this.forward.release();
}

/** The source model as it is. */
export const frozenModel = (model: SourceModel): Adaptation => new FixedAdaptation(model, 'running');

/** Whether a method looks at source images before it is deployed. */
export const needsSource = ({ method, fisherWeight, shiftWeight }: AdaptationOptions): boolean =>
  (method === 'eata' && fisherWeight > 0) || (method === 'swr' && shiftWeight > 0);

/**
 * Prepares a method on a model. `source`: training images, for methods that need them.
 * @throws where options contradict each other, source images are missing, or the network has nothing to train.
 */
export async function prepareAdaptation(
  model: SourceModel,
  options: AdaptationOptions,
  source?: SourceImages,
): Promise<Adaptation> {
  requireConsistent(options);
  const { method } = options;
  const { trained } = hosts[method];
  if (method === 'source' || method === 'bn')
    return new FixedAdaptation(model, method === 'bn' ? 'batch' : 'running');
  const params = trainable(model, trained === 'all' ? 'all' : 'norm');
  if (method === 'cotta') return new CottaAdaptation(model, params, options);
  const names = params.map((p) => p.name);
  if (!needsSource(options)) return new EntropyAdaptation(model, params, options, {});
  if (!source) throw new Error(`${method} looks at training images first, and none are given`);
  return new EntropyAdaptation(
    model,
    params,
    options,
    method === 'eata'
      ? { fisher: await fisherInformation(model, names, source, options) }
      : { held: await shiftAgnosticism(model, names, source, options) },
  );
}
