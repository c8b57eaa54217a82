import { avgPool, relu, type Tensor } from '../../src/graph/index.ts';
import { conv, groupNorm, linear, type Scope } from '../../src/nn/index.ts';

/** ConvNet-3 of dataset distillation (Zhao et al. 2021): three blocks of convolution, instance norm, ReLU, pooling. */
export function convNet(s: Scope, images: Tensor, width = 128, depth = 3, classes = 10): Tensor {
  let x = images;
  for (let i = 0; i < depth; i++) {
    x = conv(s.at(`conv${i}`), x, width, [3, 3], { padding: 1 });
    x = avgPool(relu(groupNorm(s.at(`norm${i}`), x, width)), 2);
  }
  return linear(s.at('classifier'), x.reshape([x.dim(0), -1]), classes);
}
