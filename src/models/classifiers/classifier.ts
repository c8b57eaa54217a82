import type { Tensor } from '../../graph/index.ts';
import type { Scope } from '../../nn/index.ts';

/** What a classifier makes of images [B, C, H, W]. */
export interface ClassifierOutput {
  /** The input of the last linear layer: [B, D]. */
  readonly features: Tensor;
  /** [B, classes] */
  readonly logits: Tensor;
}

/** Batch norm of x [N, C, ...]: by running statistics (`batchNorm` of attune/nn), or by those of the batch. */
export type Norm = (s: Scope, x: Tensor) => Tensor;

/** A network on images [B, C, H, W]; `norm` takes the place of batch norm by running statistics. */
export type ImageClassifier = (s: Scope, images: Tensor, norm?: Norm) => ClassifierOutput;
