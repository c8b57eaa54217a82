import type { DType } from '../../host.ts';
import * as ops from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import type { Importer, NodeReader } from '../reader.ts';

const ranges: Partial<Record<DType, readonly [number, number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
};

/** Scales and zero points along an axis, or of blocks of it, laid out to broadcast with x. */
function layOut(n: NodeReader, v: Tensor, x: Tensor, axis: number, block: number): Tensor {
  if (v.size === 1) return v.reshape([]);
  if (v.rank === 1) return v.reshape(x.shape.map((_, i) => (i === axis ? v.size : 1)));
  if (block === 0) return n.fail(`has scales ${v} without a block_size`);
  const spread = v.reshape([...v.shape.slice(0, axis + 1), 1, ...v.shape.slice(axis + 1)]);
  const wide = spread
    .expand(spread.shape.with(axis + 1, block))
    .reshape(v.shape.with(axis, v.shape[axis]! * block));
  return ops.slice(wide, axis, 0, x.shape[axis]!);
}

/** (x − zero)·scale; the scale, and what it is multiplied with, are differentiable. */
export function dequantise(x: Tensor, scale: Tensor, zero?: Tensor): Tensor {
  const wide = x.cast('int32');
  return (zero ? wide.sub(zero.cast('int32')) : wide).cast(scale.dtype).mul(scale);
}
/** round(x / scale) + zero within the range of `dtype`. */
export function quantise(x: Tensor, scale: Tensor, zero: Tensor | undefined, dtype: DType): Tensor {
  const range = ranges[dtype];
  if (!range) throw new Error(`importOnnx: quantisation to ${dtype} is not supported`);
  const steps = ops.round(x.div(scale));
  return ops
    .clip(zero ? steps.add(zero.cast(x.dtype)) : steps, ...range)
    .cast('int32')
    .cast(dtype);
}

function dequantizeLinear(n: NodeReader): Tensor {
  const [x, scale] = [n.x(0), n.x(1)];
  const axis = x.rank ? n.axis('axis', x.rank === 1 ? 0 : 1) : 0;
  const spread = (v: Tensor) => layOut(n, v, x, axis, n.number('block_size', 0));
  const zero = n.maybe(2);
  return dequantise(x, spread(scale), zero && spread(zero.cast('int32'))).cast(
    n.dtype('output_dtype', scale.dtype),
  );
}

function quantizeLinear(n: NodeReader): Tensor {
  const [x, scale, zero] = [n.x(0).cast('float32'), n.x(1).cast('float32'), n.maybe(2)];
  const axis = x.rank ? n.axis('axis', x.rank === 1 ? 0 : 1) : 0;
  const spread = (v: Tensor) => layOut(n, v, x, axis, n.number('block_size', 0));
  const dtype = zero ? zero.dtype : n.number('output_dtype', 0) ? n.dtype('output_dtype', 'uint8') : 'uint8';
  return quantise(x, spread(scale), zero && spread(zero.cast('int32')), dtype);
}
/** Scale and zero point so that 0 and all of x lie in [0, 255]. */
function dynamicQuantize(n: NodeReader): Tensor[] {
  const [y, scale, zero] = dynamically(n.x());
  return [y, scale, zero];
}
export function dynamically(x: Tensor): [Tensor, Tensor, Tensor] {
  const [high, low] = [ops.maximum(x.max(), 0), ops.minimum(x.min(), 0)];
  const range = high.sub(low);
  const scale = ops.where(ops.equal(range, 0), 1, range.div(255));
  const zero = ops.clip(ops.round(low.neg().div(scale)), 0, 255);
  const bytes = zero.cast('int32').cast('uint8');
  return [quantise(x, scale, bytes, 'uint8'), scale, bytes];
}

/** Integers minus their zero points, as float32: exact for products of bytes. */
function centred(x: Tensor, zero: Tensor | undefined, axis?: number): Tensor {
  if (!zero) return x.cast('int32').cast('float32');
  const fitted =
    zero.size === 1
      ? zero.reshape([])
      : axis === undefined
        ? zero
        : zero.reshape(x.shape.map((_, i) => (i === axis ? zero.size : 1)));
  return x.cast('int32').sub(fitted.cast('int32')).cast('float32');
}
const rowZero = (zero: Tensor | undefined): Tensor | undefined =>
  zero && zero.rank === 1 && zero.size > 1 ? zero.reshape([zero.size, 1]) : zero;

function matMulInteger(n: NodeReader): Tensor {
  const [a, b] = [centred(n.x(0), rowZero(n.maybe(2))), centred(n.x(1), n.maybe(3))];
  return ops.matmul(a.cast('float64'), b.cast('float64')).cast('int32');
}

function qLinearMatMul(n: NodeReader): Tensor {
  const real = (i: number, rows: boolean): Tensor => {
    const [scale, zero] = [n.x(i + 1), n.x(i + 2)];
    const spread = (v: Tensor) => (rows ? (rowZero(v) ?? v) : v);
    return dequantise(n.x(i), one(spread(scale)).cast('float32'), one(spread(zero)));
  };
  const y = ops.matmul(real(0, true), real(3, false));
  return quantise(y, one(n.x(6)).cast('float32'), one(n.x(7)), n.x(7).dtype);
}
const one = (v: Tensor): Tensor => (v.size === 1 ? v.reshape([]) : v);

/** A convolution of the same attributes with other operands. */
export type Convolve = (n: NodeReader, x: Tensor, w: Tensor, bias?: Tensor) => Tensor;

export const quantised = (convolve: Convolve): Record<string, Importer> => ({
  DequantizeLinear: dequantizeLinear,
  QuantizeLinear: quantizeLinear,
  DynamicQuantizeLinear: dynamicQuantize,
  MatMulInteger: matMulInteger,
  QLinearMatMul: qLinearMatMul,
  ConvInteger: (n) => convolve(n, centred(n.x(0), n.maybe(2)), centred(n.x(1), n.maybe(3), 0)).cast('int32'),
  QLinearConv: (n) => {
    const w = n.x(3);
    const byOutput = (v: Tensor) =>
      v.size === 1 ? v.reshape([]) : v.reshape([v.size, ...w.shape.slice(1).map(() => 1)]);
    const x = dequantise(n.x(0), one(n.x(1)), one(n.x(2)));
    const real = dequantise(w, byOutput(n.x(4)), byOutput(n.x(5)));
    // The bias counts in steps of both scales.
    const bias = n
      .maybe(8)
      ?.cast('float32')
      .mul(one(n.x(1)).mul(one(n.x(4))));
    return quantise(convolve(n, x, real, bias), one(n.x(6)), one(n.x(7)), n.x(7).dtype);
  },
});
