import { type DType, floats, sizeOf } from '../host.ts';
import { isFloat } from '../ops/common.ts';
import * as ops from '../ops/index.ts';
import { applyAll, constant, type Tensor } from '../tensor.ts';
import { folded, hostNumbers, hostOf, type Importer, integers, type NodeReader } from './reader.ts';
import { shapeImporters } from './shapes.ts';

const unary =
  (f: (x: Tensor) => Tensor): Importer =>
  (n) =>
    f(n.x());
const binary =
  (f: (a: Tensor, b: Tensor) => Tensor, host?: (a: number, b: number) => number): Importer =>
  (n) =>
    (host && folded([n.x(0), n.x(1)], host)) ?? f(n.x(0), n.x(1));
const variadic =
  (f: (a: Tensor, b: Tensor) => Tensor): Importer =>
  (n) =>
    n.operands.map((_, i) => n.x(i)).reduce(f);
const reduction =
  (f: (x: Tensor, axes: number[] | undefined, keepDims: boolean) => Tensor): Importer =>
  (n) => {
    const axes = n.either('axes', 1);
    const none = axes === undefined || axes.length === 0;
    if (none && n.int('noop_with_empty_axes', 0) === 1) return n.x();
    return f(n.x(), none ? undefined : axes, n.int('keepdims', 1) === 1);
  };
const squares = (x: Tensor) => x.mul(x);

/** Softmax over one axis; before opset 13, over all from `axis` on. */
const softmax =
  (f: (x: Tensor, axis: number) => Tensor): Importer =>
  (n) => {
    const x = n.x();
    if (n.opset >= 13) return f(x, n.int('axis', -1));
    const axis = ops.normalizeAxis(n.int('axis', 1), x.rank);
    return f(x.reshape([sizeOf(x.shape.slice(0, axis)), -1]), 1).reshape(x.shape);
  };

/** A window's attributes; uneven or SAME padding is made beforehand, with `fill`. */
function windowed(n: NodeReader, kernel: readonly number[], fill: number) {
  const x = n.x();
  const rank = kernel.length;
  const ones = kernel.map(() => 1);
  const stride = n.ints('strides') ?? ones;
  const dilation = n.ints('dilations') ?? ones;
  let pads = n.ints('pads') ?? [...ones, ...ones].map(() => 0);
  const auto = n.string('auto_pad', 'NOTSET');
  if (auto.startsWith('SAME')) {
    const total = kernel.map((k, i) => {
      const length = x.shape[i + 2]!;
      const out = Math.ceil(length / stride[i]!);
      return Math.max(0, (out - 1) * stride[i]! + dilation[i]! * (k - 1) + 1 - length);
    });
    const [small, large] = [total.map((t) => Math.floor(t / 2)), total.map((t) => Math.ceil(t / 2))];
    pads = auto === 'SAME_UPPER' ? [...small, ...large] : [...large, ...small];
  }
  const [before, after] = [pads.slice(0, rank), pads.slice(rank)];
  const even = before.every((p, i) => p === after[i]);
  const padded = even ? x : ops.pad(x, [0, 0, ...before], [0, 0, ...after], fill);
  return { x: padded, stride, dilation, padding: even ? before : ones.map(() => 0), even };
}

const dtypeByNumber = (n: NodeReader, to: number): DType =>
  (Object.entries(ops.onnxTypes).find(([, v]) => v === to)?.[0] as DType | undefined) ??
  n.fail(`has the unsupported element type ${to}`);

/** From the names of ONNX ops to our ops. */
export const importers = new Map<string, Importer>(
  Object.entries({
    ...shapeImporters,
    Add: binary(ops.add, (a, b) => a + b),
    Sub: binary(ops.sub, (a, b) => a - b),
    Mul: binary(ops.mul, (a, b) => a * b),
    Div: binary(ops.div, (a, b) => Math.trunc(a / b)),
    Pow: (n) => ops.pow(n.x(0), n.x(1).cast(n.x(0).dtype)),
    Mod: (n) => {
      if (n.int('fmod', 0) === 0) {
        const known = folded([n.x(0), n.x(1)], (a, b) => ((a % b) + b) % b);
        return known ?? ops.remainder(n.x(0), n.x(1));
      }
      if (!isFloat(n.x(0)))
        n.fail('takes remainders of integers with the sign of the dividend, which is not supported');
      const quotient = n.x(0).div(n.x(1));
      return n.x(0).sub(n.x(1).mul(ops.trunc(quotient)));
    },
    Max: variadic((a, b) => folded([a, b], Math.max) ?? ops.maximum(a, b)),
    Min: variadic((a, b) => folded([a, b], Math.min) ?? ops.minimum(a, b)),
    Sum: variadic(ops.add),
    Mean: (n) => ops.div(variadic(ops.add)(n) as Tensor, n.operands.length),
    Equal: (n) => folded([n.x(0), n.x(1)], (a, b) => Number(a === b), 'bool') ?? ops.equal(n.x(0), n.x(1)),
    Less: binary(ops.less),
    LessOrEqual: binary(ops.lessEqual),
    Greater: binary(ops.greater),
    GreaterOrEqual: binary(ops.greaterEqual),
    And: (n) => folded([n.x(0), n.x(1)], (a, b) => a & b, 'bool') ?? ops.and(n.x(0), n.x(1)),
    Or: (n) => folded([n.x(0), n.x(1)], (a, b) => a | b, 'bool') ?? ops.or(n.x(0), n.x(1)),
    Not: (n) => folded([n.x()], (a) => 1 - a, 'bool') ?? ops.not(n.x()),
    Where: (n) =>
      folded([n.x(0), n.x(1), n.x(2)], (c, a, b) => (c ? a : b)) ?? ops.where(n.x(0), n.x(1), n.x(2)),
    Neg: (n) => folded([n.x()], (a) => -a) ?? ops.neg(n.x()),
    Exp: unary(ops.exp),
    Log: unary(ops.log),
    Sqrt: unary(ops.sqrt),
    Reciprocal: unary(ops.reciprocal),
    Abs: unary(ops.abs),
    Sign: unary(ops.sign),
    Floor: unary(ops.floor),
    Ceil: unary(ops.ceil),
    Round: unary(ops.round),
    Sin: unary(ops.sin),
    Cos: unary(ops.cos),
    Tan: unary(ops.tan),
    Asin: unary(ops.asin),
    Acos: unary(ops.acos),
    Atan: unary(ops.atan),
    Sinh: unary(ops.sinh),
    Cosh: unary(ops.cosh),
    Asinh: unary(ops.asinh),
    Acosh: unary(ops.acosh),
    Atanh: unary(ops.atanh),
    Tanh: unary(ops.tanh),
    Erf: unary(ops.erf),
    Sigmoid: unary(ops.sigmoid),
    Softplus: unary(ops.softplus),
    Softsign: unary(ops.softsign),
    Relu: unary(ops.relu),
    LeakyRelu: (n) => ops.leakyRelu(n.x(), n.int('alpha', 0.01)),
    PRelu: (n) => ops.leakyRelu(n.x(0), n.x(1)),
    Elu: (n) => ops.elu(n.x(), n.int('alpha', 1)),
    Selu: (n) => ops.elu(n.x(), n.int('alpha', 1.6732632423543772)).mul(n.int('gamma', 1.0507009873554805)),
    HardSigmoid: (n) => ops.clip(n.x().mul(n.int('alpha', 0.2)).add(n.int('beta', 0.5)), 0, 1),
    HardSwish: unary(ops.hardSwish),
    Mish: unary(ops.mish),
    Gelu: (n) => ops.gelu(n.x(), n.string('approximate', 'none') as 'none' | 'tanh'),
    Clip: (n) => {
      const low = n.known(1)?.[0] ?? Number.NEGATIVE_INFINITY;
      return ops.clip(n.x(), low, n.known(2)?.[0] ?? Number.POSITIVE_INFINITY);
    },
    IsNaN: unary(ops.isNan),
    IsInf: (n) => {
      const [low, high] = [n.int('detect_negative', 1) === 1, n.int('detect_positive', 1) === 1];
      const kept = low && high ? ops.abs(n.x()) : low ? n.x().neg() : n.x();
      return low || high
        ? ops.equal(kept, Number.POSITIVE_INFINITY)
        : ops.and(ops.isNan(kept), ops.equal(kept, 0));
    },
    Xor: binary((a, b) => ops.notEqual(a.cast('int32'), b.cast('int32'))),
    Celu: (n) => ops.elu(n.x().div(n.int('alpha', 1))).mul(n.int('alpha', 1)),
    Swish: (n) => ops.silu(n.x(), n.int('alpha', 1)),
    ThresholdedRelu: (n) => ops.where(ops.less(n.int('alpha', 1), n.x()), n.x(), 0),
    CastLike: (n) => n.x().cast(n.x(1).dtype),
    Identity: unary((x) => x),
    Dropout: (n) => {
      if (n.operands[2] && n.known(2)![0] !== 0) n.fail('is in training mode, which is not supported');
      return [n.x(), ops.expand(constant(1, 'bool'), n.x().shape)];
    },
    Cast: (n) => {
      const to = dtypeByNumber(n, n.int('to', 1));
      const host = hostOf(n.x());
      const values = hostNumbers(n.x());
      if (!host || !values || host.dtype === 'float16' || host.dtype === 'bfloat16') return n.x().cast(to);
      if (to === 'int64') return integers(values.map(Math.trunc), n.x().shape);
      return to.startsWith('float') ? constant(floats(values, n.x().shape, to)) : n.x().cast(to);
    },
    ReduceSum: reduction(ops.sum),
    ReduceMean: reduction(ops.mean),
    ReduceMax: reduction(ops.max),
    ReduceMin: reduction(ops.min),
    ReduceProd: reduction(ops.prod),
    ReduceL1: reduction((x, axes, keep) => ops.norm(x, 1, axes, keep)),
    ReduceL2: reduction((x, axes, keep) => ops.norm(x, 2, axes, keep)),
    ReduceLogSum: reduction((x, axes, keep) => ops.log(ops.sum(x, axes, keep))),
    ReduceSumSquare: reduction((x, axes, keep) => ops.sum(squares(x), axes, keep)),
    ReduceLogSumExp: reduction(ops.logSumExp),
    ArgMax: (n) => selected(n, ops.argMax),
    ArgMin: (n) => selected(n, ops.argMin),
    CumSum: (n) => {
      const sums = ops.cumSum(n.x(), n.known(1)![0]!, n.int('reverse', 0) === 1);
      return n.int('exclusive', 0) === 1 ? sums.sub(n.x()) : sums;
    },
    TopK: (n) => ops.topK(n.x(), n.known(1)![0]!, n.int('axis', -1), n.int('largest', 1) === 1),
    MatMul: binary((a, b) => ops.matmul(a, b)),
    FusedMatMul: (n) =>
      ops.matmul(n.x(0), n.x(1), {
        transA: n.int('transA', 0) === 1,
        transB: n.int('transB', 0) === 1,
        alpha: n.int('alpha', 1),
      }),
    Gemm: (n) => {
      const flags = { transA: n.int('transA', 0) === 1, transB: n.int('transB', 0) === 1 };
      const product = ops.matmul(n.x(0), n.x(1), { ...flags, alpha: n.int('alpha', 1) });
      const c = n.operands[2];
      return c ? product.add(c.mul(n.int('beta', 1))) : product;
    },
    Einsum: (n) => ops.einsum(n.string('equation', ''), ...n.operands.map((_, i) => n.x(i))),
    Conv: (n) => {
      const w = windowed(n, n.x(1).shape.slice(2), 0);
      return ops.conv(w.x, n.x(1), n.operands[2], { ...w, groups: n.int('group', 1) });
    },
    ConvTranspose: (n) => {
      const w = windowed(n, n.x(1).shape.slice(2), 0);
      if (!w.even || n.ints('output_shape') || n.string('auto_pad', 'NOTSET') !== 'NOTSET') {
        n.fail('has uneven padding or an output shape, which are not supported');
      }
      const outputPadding = n.ints('output_padding') ?? 0;
      return ops.convTranspose(n.x(), n.x(1), n.operands[2], {
        ...w,
        outputPadding,
        groups: n.int('group', 1),
      });
    },
    MaxPool: (n) => {
      const w = windowed(n, n.ints('kernel_shape')!, Number.NEGATIVE_INFINITY);
      return ops.maxPool(w.x, n.ints('kernel_shape')!, { ...w, ceilMode: n.int('ceil_mode', 0) === 1 });
    },
    AveragePool: (n) => {
      const w = windowed(n, n.ints('kernel_shape')!, 0);
      const countIncludePad = n.int('count_include_pad', 0) === 1;
      if ((!w.even && !countIncludePad) || w.dilation.some((d) => d !== 1)) {
        n.fail('has uneven padding or dilation, which are not supported');
      }
      const ceilMode = n.int('ceil_mode', 0) === 1;
      return ops.avgPool(w.x, n.ints('kernel_shape')!, { ...w, ceilMode, countIncludePad });
    },
    GlobalAveragePool: unary((x) => x.mean(spatial(x), true)),
    GlobalMaxPool: unary((x) => x.max(spatial(x), true)),
    Softmax: softmax(ops.softmax),
    LogSoftmax: softmax(ops.logSoftmax),
    LayerNormalization: (n) => {
      const axis = ops.normalizeAxis(n.int('axis', -1), n.x().rank);
      const shape = n.x().shape.slice(axis);
      const bias = n.operands[2] ?? constant(0, n.x().dtype);
      const operands = [n.x(), n.x(1).expand(shape), bias.expand(shape)];
      return applyAll('layerNorm', operands, { axis, eps: n.int('epsilon', 1e-5) });
    },
    RMSNormalization: (n) => {
      const axis = ops.normalizeAxis(n.int('axis', -1), n.x().rank);
      const axes = n
        .x()
        .shape.map((_, i) => i)
        .slice(axis);
      const scale = ops.sqrt(squares(n.x()).mean(axes, true).add(n.int('epsilon', 1e-5)));
      return n.x().div(scale).mul(n.x(1));
    },
    LpNormalization: (n) => {
      const size = ops.norm(n.x(), n.int('p', 2), n.int('axis', -1), true);
      return n.x().div(ops.where(ops.equal(size, 0), 1, size));
    },
    GridSample: (n) => {
      const mode = n.string('mode', 'linear');
      if (mode === 'cubic' || mode === 'bicubic') n.fail('samples by cubic curves, which is not supported');
      return ops.gridSample(n.x(), n.x(1), {
        mode: mode === 'nearest' ? 'nearest' : 'bilinear',
        paddingMode: n.string('padding_mode', 'zeros') as 'zeros',
        alignCorners: n.int('align_corners', 0) === 1,
      });
    },
    InstanceNormalization: (n) => ops.instanceNorm(n.x(), n.x(1), n.x(2), n.int('epsilon', 1e-5)),
    GroupNormalization: (n) => {
      const groups = n.int('num_groups', 1);
      // Before opset 21, scale and bias were given by group.
      const wide = (v: Tensor) =>
        n.opset >= 21
          ? v
          : v
              .reshape([groups, 1])
              .expand([groups, n.x().dim(1) / groups])
              .reshape([-1]);
      return ops.groupNorm(n.x(), groups, wide(n.x(1)), wide(n.x(2)), n.int('epsilon', 1e-5));
    },
    BatchNormalization: (n) => {
      if (n.int('training_mode', 0) === 1) n.fail('is in training mode, which is not supported');
      return ops.batchNorm(n.x(), n.x(1), n.x(2), { mean: n.x(3), variance: n.x(4) }, n.int('epsilon', 1e-5));
    },
  } satisfies Record<string, Importer>),
);

const spatial = (x: Tensor): number[] => x.shape.map((_, i) => i).slice(2);

function selected(n: NodeReader, f: (x: Tensor, axis: number) => Tensor): Tensor {
  if (n.int('select_last_index', 0) === 1) n.fail('selects the last of equal ones, which is not supported');
  const axis = ops.normalizeAxis(n.int('axis', 0), n.x().rank);
  const at = f(n.x(), axis);
  return n.int('keepdims', 1) === 1 ? at.reshape(n.x().shape.with(axis, 1)) : at;
}
