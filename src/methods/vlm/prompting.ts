import { type HostTensor, input, type Tensor, type TensorType } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { cosineLogits, logitScale } from '../../models/clip/index.ts';
import {
  accuracy,
  crossEntropy,
  type Param,
  type Progress,
  type Scope,
  type Traced,
  type Transform,
  type Tree,
  trace,
} from '../../nn/index.ts';
import type { StepOptions } from '../../train/index.ts';
import type { TuneTask } from './task.ts';

/** The class names that prompts are made for. */
export interface Naming {
  readonly model: ClipModel;
  readonly classes: readonly string[];
  /** The hand-written prompt. */
  readonly template: string;
}

/**
 * How a method lets CLIP see images and class names. The functions declare what they train as `param`s of the scope
 * and put interceptors around the towers. To compose, call them with a scope that has interceptors already (a mask
 * on weights), or change what they return.
 */
export interface Prompts {
  /**
   * Text features [C, D], not normalised: from the class names alone, so that an adapter computes them once. With
   * `perImage` they depend on the image features [B, D] and are [B, C, D]. Other shapes need `logits`.
   */
  text(scope: Scope, image: Tensor): Tensor;
  readonly perImage?: boolean;
  /** Image features [B, D] of pixels, not normalised. Absent: the vision tower is left alone and features are cached. */
  image?(scope: Scope, pixels: Tensor): Tensor;
  /** Logits [B, C]. Default: the model's scale times the cosine. */
  logits?(scope: Scope, image: Tensor, text: Tensor): Tensor;
}

/** What a step has computed when its loss is asked for. */
export interface Outputs {
  readonly image: Tensor;
  readonly text: Tensor;
  readonly logits: Tensor;
  readonly labels: Tensor;
  /** Everything that is fed: `features` are those of the frozen tower. */
  readonly batch: Tree;
}

/** What a method asks of training beyond the cross-entropy. */
export interface Training {
  /** The loss, and further scalars to report. */
  objective?(scope: Scope, outputs: Outputs): { loss: Tensor } & Tree;
  /** Changes the raw gradients before the optimizer sees them. */
  readonly gradients?: StepOptions['gradients'];
  /** Updates buffers by the trained tensors after a step. */
  readonly after?: StepOptions['after'];
  /** Other initial values. */
  readonly init?: StepOptions['init'];
  /** Default: Dassl's, see `fitPrompts`. */
  readonly optimizer?: Transform;
  /** Feed cached `features` of the frozen tower even where the method has a tower of its own. */
  readonly frozenFeatures?: boolean;
  /** Further inputs, as functions of the step. */
  readonly inputs?: Record<string, { readonly type: TensorType; at(t: Progress): HostTensor }>;
}

/** A method that prompts CLIP: made from its options, and wrapped by methods that build on it. */
export interface PromptMethod {
  prompts(names: Naming): Promise<Prompts>;
  training?(task: TuneTask): Promise<Training>;
  /** Trained tensors belong to the classes of training. */
  readonly fixedClasses?: boolean;
  /** Names of the buffers that `prompts` read: the adapter keeps them, but they are not trained. */
  readonly buffers?: readonly string[];
}

export const meanCrossEntropy: NonNullable<Training['objective']> = (_s, { logits, labels }) => ({
  loss: crossEntropy(logits, labels),
});

/** The loss and metrics of a batch of `labels` with `pixels` or cached `features`, as a step traces them. */
export function promptLoss(
  scope: Scope,
  model: ClipModel,
  prompts: Prompts,
  training: Training,
  batch: Tree,
): { loss: Tensor } & Tree {
  const labels = batch.labels!;
  const { image, text, logits } = classify(scope, model, prompts, batch);
  const objective = training.objective ?? meanCrossEntropy;
  return {
    ...objective(scope, { image, text, logits, labels, batch }),
    accuracy: accuracy(logits, labels),
  };
}

function classify(scope: Scope, model: ClipModel, prompts: Prompts, batch: Tree) {
  const image = prompts.image?.(scope, batch.pixels!) ?? batch.features!;
  const text = prompts.text(scope, image);
  return { image, text, logits: logitsOf(scope, model, prompts, image, text) };
}

/** Logits [B, C] of image and text features by these prompts. */
export const logitsOf = (
  scope: Scope,
  model: ClipModel,
  prompts: Prompts,
  image: Tensor,
  text: Tensor,
): Tensor =>
  prompts.logits?.(scope, image, text) ?? cosineLogits(image, text, logitScale(scope, model.config));

/** What prompts train, without reading a weight. */
export const trainedBy = (model: ClipModel, prompts: Prompts): readonly Param[] =>
  keptBy(model, prompts).params;

/** The parameters and buffers that prompts read. */
export function keptBy(model: ClipModel, prompts: Prompts): Pick<Traced<unknown>, 'params' | 'buffers'> {
  const { projection, vision } = model.config;
  const batch = {
    features: input('features', [1, projection]),
    pixels: input('pixels', [1, vision.channels, vision.imageSize, vision.imageSize]),
  };
  return trace(model.weights, (s) => classify(s, model, prompts, batch));
}
