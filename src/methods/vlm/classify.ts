import { constant, type HostTensor, input, softmax, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { cosineLogits, logitScale, visionTower } from '../../models/clip/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { Classifier } from './task.ts';

/** A classifier whose class vectors [C, D] are text features that no longer change. */
export function textClassifier(model: ClipModel, text: HostTensor): Classifier {
  return { head: (s, features) => cosineLogits(features, constant(text), logitScale(s, model.config)) };
}

/** Class probabilities [B, C] of preprocessed pixels: the whole path, as it is exported. */
export function probabilities(
  model: ClipModel,
  classifier: Classifier,
  scope: Scope,
  pixels: Tensor,
): Tensor {
  const features =
    classifier.imageFeatures?.(scope, pixels) ?? visionTower(scope, pixels, model.config).features;
  return softmax(classifier.head(scope, features));
}

/** Logits [N, C] of image features [N, D] that are already known. */
export async function scoreFeatures(
  model: ClipModel,
  classifier: Classifier,
  features: HostTensor<'float32'>,
): Promise<HostTensor<'float32'>> {
  const x = input('features', features.shape);
  const { result: logits } = trace(model.weights, (s) => classifier.head(s, x));
  const out = await runOnce({ logits }, { features }, { name: 'classifier' });
  return out.logits as HostTensor<'float32'>;
}

export interface Score {
  /** Share of images whose highest logit is at their label (not averaged by class). */
  readonly accuracy: number;
  readonly images: number;
  /** Accuracy of each class; NaN where a class has no images. */
  readonly perClass: readonly number[];
}

/** Top-1 accuracy of logits [N, C]. Throws where there is nothing to score or a logit is not a number. */
export function score(logits: HostTensor<'float32'>, labels: readonly number[]): Score {
  const [n, classes] = logits.shape as [number, number];
  if (n === 0) throw new Error('There are no images to evaluate on');
  const hits = new Array<number>(classes).fill(0);
  const totals = new Array<number>(classes).fill(0);
  labels.forEach((label, i) => {
    const row = logits.data.subarray(i * classes, (i + 1) * classes);
    if (!row.every(Number.isFinite)) throw new Error(`The logits of image ${i} are not finite numbers`);
    totals[label]!++;
    if (row.indexOf(Math.max(...row)) === label) hits[label]!++;
  });
  return {
    accuracy: hits.reduce((a, b) => a + b, 0) / n,
    images: n,
    perClass: hits.map((h, i) => h / totals[i]!),
  };
}
