import * as g from '../graph/index.ts';
import { constant, type Shape, sizeOf, type Tensor } from '../graph/index.ts';
import { type Initializer, linearBiasInit, linearInit, normalInit, onesInit, zerosInit } from './init.ts';
import type { Scope } from './scope.ts';

/** Layers are functions of a scope; weight names and layouts are those of PyTorch and Hugging Face checkpoints. */

/** x [..., in] → [..., out]: x·Wᵀ + b with `weight` [out, in] and `bias` [out]. */
export function linear(
  s: Scope,
  x: Tensor,
  out: number,
  options: { bias?: boolean; init?: Initializer; biasInit?: Initializer } = {},
): Tensor {
  const fanIn = x.dim(-1);
  const { bias = true, init = linearInit, biasInit = linearBiasInit(fanIn) } = options;
  const y = x.matmul(s.weight('weight', [out, fanIn], init), { transB: true });
  return bias ? y.add(s.weight('bias', [out], biasInit)) : y;
}

/** LayerNorm over the last axis, with `weight` and `bias`. */
export function layerNorm(s: Scope, x: Tensor, eps = 1e-5): Tensor {
  const shape = [x.dim(-1)];
  return g.layerNorm(x, s.weight('weight', shape, onesInit), s.weight('bias', shape, zerosInit), eps);
}

/** RMSNorm over the last axis, with `weight`. */
export const rmsNorm = (s: Scope, x: Tensor, eps = 1e-6): Tensor =>
  g.rmsNorm(x, s.weight('weight', [x.dim(-1)], onesInit), eps);

/** Convolution of x [N, C, ...spatial] with `weight` [out, C / groups, ...kernel] and `bias` [out]. */
export function conv(
  s: Scope,
  x: Tensor,
  out: number,
  kernel: Shape,
  options: g.ConvOptions & { bias?: boolean; init?: Initializer } = {},
): Tensor {
  const { bias = true, init = linearInit, ...window } = options;
  const shape = [out, x.dim(1) / (window.groups ?? 1), ...kernel];
  const b = bias ? s.weight('bias', [out], linearBiasInit(sizeOf(shape.slice(1)))) : undefined;
  return g.conv(x, s.weight('weight', shape, init), b, window);
}

/** GroupNorm of x [N, C, ...] with `weight` and `bias` [C]; as many groups as channels make it InstanceNorm. */
export function groupNorm(s: Scope, x: Tensor, groups: number, eps = 1e-5): Tensor {
  const shape = [x.dim(1)];
  return g.groupNorm(x, groups, s.weight('weight', shape, onesInit), s.weight('bias', shape, zerosInit), eps);
}

/** `weight` and `bias` of a BatchNorm [C]. */
const batchNormScale = (s: Scope, x: Tensor): [Tensor, Tensor] => [
  s.weight('weight', [x.dim(1)], onesInit),
  s.weight('bias', [x.dim(1)], zerosInit),
];

/** BatchNorm of x [N, C, ...] by its `running_mean` and `running_var`, as in evaluation. */
export function batchNorm(s: Scope, x: Tensor, eps = 1e-5): Tensor {
  const vector = (name: string, init: Initializer) => s.weight(name, [x.dim(1)], init);
  const statistics = { mean: vector('running_mean', zerosInit), variance: vector('running_var', onesInit) };
  return g.batchNorm(x, ...batchNormScale(s, x), statistics, eps);
}

/**
 * BatchNorm of x [N, C, ...] by the statistics of the batch, which also move the buffers `running_mean` and `running_var`,
 * as torch.nn.BatchNorm2d in training.
 */
export function batchNormInTraining(s: Scope, x: Tensor, eps = 1e-5, momentum = 0.1): Tensor {
  const batch = g.batchStatistics(x);
  const vector = (name: string, init: Initializer) => s.buffer(name, [x.dim(1)], init);
  const running = { mean: vector('running_mean', zerosInit), variance: vector('running_var', onesInit) };
  const next = g.updateStatistics(running, batch, x.size / x.dim(1), momentum);
  s.update('running_mean', next.mean);
  s.update('running_var', next.variance);
  return g.batchNorm(x, ...batchNormScale(s, x), batch, eps);
}

/** BatchNorm of x [N, C, ...] by the statistics of the batch alone, as test-time adaptation uses it. */
export const batchNormByBatch = (s: Scope, x: Tensor, eps = 1e-5): Tensor =>
  g.batchNorm(x, ...batchNormScale(s, x), g.batchStatistics(x), eps);

/** Rows of `weight` [count, width] for integer ids. */
export const embedding = (
  s: Scope,
  ids: Tensor,
  count: number,
  width: number,
  init = normalInit(1),
): Tensor => g.embedding(s.weight('weight', [count, width], init), ids);

/** The lowest float32: added to a score, it hides a key. */
export const LOWEST = -3.4028234663852886e38;

/**
 * Additive mask [length, keys]: 0 where a position may look, the lowest float32 where it may not. The positions are the
 * last of the keys: all may look at the keys before them.
 */
export function causalMask(length: number, keys = length): Tensor {
  const may = g.lessEqual(g.arange(keys), g.arange(length, keys - length).reshape([length, 1]));
  return g.where(may, constant(0), constant(LOWEST));
}

/**
 * Scaled dot-product attention. `q`, `k`, `v` are [B, heads, T, d]; `mask` broadcasts to [B, heads, Tq, Tk]: numbers
 * are added to the scores (biases, or very low where a position may not look), a bool mask says where it may look; a
 * query that may look nowhere gets zeros, as in PyTorch. `dropout` multiplies the probabilities: a mask that is fed.
 */
export function dotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask?: Tensor,
  scale = 1 / Math.sqrt(q.dim(-1)),
  dropout?: Tensor,
): Tensor {
  const scores = q.matmul(k, { transB: true, alpha: scale });
  const masked = !mask ? scores : mask.dtype === 'bool' ? g.where(mask, scores, LOWEST) : scores.add(mask);
  const probabilities = g.softmax(masked);
  const y = (dropout ? probabilities.mul(dropout) : probabilities).matmul(v);
  return mask?.dtype === 'bool' && mask.node.op !== 'constant'
    ? y.mul(g.any(mask, -1, true).cast(y.dtype))
    : y;
}

/** [B, T, heads·d] → [B, heads, T, d] */
export const splitHeads = (x: Tensor, heads: number): Tensor =>
  x.reshape([x.dim(0), x.dim(1), heads, x.dim(2) / heads]).transpose([0, 2, 1, 3]);
/** [B, heads, T, d] → [B, T, heads·d] */
export const joinHeads = (x: Tensor): Tensor =>
  x.transpose([0, 2, 1, 3]).reshape([x.dim(0), x.dim(2), x.dim(1) * x.dim(3)]);

const tanhGelu = (x: Tensor) => g.gelu(x, 'tanh');

/** Activations under the names of Hugging Face configurations (`hidden_act`). */
export const activations = {
  gelu: (x: Tensor) => g.gelu(x),
  gelu_python: (x: Tensor) => g.gelu(x),
  gelu_10: (x: Tensor) => g.clip(g.gelu(x), -10, 10),
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_accurate: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  gelu_python_tanh: tanhGelu,
  quick_gelu: g.quickGelu,
  silu: (x: Tensor) => g.silu(x),
  swish: (x: Tensor) => g.silu(x),
  mish: g.mish,
  relu: g.relu,
  relu2: (x: Tensor) => g.relu(x).square(),
  relu6: g.relu6,
  leaky_relu: (x: Tensor) => g.leakyRelu(x),
  hardswish: g.hardSwish,
  sigmoid: g.sigmoid,
  tanh: g.tanh,
  linear: (x: Tensor) => x,
} satisfies Record<string, (x: Tensor) => Tensor>;
export type Activation = keyof typeof activations;
