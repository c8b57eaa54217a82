import { globalAvgPool, maxPool, relu, type Tensor } from '../../graph/index.ts';
import { batchNorm, conv, kaimingNormalInit, linear, type Scope } from '../../nn/index.ts';
import type { ClassifierOutput, Norm } from './classifier.ts';

export interface ResNetConfig {
  readonly classes: number;
  /** Blocks of each stage; each stage after the first halves the image and doubles the width. */
  readonly blocks: readonly number[];
  /** Channels of the first stage. Default 64. */
  readonly width?: number;
  /** Blocks of 1×1, 3×3 and 1×1 that end four times as wide, in place of two 3×3. */
  readonly bottleneck?: boolean;
  /** `imagenet`: 7×7 with stride 2, then max pooling. `cifar`: one 3×3, for images of 32×32. */
  readonly stem: 'imagenet' | 'cifar';
}

const sizes = {
  /** 11,689,512 parameters with 1,000 classes; 11,173,962 with 10 and the CIFAR stem. */
  'resnet-18': { blocks: [2, 2, 2, 2], width: 64, bottleneck: false },
  'resnet-50': { blocks: [3, 4, 6, 3], width: 64, bottleneck: true },
  /** He et al., section 4.2, with projections where the width grows (their option B). */
  'resnet-20': { blocks: [3, 3, 3], width: 16, bottleneck: false },
} as const;

/** The configuration of a ResNet by name, for images of 224×224 (`imagenet`) or 32×32 (`cifar`). */
export const resNetConfig = (
  name: keyof typeof sizes,
  classes: number,
  stem: ResNetConfig['stem'] = name === 'resnet-20' ? 'cifar' : 'imagenet',
): ResNetConfig => ({ ...sizes[name], classes, stem });

/** A convolution without bias that keeps the size but for its stride. */
export const convolve = (s: Scope, x: Tensor, out: number, kernel: number, stride = 1): Tensor =>
  conv(s, x, out, [kernel, kernel], {
    stride,
    padding: kernel >> 1,
    bias: false,
    init: kaimingNormalInit('fanOut'),
  });

/**
 * ResNet (He et al., CVPR 2016) with the weight names of torchvision and timm; bottlenecks stride in their 3×3, as both
 * do. Initial values as torchvision draws them.
 *
 * Taps: `conv1:out` after the stem, `layerN.M:out` after each block.
 */
export function resNet(
  s: Scope,
  images: Tensor,
  config: ResNetConfig,
  norm: Norm = batchNorm,
): ClassifierOutput {
  const { width = 64, bottleneck = false, stem } = config;
  const wide = stem === 'imagenet';
  let x = relu(norm(s.at('bn1'), convolve(s.at('conv1'), images, width, wide ? 7 : 3, wide ? 2 : 1)));
  if (wide) x = maxPool(x, 3, { stride: 2, padding: 1 });
  x = s.at('conv1').tap('out', x);
  config.blocks.forEach((count, stage) => {
    for (let i = 0; i < count; i++) {
      const at = s.at(`layer${stage + 1}`).at(i);
      const stride = i === 0 && stage > 0 ? 2 : 1;
      x = at.tap('out', block(at, x, width * 2 ** stage, stride, bottleneck, norm));
    }
  });
  const features = globalAvgPool(x);
  return { features, logits: linear(s.at('fc'), features, config.classes) };
}

function block(s: Scope, x: Tensor, width: number, stride: number, bottleneck: boolean, norm: Norm): Tensor {
  const unit = (i: number, y: Tensor, out: number, kernel: number, step = 1) =>
    norm(s.at(`bn${i}`), convolve(s.at(`conv${i}`), y, out, kernel, step));
  const out = bottleneck ? 4 * width : width;
  const y = bottleneck
    ? unit(3, relu(unit(2, relu(unit(1, x, width, 1)), width, 3, stride)), out, 1)
    : unit(2, relu(unit(1, x, width, 3, stride)), out, 3);
  if (stride === 1 && x.dim(1) === out) return relu(y.add(x));
  const down = s.at('downsample');
  return relu(y.add(norm(down.at(1), convolve(down.at(0), x, out, 1, stride))));
}
