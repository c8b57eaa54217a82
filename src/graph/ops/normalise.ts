import type { Shape } from '../host.ts';
import type { Rules } from '../rule.ts';
import { apply, constant, type Tensor } from '../tensor.ts';
import { axisOf, opError, requireFloat, sameShape } from './common.ts';
import { customGradient } from './custom.ts';
import { add, div, exp, mul, onnxTypes, reciprocal, sqrt, sub } from './elementwise.ts';
import { mean, sum, sumTo, variance } from './reduce.ts';
import { expand, reshape } from './shape.ts';

export const normaliseRules: Rules<'softmax' | 'logSoftmax' | 'layerNorm'> = {
  softmax: {
    type: (inputs) => {
      requireFloat('softmax', inputs);
      return { dtype: inputs[0]!.dtype, shape: inputs[0]!.shape };
    },
    grad: ([g], node, { axis }) => {
      const y = node.outputs[0]!;
      return [mul(y, sub(g!, sum(mul(g!, y), axis, true)))];
    },
    emit: (e, inputs, { axis }) => e.node('Softmax', inputs, { axis }),
  },
  logSoftmax: {
    type: (inputs) => {
      requireFloat('logSoftmax', inputs);
      return { dtype: inputs[0]!.dtype, shape: inputs[0]!.shape };
    },
    grad: ([g], node, { axis }) => [sub(g!, mul(exp(node.outputs[0]!), sum(g!, axis, true)))],
    emit: (e, inputs, { axis }) => e.node('LogSoftmax', inputs, { axis }),
  },
  layerNorm: {
    type(inputs, { axis }) {
      requireFloat('layerNorm', inputs);
      const [x, scale, bias] = inputs as [Tensor, Tensor, Tensor];
      const normal = x.shape.slice(axis);
      if (axis < 0 || axis >= x.rank || !sameShape(scale.shape, normal) || !sameShape(bias.shape, normal)) {
        throw opError('layerNorm', `scale and bias must be [${normal.join(', ')}]`, inputs);
      }
      const statistics: Shape = x.shape.map((n, i) => (i < axis ? n : 1));
      return [
        { dtype: x.dtype, shape: x.shape },
        { dtype: x.dtype, shape: statistics },
        { dtype: x.dtype, shape: statistics },
      ];
    },
    grad: ([gy, gMean, gInverse], node, { axis }, needs) => {
      const [x, scale] = node.inputs as [Tensor, Tensor];
      const [, mu, inverse] = node.outputs as [Tensor, Tensor, Tensor];
      const axes = x.shape.map((_, i) => i).slice(axis);
      const n = axes.reduce((a, i) => a * x.shape[i]!, 1);
      const centred = sub(x, mu);
      const unit = mul(centred, inverse);
      const parts: Tensor[] = [];
      if (gy && needs[0]) {
        const g = mul(gy, scale);
        const inner = sub(sub(g, mean(g, axes, true)), mul(unit, mean(mul(g, unit), axes, true)));
        parts.push(mul(inner, inverse));
      }
      // The statistics are outputs of the node, so second derivatives pass through them.
      if (gMean) parts.push(expand(mul(gMean, 1 / n), x.shape));
      if (gInverse) {
        parts.push(mul(mul(gInverse, mul(inverse, mul(inverse, inverse))), mul(centred, -1 / n)));
      }
      return [
        parts.length ? parts.reduce(add) : undefined,
        gy && needs[1] ? sumTo(mul(gy, unit), scale.shape) : undefined,
        gy && needs[2] ? sumTo(gy, scale.shape) : undefined,
      ];
    },
    emit(e, inputs, { axis, eps }, node) {
      const attrs = { axis, epsilon: { float: eps } };
      const outputs = e.used(node.outputs[2]!) ? 3 : e.used(node.outputs[1]!) ? 2 : 1;
      const [y, ...statistics] = e.node('LayerNormalization', inputs, attrs, { outputs }) as [string];
      const { dtype } = node.outputs[0]!;
      // The statistics are float32 whatever the input is.
      const like = (name: string) =>
        dtype === 'float32' ? name : e.node('Cast', [name], { to: onnxTypes[dtype] })[0]!;
      return [y, ...statistics.map(like)];
    },
  },
};

export const softmax = (x: Tensor, axis = -1): Tensor => alongAxis('softmax', x, axis);
export const logSoftmax = (x: Tensor, axis = -1): Tensor => alongAxis('logSoftmax', x, axis);

function alongAxis(op: 'softmax' | 'logSoftmax', x: Tensor, axis: number): Tensor {
  // A scalar is an axis of one element.
  const a = axisOf(op, axis, x, Math.max(1, x.rank));
  return x.rank === 0 ? reshape(apply(op, [reshape(x, [1])], { axis: a }), []) : apply(op, [x], { axis: a });
}

/**
 * (x − mean) / sqrt(var + eps) · scale + bias over the last `scale.rank` axes (the last one without scale and bias),
 * population variance.
 */
export function layerNorm(x: Tensor, scale?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  const shape = scale?.shape ?? bias?.shape ?? [x.dim(-1)];
  const s = scale ?? expand(constant(1, x.dtype), shape);
  const b = bias ?? expand(constant(0, x.dtype), shape);
  return apply('layerNorm', [x, s, b], { axis: x.rank - shape.length, eps });
}

/** x / sqrt(mean(x²) + eps) · scale over the last `scale.rank` axes, or the last one (Zhang & Sennrich 2019). */
export function rmsNorm(x: Tensor, scale?: Tensor, eps = 1e-6): Tensor {
  const rank = scale?.rank ?? 1;
  if (scale && !sameShape(scale.shape, x.shape.slice(-rank))) {
    throw opError('rmsNorm', `the scale must be the last ${rank} axes`, [x, scale]);
  }
  const axes = x.shape.map((_, i) => i).slice(-rank);
  const y = div(x, sqrt(add(mean(mul(x, x), axes, true), eps)));
  return scale ? mul(y, scale) : y;
}

/** x / √(Σ x² + eps) along an axis: finite value and gradient at x = 0 when eps > 0. */
export const l2Normalize = (x: Tensor, axis = -1, eps = 1e-24): Tensor =>
  div(x, sqrt(add(sum(mul(x, x), axis, true), eps)));

/** A vector [C] as [1, C, 1, …], to broadcast over x [N, C, ...]. */
const perChannel = (v: Tensor, x: Tensor): Tensor =>
  reshape(v, [1, v.size, ...x.shape.slice(2).map(() => 1)]);

const affine = (x: Tensor, scale?: Tensor, bias?: Tensor): Tensor => {
  const y = scale ? mul(x, perChannel(scale, x)) : x;
  return bias ? add(y, perChannel(bias, x)) : y;
};

/**
 * Normalises groups of channels of x [N, C, ...] to mean 0 and variance 1, then scales by channel (Wu & He 2018). One
 * layerNorm over the flattened groups, which also gives its gradient the saved statistics. The gradient shares its sums
 * over positions between input, scale and bias.
 */
export function groupNorm(x: Tensor, groups: number, scale?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  const [n, c] = x.shape as [number, number];
  if (x.rank < 2 || !(groups > 0) || c % groups !== 0) {
    throw opError('groupNorm', `has no ${groups} groups of channels`, [x]);
  }
  const count = x.size / (n * groups);
  const normal = (x: Tensor): { unit: Tensor; inverse: Tensor } => {
    const one = expand(constant(1, x.dtype), [count]);
    const unit = layerNorm(reshape(x, [n * groups, count]), one, undefined, eps);
    return { unit: reshape(unit, x.shape), inverse: reshape(unit.node.outputs[2]!, [n, groups, 1]) };
  };
  const given = [x, scale, bias].filter((t) => t !== undefined);
  return customGradient(affine(normal(x).unit, scale, bias), given, (g, inputs, needs) => {
    const x = inputs[0]!;
    const { unit, inverse } = normal(x);
    const positions = x.shape.map((_, i) => i).slice(2);
    const sums = { g: sum(g, positions), product: sum(mul(g, unit), positions) };
    const weigh = (t: Tensor) => (scale ? mul(t, inputs[1]!) : t);
    /** What channels [N, C] have from their groups [N, groups, 1]. */
    const ofGroups = (t: Tensor) => reshape(expand(t, [n, groups, c / groups]), [n, c]);
    const share = (t: Tensor) =>
      ofGroups(mul(sum(reshape(weigh(t), [n, groups, c / groups]), 2, true), mul(inverse, 1 / count)));
    const perRow = (t: Tensor) => reshape(t, [n, c, ...positions.map(() => 1)]);
    const own = () => mul(g, perRow(weigh(ofGroups(inverse))));
    return [
      needs[0] ? sub(sub(own(), mul(unit, perRow(share(sums.product)))), perRow(share(sums.g))) : undefined,
      ...(scale ? [needs[1] ? sum(sums.product, 0) : undefined] : []),
      ...(bias ? [needs[scale ? 2 : 1] ? sum(sums.g, 0) : undefined] : []),
    ];
  });
}

/** Normalises each channel of each example of x [N, C, ...spatial] (Ulyanov et al. 2016). */
export const instanceNorm = (x: Tensor, scale?: Tensor, bias?: Tensor, eps = 1e-5): Tensor =>
  groupNorm(x, x.dim(1), scale, bias, eps);

export interface BatchStatistics {
  mean: Tensor;
  /** Population variance. */
  variance: Tensor;
}

/** Mean and population variance of each channel of x [N, C, ...]: two vectors [C]. */
export function batchStatistics(x: Tensor): BatchStatistics {
  const axes = x.shape.map((_, i) => i).filter((i) => i !== 1);
  return { mean: mean(x, axes), variance: variance(x, axes) };
}

/** Running statistics after one more batch of `count` elements a channel, as PyTorch keeps them (unbiased). */
export const updateStatistics = (
  running: BatchStatistics,
  batch: BatchStatistics,
  count: number,
  momentum = 0.1,
): BatchStatistics => ({
  mean: add(mul(running.mean, 1 - momentum), mul(batch.mean, momentum)),
  variance: add(
    mul(running.variance, 1 - momentum),
    mul(batch.variance, (momentum * count) / Math.max(1, count - 1)),
  ),
});

/**
 * Normalises each channel of x [N, C, ...] by the given statistics: running ones (evaluation), or the batch's own
 * (training, the default), through which gradients flow (Ioffe & Szegedy 2015).
 */
export function batchNorm(
  x: Tensor,
  scale?: Tensor,
  bias?: Tensor,
  statistics: BatchStatistics = batchStatistics(x),
  eps = 1e-5,
): Tensor {
  const inverse = reciprocal(sqrt(add(statistics.variance, eps)));
  const factor = scale ? mul(scale, inverse) : inverse;
  // Centred first: x·factor − mean·factor would subtract large numbers.
  return affine(sub(x, perChannel(statistics.mean, x)), factor, bias);
}
