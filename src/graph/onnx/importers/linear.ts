import { isFloat } from '../../ops/common.ts';
import * as ops from '../../ops/index.ts';
import { stopGradient } from '../../ops/index.ts';
import { constant, type Tensor } from '../../tensor.ts';
import { type Importer, type NodeReader, numbersAs } from '../reader.ts';

/** Products of integers are computed in float64, where they are exact up to 2^53. */
export const product = (a: Tensor, b: Tensor): Tensor =>
  isFloat(a) ? ops.matmul(a, b) : ops.matmul(a.cast('float64'), b.cast('float64')).cast(a.dtype);

function gemm(n: NodeReader): Tensor {
  const [transA, transB] = [n.flag('transA'), n.flag('transB')];
  const { dtype } = n.x();
  const [a, b] = isFloat(n.x()) ? [n.x(0), n.x(1)] : [n.x(0).cast('float64'), n.x(1).cast('float64')];
  const y = ops.matmul(a, b, { transA, transB, alpha: n.number('alpha', 1) });
  const c = n.maybe(2)?.cast(y.dtype);
  return (c ? y.add(c.mul(n.number('beta', 1))) : y).cast(dtype);
}

/** The determinant by Gaussian elimination with row pivoting: which rows are pivots is held constant. */
function determinant(a: Tensor): Tensor {
  const size = a.dim(-1);
  const batch = a.shape.slice(0, -2);
  const dtype = a.dtype === 'float64' ? 'float64' : 'float32';
  let work = a.cast(dtype);
  let free = ops.expand(constant(1, dtype), [...batch, size]);
  let det = ops.expand(constant(1, dtype), batch);
  for (let k = 0; k < size; k++) {
    const column = ops.slice(work, -1, k, k + 1).reshape([...batch, size]);
    // +1 keeps a free row ahead of a used one where the column is zero.
    const pick = ops.oneHot(ops.argMax(ops.abs(stopGradient(column)).add(1).mul(free)), size, dtype);
    const chosen = pick.reshape([...batch, size, 1]);
    const row = work.mul(chosen).sum(-2, true);
    const pivot = ops.slice(row, -1, k, k + 1);
    // Each free row above the pivot would be crossed by a swap.
    const above = ops.cumSum(pick, -1, true).sub(pick).mul(free).sum(-1);
    const sign = ops.sub(1, ops.remainder(above, 2).mul(2));
    det = det.mul(pivot.reshape(batch)).mul(sign);
    const safe = ops.where(ops.equal(pivot, 0), 1, pivot);
    const factor = column.reshape([...batch, size, 1]).div(safe);
    work = work.sub(ops.where(ops.equal(chosen, 1), 0, factor.mul(row)));
    free = free.sub(pick);
  }
  return det.cast(a.dtype);
}

/** Discrete Fourier transform of one axis as a product with cosines and sines; complex numbers on a last axis of 2. */
export function fourier(
  x: Tensor,
  axis: number,
  length: number,
  inverse: boolean,
  onesided: boolean,
): Tensor {
  const complex = x.dim(-1) === 2;
  const size = x.dim(axis);
  const none = x.shape.map(() => 0);
  const fitted =
    length <= size ? ops.slice(x, axis, 0, length) : ops.pad(x, none, none.with(axis, length - size));
  const last = x.rank - 2;
  const order = [...x.shape.keys()].slice(0, -1);
  order[axis] = last;
  order[last] = axis;
  const part = (i: number) =>
    ops
      .slice(fitted, -1, i, i + 1)
      .reshape(fitted.shape.slice(0, -1))
      .transpose(order);
  const bins = onesided ? Math.floor(length / 2) + 1 : length;
  // A one-sided spectrum is inverted by its mirror image, which is the conjugate.
  const angles = (f: (angle: number) => number) =>
    numbersAs(
      Array.from({ length: length * bins }, (_, i) =>
        f((2 * Math.PI * ((Math.floor(i / bins) * (i % bins)) % length)) / length),
      ),
      [length, bins],
      x.dtype,
    );
  const [cos, sin] = [angles(Math.cos), angles((a) => (inverse ? 1 : -1) * Math.sin(a))];
  const re = part(0);
  const im = complex ? part(1) : undefined;
  const real = im ? ops.matmul(re, cos).sub(ops.matmul(im, sin)) : ops.matmul(re, cos);
  const imaginary = im ? ops.matmul(re, sin).add(ops.matmul(im, cos)) : ops.matmul(re, sin);
  const scale = inverse ? 1 / length : 1;
  return ops.stack([real.transpose(order).mul(scale), imaginary.transpose(order).mul(scale)], -1);
}

function dft(n: NodeReader): Tensor {
  const x = n.x();
  const axis = n.opset >= 20 ? (n.known(2)?.[0] ?? -2) : n.number('axis', 1);
  const at = ops.normalizeAxis(axis, x.rank);
  const [inverse, onesided] = [n.flag('inverse'), n.flag('onesided')];
  if (!(inverse && onesided)) return fourier(x, at, n.known(1)?.[0] ?? x.dim(at), inverse, onesided);
  const bins = x.dim(at);
  const length = n.known(1)?.[0] ?? 2 * (bins - 1);
  const wanted = Math.floor(length / 2) + 1;
  const none = x.shape.map(() => 0);
  const half = wanted <= bins ? ops.slice(x, at, 0, wanted) : ops.pad(x, none, none.with(at, wanted - bins));
  const mirrored = ops.flip(ops.slice(half, at, 1, length - wanted + 1), at);
  const conjugate = mirrored.mul(numbersAs([1, -1], [2], x.dtype));
  return ops.slice(fourier(ops.concat([half, conjugate], at), at, length, true, false), -1, 0, 1);
}

/** Spectra of overlapping frames of x [N, length, 1 or 2]. */
function shortTimeFourier(n: NodeReader): Tensor {
  const x = n.x().rank === 2 ? n.x().reshape([...n.x().shape, 1]) : n.x();
  const step = n.required(1)[0]!;
  const window = n.maybe(2);
  const length = n.known(3)?.[0] ?? window?.size ?? n.fail('has no frame length');
  const frames = Math.floor((x.dim(1) - length) / step) + 1;
  const at = Array.from({ length: frames * length }, (_, i) => Math.floor(i / length) * step + (i % length));
  const cut = ops.gather(x, numbersAs(at, [frames, length], 'int64'), 1);
  const shaped = window ? cut.mul(window.reshape([length, 1])) : cut;
  return fourier(shaped, 2, length, false, n.flag('onesided', true));
}

/** Products, determinants and Fourier transforms. */
export const products: Record<string, Importer> = {
  MatMul: (n) => product(n.x(0), n.x(1)),
  Gemm: gemm,
  Einsum: (n) => ops.einsum(n.string('equation', ''), ...n.all),
  Det: (n) => determinant(n.x()),
  DFT: dft,
  STFT: shortTimeFourier,
};
