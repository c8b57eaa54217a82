import { constant, type HostTensor, input, softmax, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { cosineLogits, logitScale, visionTower } from '../../models/clip/index.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { compile } from '../../runtime/index.ts';
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
  { shape, data }: HostTensor<'float32'>,
): Promise<HostTensor<'float32'>> {
  const [n, width] = shape as [number, number];
  const batch = Math.max(1, Math.min(n, classifier.imagesPerRun ?? n));
  const x = input('features', [batch, width]);
  const { result: logits } = trace(model.weights, (s) => classifier.head(s, x));
  const classes = logits.shape[1]!;
  const program = await compile({ logits }, { name: 'classifier' });
  const out = new Float32Array(n * classes);
  for (let i = 0; i < n; i += batch) {
    // The last batch overlaps the one before it, so that one program serves all.
    const from = Math.min(i, n - batch);
    const part = data.subarray(from * width, (from + batch) * width);
    const run = await program.run({ features: { dtype: 'float32', shape: [batch, width], data: part } });
    out.set(run.logits.data as Float32Array, from * classes);
  }
  await program.release();
  return { dtype: 'float32', shape: [n, classes], data: out };
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
