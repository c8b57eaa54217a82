import { globalAvgPool, relu, type Tensor } from '../../graph/index.ts';
import { batchNorm, linear, type Scope, zerosInit } from '../../nn/index.ts';
import type { ClassifierOutput, Norm } from './classifier.ts';
import { convolve } from './resnet.ts';

export interface WideResNetConfig {
  readonly classes: number;
  /** 6n + 4 layers. Default 40. */
  readonly depth?: number;
  /** Channels of the stages are 16, 32 and 64 times this. Default 2. */
  readonly widen?: number;
  /** Channels of the stem. Default 16. */
  readonly width?: number;
}

/**
 * WideResNet (Zagoruyko & Komodakis, BMVC 2016) for 32×32 images, by default WRN-40-2, with the weight names of
 * RobustBench's checkpoints. Those take images in [0, 1], normalised by mean and deviation 0.5 where AugMix trained them.
 *
 * Taps: `blockN.layer.M:out` after each block.
 */
export function wideResNet(
  s: Scope,
  images: Tensor,
  config: WideResNetConfig,
  norm: Norm = batchNorm,
): ClassifierOutput {
  const { classes, depth = 40, widen = 2, width = 16 } = config;
  const count = (depth - 4) / 6;
  if (!Number.isInteger(count) || count < 1) {
    throw new Error(`A WideResNet has 6n + 4 layers, such as 16, 28 or 40, not ${depth}`);
  }
  let x = convolve(s.at('conv1'), images, width, 3);
  for (let stage = 0; stage < 3; stage++) {
    for (let i = 0; i < count; i++) {
      const at = s
        .at(`block${stage + 1}`)
        .at('layer')
        .at(i);
      x = at.tap('out', block(at, x, width * widen * 2 ** stage, i === 0 && stage > 0 ? 2 : 1, norm));
    }
  }
  const features = globalAvgPool(relu(norm(s.at('bn1'), x)));
  return { features, logits: linear(s.at('fc'), features, classes, { biasInit: zerosInit }) };
}

/** Norm and activation come before each convolution; where the width changes, the shortcut reads them too. */
function block(s: Scope, x: Tensor, out: number, stride: number, norm: Norm): Tensor {
  const active = relu(norm(s.at('bn1'), x));
  const inner = relu(norm(s.at('bn2'), convolve(s.at('conv1'), active, out, 3, stride)));
  const y = convolve(s.at('conv2'), inner, out, 3);
  return y.add(x.dim(1) === out ? x : convolve(s.at('convShortcut'), active, out, 1, stride));
}
