import type { Tensor } from '../../graph/index.ts';
import * as g from '../../graph/index.ts';
import { batchNorm, conv, groupNorm, linear, onesInit, type Scope, zerosInit } from '../../nn/index.ts';
import type { ClassifierOutput, Norm } from './classifier.ts';

export interface ConvNetConfig {
  readonly classes: number;
  /** Filters of each layer. Default 128. */
  readonly width?: number;
  /** Blocks of convolution, norm, activation and pooling. Default 3. */
  readonly depth?: number;
  readonly norm?: 'instancenorm' | 'groupnorm' | 'layernorm' | 'batchnorm' | 'none';
  readonly activation?: 'relu' | 'leakyrelu' | 'sigmoid' | 'swish';
  readonly pooling?: 'avgpooling' | 'maxpooling' | 'none';
}

const activations = {
  relu: g.relu,
  leakyrelu: (x: Tensor) => g.leakyRelu(x),
  sigmoid: g.sigmoid,
  swish: (x: Tensor) => g.silu(x),
};

/**
 * The ConvNet of dataset condensation (Zhao et al., ICLR 2021; `networks.py` of its code, whose weight names it has), by
 * default ConvNet-3 with instance norm. One-channel images of 28×28 are padded to 32×32 by the first layer.
 *
 * Taps: `features.N:out` after each block's last layer N.
 */
export function convNet(
  s: Scope,
  images: Tensor,
  config: ConvNetConfig,
  byBatchNorm: Norm = batchNorm,
): ClassifierOutput {
  const {
    width = 128,
    depth = 3,
    norm = 'instancenorm',
    activation = 'relu',
    pooling = 'avgpooling',
  } = config;
  const layers = s.at('features');
  /** Positions in the checkpoint's nn.Sequential, where activations and pooling count too. */
  let next = 0;
  const layer = () => layers.at(next++);
  let x = images;
  for (let block = 0; block < depth; block++) {
    const padding = block === 0 && x.dim(1) === 1 && x.dim(2) === 28 ? 3 : 1;
    x = conv(layer(), x, width, [3, 3], { padding });
    if (norm !== 'none') x = normalise(norm, layer(), x, byBatchNorm);
    let last = layer();
    x = activations[activation](x);
    if (pooling !== 'none') {
      last = layer();
      x = pooling === 'avgpooling' ? g.avgPool(x, 2) : g.maxPool(x, 2);
    }
    x = last.tap('out', x);
  }
  const features = g.flatten(x, 1);
  return { features, logits: linear(s.at('classifier'), features, config.classes) };
}

function normalise(kind: string, s: Scope, x: Tensor, byBatchNorm: Norm): Tensor {
  if (kind === 'batchnorm') return byBatchNorm(s, x);
  if (kind === 'layernorm') {
    const shape = x.shape.slice(1);
    return g.layerNorm(x, s.weight('weight', shape, onesInit), s.weight('bias', shape, zerosInit));
  }
  return groupNorm(s, x, kind === 'instancenorm' ? x.dim(1) : 4);
}
