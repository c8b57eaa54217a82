import {
  batchNorm,
  batchStatistics,
  globalAvgPool,
  relu,
  type Tensor,
  updateStatistics,
} from '../../src/graph/index.ts';
import {
  chain,
  conv,
  linear,
  onesInit,
  type Scope,
  type Transform,
  type Tree,
  zerosInit,
} from '../../src/nn/index.ts';

/** ResNet-18 for 32×32 images (He et al. 2016): a 3×3 stem, batch norm by the statistics of the batch. */
export function resNet18(s: Scope, images: Tensor, norm: BatchNorm, classes = 10): Tensor {
  const convolve = (at: Scope, x: Tensor, out: number, kernel: number, stride: number) =>
    conv(at, x, out, [kernel, kernel], { stride, padding: kernel >> 1, bias: false });
  const block = (at: Scope, x: Tensor, out: number, stride: number): Tensor => {
    const y = relu(norm(at.at('bn1'), convolve(at.at('conv1'), x, out, 3, stride)));
    const z = norm(at.at('bn2'), convolve(at.at('conv2'), y, out, 3, 1));
    if (stride === 1 && x.dim(1) === out) return relu(z.add(x));
    const down = at.at('downsample');
    return relu(z.add(norm(down.at(1), convolve(down.at(0), x, out, 1, stride))));
  };
  let x = relu(norm(s.at('bn1'), convolve(s.at('conv1'), images, 64, 3, 1)));
  for (const [i, width] of [64, 128, 256, 512].entries()) {
    const layer = s.at(`layer${i + 1}`);
    x = block(layer.at(0), x, width, i === 0 ? 1 : 2);
    x = block(layer.at(1), x, width, 1);
  }
  return linear(s.at('fc'), globalAvgPool(x), classes);
}

type BatchNorm = (s: Scope, x: Tensor) => Tensor;

/** Batch norm whose running statistics are kept with the optimizer's state, from zero. */
export function runningStatistics(): { norm: BatchNorm; transform: (optimizer: Transform) => Transform } {
  const seen = new Map<string, { channels: number; update(mean: Tensor, variance: Tensor): Tree }>();
  const norm: BatchNorm = (s, x) => {
    const [scale, bias] = [s.weight('weight', [x.dim(1)], onesInit), s.weight('bias', [x.dim(1)], zerosInit)];
    const batch = batchStatistics(x);
    const update = (mean: Tensor, variance: Tensor): Tree => ({
      ...updateStatistics({ mean, variance }, batch, x.size / x.dim(1)),
    });
    seen.set(s.path, { channels: x.dim(1), update });
    return batchNorm(x, scale, bias, batch);
  };
  const keep: Transform = {
    init: () =>
      Object.fromEntries(
        [...seen].flatMap(([path, { channels }]) =>
          ['mean', 'variance'].map((key) => [`v/${path}.${key}`, [channels]]),
        ),
      ),
    update: (updates, state) => ({
      updates,
      state: Object.fromEntries(
        [...seen].flatMap(([path, { update }]) => {
          const next = update(state[`v/${path}.mean`]!, state[`v/${path}.variance`]!);
          return Object.entries(next).map(([key, t]) => [`v/${path}.${key}`, t]);
        }),
      ),
    }),
  };
  return { norm, transform: (optimizer) => chain(optimizer, keep) };
}
