import { flatten, relu, type Tensor } from '../../graph/index.ts';
import { batchNorm as byRunningStatistics, linear, type Scope } from '../../nn/index.ts';
import type { ClassifierOutput, Norm } from './classifier.ts';

export interface MlpConfig {
  readonly classes: number;
  /** Units of the hidden layers. Default 128, 128, as in dataset condensation. */
  readonly widths?: readonly number[];
  /** Batch norm before each ReLU: `bn_1`, `bn_2`, …. Default false. */
  readonly batchNorm?: boolean;
}

/**
 * Linear layers with ReLU between them on flattened images [B, ...]: `fc_1`, `fc_2`, …, named as in dataset
 * condensation's code (Zhao et al., ICLR 2021).
 *
 * Taps: `fc_N:out` after each hidden layer's ReLU.
 */
export function mlp(
  s: Scope,
  images: Tensor,
  { classes, widths = [128, 128], batchNorm = false }: MlpConfig,
  norm: Norm = byRunningStatistics,
): ClassifierOutput {
  let x = flatten(images, 1);
  widths.forEach((width, i) => {
    const y = linear(s.at(`fc_${i + 1}`), x, width);
    x = s.at(`fc_${i + 1}`).tap('out', relu(batchNorm ? norm(s.at(`bn_${i + 1}`), y) : y));
  });
  return { features: x, logits: linear(s.at(`fc_${widths.length + 1}`), x, classes) };
}
