import { type DType, floats, type HostTensor, sizeOf } from '../host.ts';
import * as ops from '../ops/index.ts';
import { applyAll, constant, type Tensor } from '../tensor.ts';
import { folded, hostNumbers, hostOf, integers, type NodeReader } from './reader.ts';

type Importer = (n: NodeReader) => Tensor | Tensor[];

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

function slices(n: NodeReader): Tensor {
  const [starts, ends] = [n.either('starts', 1)!, n.either('ends', 2)!];
  const axes = n.either('axes', 3) ?? starts.map((_, i) => i);
  const steps = n.known(4) ?? starts.map(() => 1);
  const x = n.x();
  const values = hostNumbers(x);
  if (values && x.rank === 1 && x.dtype === 'int64') {
    const [step, size] = [steps[0]!, values.length];
    const clamp = (i: number, low: number, high: number) =>
      Math.min(Math.max(i < 0 ? i + size : i, low), high);
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const picked: number[] = [];
    const end = clamp(ends[0]!, low, high);
    for (let i = clamp(starts[0]!, low, high); step > 0 ? i < end : i > end; i += step)
      picked.push(values[i]!);
    return integers(picked, [picked.length]);
  }
  return axes.reduce((y, axis, i) => {
    const size = y.dim(axis);
    // Ends far outside stand for the very end, also backwards.
    const end = steps[i]! < 0 && ends[i]! < -size ? undefined : ends[i]!;
    return ops.slice(y, axis, starts[i]!, end, steps[i]);
  }, x);
}

/** Resizing in the forms that PyTorch exports. */
function resize(n: NodeReader): Tensor {
  const x = n.x();
  const scales = n.known(2);
  const sizes =
    n.known(3) ??
    x.shape.map((d, i) => Math.floor(d * (scales?.[i] ?? n.fail('has no scales and no sizes'))));
  const mode = n.string('mode', 'nearest');
  const position = n.string('coordinate_transformation_mode', 'half_pixel');
  const rounding = n.string('nearest_mode', 'round_prefer_floor');
  const spread = sizes.every((m, i) => m % x.shape[i]! === 0);
  const nearest =
    (position === 'asymmetric' && rounding === 'floor') || (spread && position === 'half_pixel');
  const smooth = ['half_pixel', 'pytorch_half_pixel', 'align_corners'].includes(position);
  if (x.rank < 3 || sizes[0] !== x.shape[0] || sizes[1] !== x.shape[1] || n.ints('axes')) {
    n.fail('resizes other axes than the spatial ones, which is not supported');
  }
  if (!(mode === 'nearest' ? nearest : smooth && n.int('cubic_coeff_a', -0.75) === -0.75)) {
    n.fail(`has the mode ${mode} with ${position} and ${rounding}, which is not supported`);
  }
  return ops.resize(x, sizes.slice(2), {
    mode: mode === 'linear' ? 'bilinear' : mode === 'cubic' ? 'bicubic' : 'nearest',
    alignCorners: position === 'align_corners',
    antialias: n.int('antialias', 0) === 1,
  });
}

const dtypeByNumber = (n: NodeReader, to: number): DType =>
  (Object.entries(ops.onnxTypes).find(([, v]) => v === to)?.[0] as DType | undefined) ??
  n.fail(`has the unsupported element type ${to}`);

const onAxes = (n: NodeReader): number[] => n.either('axes', 1) ?? [];

/** From the names of ONNX ops to our ops. */
export const importers = new Map<string, Importer>(
  Object.entries({
    Add: binary(ops.add, (a, b) => a + b),
    Sub: binary(ops.sub, (a, b) => a - b),
    Mul: binary(ops.mul, (a, b) => a * b),
    Div: binary(ops.div, (a, b) => Math.trunc(a / b)),
    Pow: (n) => ops.pow(n.x(0), n.x(1).cast(n.x(0).dtype)),
    Mod: (n) => {
      const known = folded([n.x(0), n.x(1)], (a, b) => ((a % b) + b) % b);
      if (known) return known;
      if (n.int('fmod', 0) === 0) return ops.remainder(n.x(0), n.x(1));
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
    Selu: unary(ops.selu),
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
    Swish: (n) => n.x().mul(ops.sigmoid(n.x().mul(n.int('alpha', 1)))),
    ThresholdedRelu: (n) => ops.where(ops.less(n.int('alpha', 1), n.x()), n.x(), 0),
    CastLike: (n) => n.x().cast(n.x(1).dtype),
    Identity: unary((x) => x),
    Dropout: unary((x) => x),
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
    LpNormalization: (n) => n.x().div(ops.norm(n.x(), n.int('p', 2), n.int('axis', -1), true)),
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
    Reshape: (n) => {
      const zero = n.int('allowzero', 0) === 1;
      return n.x().reshape(n.known(1)!.map((d, i) => (d === 0 && !zero ? n.x().shape[i]! : d)));
    },
    Flatten: (n) => {
      const axis = n.int('axis', 1);
      const at = axis < 0 ? axis + n.x().rank : axis;
      return n.x().reshape([sizeOf(n.x().shape.slice(0, at)), sizeOf(n.x().shape.slice(at))]);
    },
    Transpose: (n) => n.x().transpose(n.ints('perm') ?? [...n.x().shape.keys()].reverse()),
    Expand: (n) => {
      const shape = n.known(1)!;
      // Lengths of 1 keep what is there, and missing axes in front are those of x.
      const rank = Math.max(shape.length, n.x().rank);
      const of = (s: readonly number[], i: number) => s[s.length - rank + i] ?? 1;
      return n.x().expand(Array.from({ length: rank }, (_, i) => Math.max(of(shape, i), of(n.x().shape, i))));
    },
    Slice: slices,
    Pad: (n) => {
      const pads = n.either('pads', 1)!;
      const axes = n.known(3)?.map((a) => ops.normalizeAxis(a, n.x().rank)) ?? [...n.x().shape.keys()];
      const side = (from: number) =>
        n.x().shape.map((_, i) => (axes.includes(i) ? pads[from + axes.indexOf(i)]! : 0));
      const [before, after] = [side(0), side(axes.length)];
      const mode = n.string('mode', 'constant');
      if (mode === 'constant') return ops.pad(n.x(), before, after, n.known(2)?.[0] ?? 0);
      return ops.padWith(mode as 'reflect' | 'edge' | 'wrap', n.x(), before, after);
    },
    Concat: (n) => {
      const all = n.operands.map((_, i) => n.x(i));
      const known = all.map((t) => (t.rank === 1 && t.dtype === 'int64' ? hostNumbers(t) : undefined));
      if (known.every((v) => v !== undefined)) return integers(known.flat(), [known.flat().length]);
      return ops.concat(all, n.int('axis', 0));
    },
    Split: (n) => {
      const axis = n.int('axis', 0);
      const count = n.node.outputs.length;
      const length = n.x().dim(axis);
      const part = Math.ceil(length / count);
      const even = Array.from({ length: count }, (_, i) => Math.min(part, length - i * part));
      return ops.split(n.x(), n.either('split', 1) ?? even, axis);
    },
    Squeeze: (n) => {
      const axes = onAxes(n).map((a) => ops.normalizeAxis(a, n.x().rank));
      const gone = (d: number, i: number) => (axes.length ? axes.includes(i) : d === 1);
      return n.x().reshape(n.x().shape.filter((d, i) => !gone(d, i)));
    },
    Unsqueeze: (n) => {
      const rank = n.x().rank + onAxes(n).length;
      const axes = onAxes(n).map((a) => ops.normalizeAxis(a, rank));
      const rest = [...n.x().shape];
      return n.x().reshape(Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : rest.shift()!)));
    },
    Resize: resize,
    OneHot: (n) => {
      const [depth, values] = [n.known(1)![0]!, n.x(2)];
      const ids = n.x(0).cast('int64');
      const hot = ops.oneHot(ops.where(ops.less(ids, 0), ids.add(depth), ids), depth);
      const rank = hot.rank;
      const axis = ops.normalizeAxis(n.int('axis', -1), rank);
      const order = Array.from({ length: rank - 1 }, (_, i) => i);
      order.splice(axis, 0, rank - 1);
      const [off, on] = [values.slice(0, 0, 1).reshape([]), values.slice(0, 1, 2).reshape([])];
      return ops.where(ops.equal(hot.transpose(order), 1), on, off);
    },
    DepthToSpace: (n) => {
      const [b, [size, c, h, w]] = [n.int('blocksize', 1), n.x().shape as [number, number, number, number]];
      const deep = n.string('mode', 'DCR') === 'DCR';
      const split = n.x().reshape(deep ? [size, b, b, c / (b * b), h, w] : [size, c / (b * b), b, b, h, w]);
      return split
        .transpose(deep ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3])
        .reshape([size, c / (b * b), h * b, w * b]);
    },
    SpaceToDepth: (n) => {
      const [b, [size, c, h, w]] = [n.int('blocksize', 1), n.x().shape as [number, number, number, number]];
      const split = n.x().reshape([size, c, h / b, b, w / b, b]);
      return split.transpose([0, 3, 5, 1, 2, 4]).reshape([size, c * b * b, h / b, w / b]);
    },
    Tile: (n) => ops.tile(n.x(), n.known(1)!),
    Trilu: (n) => (n.int('upper', 1) === 1 ? ops.triu : ops.tril)(n.x(), n.known(1)?.[0] ?? 0),
    Gather: (n) => {
      const [x, at] = [n.x(0), n.x(1)];
      const [values, places] = [x.dtype === 'int64' ? hostNumbers(x) : undefined, hostNumbers(at)];
      if (values && places && x.rank === 1) {
        return integers(
          places.map((p) => values.at(p)!),
          at.shape,
        );
      }
      return ops.gather(x, at, n.int('axis', 0));
    },
    GatherElements: (n) => ops.gatherElements(n.x(0), n.x(1), n.int('axis', 0)),
    GatherND: (n) => {
      if (n.int('batch_dims', 0) !== 0) n.fail('has batch axes, which are not supported');
      return ops.gatherND(n.x(0), n.x(1));
    },
    ScatterElements: (n) => {
      const put = n.string('reduction', 'none') === 'add' ? ops.scatterAdd : ops.scatter;
      return put(n.x(0), n.x(1), n.x(2), n.int('axis', 0));
    },
    ScatterND: (n) => ops.scatterND(n.x(0), n.x(1), n.x(2), n.string('reduction', 'none') as 'none' | 'add'),
    Shape: (n) => {
      const shape = n.x().shape.slice(n.int('start', 0), n.int('end', n.x().rank));
      return integers(shape, [shape.length]);
    },
    Size: (n) => integers([n.x().size], []),
    Constant: (n) => {
      const { attrs } = n.node;
      const value = attrs.get('value');
      if (value) return constant(value as HostTensor);
      const [number, list] = [
        attrs.get('value_int') ?? attrs.get('value_ints'),
        attrs.get('value_float') ?? attrs.get('value_floats'),
      ];
      if (number !== undefined)
        return typeof number === 'number'
          ? integers([number], [])
          : integers(number as number[], [(number as number[]).length]);
      if (list === undefined) n.fail('holds a value that is not supported');
      return constant(
        floats(
          typeof list === 'number' ? [list] : (list as number[]),
          typeof list === 'number' ? [] : [(list as number[]).length],
          'float32',
        ),
      );
    },
    ConstantOfShape: (n) => {
      const value = (n.node.attrs.get('value') as HostTensor | undefined) ?? floats([0], [1], 'float32');
      const shape = n.known(0)!;
      if (value.dtype === 'int64')
        return integers(new Array(sizeOf(shape)).fill(Number(value.data[0])), shape);
      return ops.expand(constant({ ...value, shape: [] } as HostTensor), shape);
    },
    Range: (n) => {
      const [from, to, step] = [n.known(0)![0]!, n.known(1)![0]!, n.known(2)![0]!];
      const values = Array.from(
        { length: Math.max(0, Math.ceil((to - from) / step)) },
        (_, i) => from + i * step,
      );
      return n.x().dtype === 'int64'
        ? integers(values, [values.length])
        : constant(floats(values, [values.length], n.x().dtype));
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
