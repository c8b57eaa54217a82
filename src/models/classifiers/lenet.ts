import { flatten, maxPool, relu, type Tensor } from '../../graph/index.ts';
import { conv, linear, type Scope } from '../../nn/index.ts';
import type { ClassifierOutput } from './classifier.ts';

/**
 * LeNet-5 with ReLU and max pooling on 28×28 (one channel) or 32×32 (LeCun et al. 1998), with the weight names of
 * dataset condensation's code (Zhao et al., ICLR 2021). Taps: `features:out`.
 */
export function leNet(s: Scope, images: Tensor, classes: number): ClassifierOutput {
  const convolve = (layer: number, x: Tensor, out: number, padding: number) =>
    maxPool(relu(conv(s.at('features').at(layer), x, out, [5, 5], { padding })), 2);
  const x = convolve(3, convolve(0, images, 6, images.dim(1) === 1 ? 2 : 0), 16, 0);
  const flat = flatten(s.at('features').tap('out', x), 1);
  const features = relu(linear(s.at('fc_2'), relu(linear(s.at('fc_1'), flat, 120)), 84));
  return { features, logits: linear(s.at('fc_3'), features, classes) };
}
