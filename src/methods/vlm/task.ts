import type { Dataset } from '../../data/index.ts';
import type { Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import type { Scope } from '../../nn/index.ts';
import type { TrainEvent, Values } from '../../train/index.ts';
import type { ImageFeatures } from './features.ts';

/** A few-shot image classification task on a CLIP. */
export interface TuneTask {
  readonly model: ClipModel;
  /** The images to learn from: already the few shots. */
  readonly train: Dataset;
  /** For choices such as early stopping; may be empty. */
  readonly val: Dataset;
  /** The hand-written prompt; `{}` is the class name. */
  readonly template: string;
  readonly seed: number;
  /** Names all that decides the result, so that a checkpoint of another run is refused. */
  readonly fingerprint: string;
  /** Image features of the frozen model, computed once for each image. */
  readonly features: ImageFeatures;
  /** Where checkpoints and metrics go. */
  readonly dir?: string;
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
}

/** How a model with its adapter classifies images among named classes. */
export interface Classifier {
  /** Replaces the frozen model's image features [B, D] where a method changes the vision tower. */
  readonly imageFeatures?: (scope: Scope, pixels: Tensor) => Tensor;
  /** The most images that go through `head` at once, where each needs much memory. */
  readonly imagesPerRun?: number;
  /** Logits [B, C] of image features. */
  head(scope: Scope, features: Tensor): Tensor;
}

/** What was learned: small tensors and how they act on the base model. */
export interface Adapter {
  /** The learned tensors by name. */
  readonly tensors: Values;
  /** Trained scalars. */
  readonly parameters: number;
  /** Holds only for the classes it was trained on, in their order. */
  readonly fixedClasses?: boolean;
  /**
   * The classifier for these class names. Adapters that learned a head for fixed classes throw for others.
   */
  classifier(model: ClipModel, classes: readonly string[], template: string): Promise<Classifier>;
}

export type Tuning = AsyncGenerator<
  TrainEvent,
  { adapter: Adapter; stopped: 'end' | 'early' | 'interrupted' }
>;
