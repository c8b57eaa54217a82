import { flatten, maxPool, relu, type Tensor } from '../../graph/index.ts';
import { batchNorm as byRunningStatistics, conv, linear, type Scope } from '../../nn/index.ts';
import type { ClassifierOutput, Norm } from './classifier.ts';

export interface LeNetConfig {
  readonly classes: number;
  /** Batch norm before each ReLU: in `features`, and `bn_1`, `bn_2`. Default false. */
  readonly batchNorm?: boolean;
}

/**
 * LeNet-5 with ReLU and max pooling on 28×28 (one channel) or 32×32 (LeCun et al. 1998), with the weight names of
 * dataset condensation's code (Zhao et al., ICLR 2021), which has none with batch norm. Taps: `features:out`.
 */
export function leNet(
  s: Scope,
  images: Tensor,
  { classes, batchNorm = false }: LeNetConfig,
  norm: Norm = byRunningStatistics,
): ClassifierOutput {
  /** Positions in the checkpoint's nn.Sequential, where activations and pooling count too. */
  let next = 0;
  const layer = () => s.at('features').at(next++);
  const convolve = (x: Tensor, out: number, padding: number) => {
    const y = conv(layer(), x, out, [5, 5], { padding });
    const normal = batchNorm ? norm(layer(), y) : y;
    next += 2;
    return maxPool(relu(normal), 2);
  };
  const full = (i: number, x: Tensor, out: number) => {
    const y = linear(s.at(`fc_${i}`), x, out);
    return relu(batchNorm ? norm(s.at(`bn_${i}`), y) : y);
  };
  const x = convolve(convolve(images, 6, images.dim(1) === 1 ? 2 : 0), 16, 0);
  const features = full(2, full(1, flatten(s.at('features').tap('out', x), 1), 120), 84);
  return { features, logits: linear(s.at('fc_3'), features, classes) };
}
