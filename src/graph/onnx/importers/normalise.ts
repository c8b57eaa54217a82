import { sizeOf } from '../../host.ts';
import * as ops from '../../ops/index.ts';
import { applyAll, constant, type Tensor } from '../../tensor.ts';
import type { Importer, NodeReader } from '../reader.ts';

/** Softmax over one axis; before opset 13, over all from `axis` on. */
const softmax =
  (f: (x: Tensor, axis: number) => Tensor): Importer =>
  (n) => {
    const x = n.x();
    if (n.opset >= 13) return f(x, n.axis('axis', -1));
    const axis = n.axis('axis', 1);
    return f(x.reshape([sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]), 1).reshape(x.shape);
  };

const from = (x: Tensor, axis: number): number[] => x.shape.map((_, i) => i).slice(axis);

/** Computes in float32 what `stash_type` asks for, and gives back the dtype of x. */
function layerNorm(n: NodeReader): Tensor[] {
  const axis = n.axis('axis', -1);
  const shape = n.x().shape.slice(axis);
  const bias = n.maybe(2) ?? constant(0, n.x().dtype);
  const operands = [n.x(), n.x(1).expand(shape), bias.expand(shape)];
  return applyAll('layerNorm', operands, { axis, eps: n.number('epsilon', 1e-5) });
}

/** x / √(mean x² + ε)·scale over the axes from `axis` on; also 1 / √(mean x² + ε). */
export function rmsNormalised(x: Tensor, scale: Tensor, axis: number, eps: number): [Tensor, Tensor] {
  const wide = x.dtype === 'float64' ? x : x.cast('float32');
  const inverse = ops.reciprocal(ops.sqrt(wide.mul(wide).mean(from(x, axis), true).add(eps)));
  return [wide.mul(inverse).cast(x.dtype).mul(scale.cast(x.dtype)), inverse];
}

function batchNorm(n: NodeReader): Tensor[] {
  const [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map((i) => n.x(i)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const eps = n.number('epsilon', 1e-5);
  if (!n.flag('training_mode')) return [ops.batchNorm(x, scale, bias, { mean, variance }, eps)];
  const batch = ops.batchStatistics(x);
  const keep = n.number('momentum', 0.9);
  const mixed = (old: Tensor, now: Tensor) => old.mul(keep).add(now.mul(1 - keep));
  const y = ops.batchNorm(x, scale, bias, batch, eps);
  return [y, mixed(mean, batch.mean), mixed(variance, batch.variance)];
}

/** x / (bias + alpha / size·Σ x²)^beta, summed over neighbouring channels. */
function localResponse(n: NodeReader): Tensor {
  const x = n.x();
  const size = n.number('size', 1);
  const before = Math.floor((size - 1) / 2);
  const none = x.shape.map(() => 0);
  const padded = ops.pad(x.mul(x), none.with(1, before), none.with(1, size - 1 - before));
  const shifted = Array.from({ length: size }, (_, k) => ops.slice(padded, 1, k, k + x.dim(1)));
  const sums = shifted.reduce(ops.add);
  const base = sums.mul(n.number('alpha', 0.0001) / size).add(n.number('bias', 1));
  return x.div(ops.pow(base, n.number('beta', 0.75)));
}

function groupNorm(n: NodeReader): Tensor {
  const groups = n.number('num_groups', 1);
  // Before opset 21, scale and bias were given by group.
  const wide = (v: Tensor) =>
    n.opset >= 21
      ? v
      : v
          .reshape([groups, 1])
          .expand([groups, n.x().dim(1) / groups])
          .reshape([-1]);
  return ops.groupNorm(n.x(), groups, wide(n.x(1)), wide(n.x(2)), n.number('epsilon', 1e-5));
}

export const normalisations: Record<string, Importer> = {
  Softmax: softmax(ops.softmax),
  LogSoftmax: softmax(ops.logSoftmax),
  LayerNormalization: layerNorm,
  // What com.microsoft's graphs call a root-mean-square norm, in the default domain.
  SimplifiedLayerNormalization: (n) =>
    rmsNormalised(n.x(), n.x(1), n.axis('axis', -1), n.number('epsilon', 1e-5)),
  RMSNormalization: (n) => rmsNormalised(n.x(), n.x(1), n.axis('axis', -1), n.number('epsilon', 1e-5))[0],
  LpNormalization: (n) => {
    const size = ops.norm(n.x(), n.number('p', 2), n.number('axis', -1), true);
    return n.x().div(ops.where(ops.equal(size, 0), 1, size));
  },
  InstanceNormalization: (n) => ops.instanceNorm(n.x(), n.x(1), n.x(2), n.number('epsilon', 1e-5)),
  GroupNormalization: groupNorm,
  BatchNormalization: batchNorm,
  LRN: localResponse,
  MeanVarianceNormalization: (n) => {
    const axes = n.numbers('axes') ?? [0, 2, 3];
    const centred = n.x().sub(n.x().mean(axes, true));
    return centred.div(ops.sqrt(centred.mul(centred).mean(axes, true)).add(1e-9));
  },
};
