import { floats, i64 } from '../host.ts';
import { constant, type Tensor } from '../tensor.ts';
import { opError } from './common.ts';
import { type PerAxis, perAxis } from './conv.ts';
import { gather } from './gather.ts';
import { matmul } from './linear.ts';
import { expand, reshape, transpose } from './shape.ts';

export interface ResizeOptions {
  /** `nearest` takes the pixel at ⌊o·n / m⌋ of n, as PyTorch's of that name; `nearestExact` the one at its centre. */
  mode?: 'nearest' | 'nearestExact' | 'bilinear' | 'bicubic';
  /** Map corner to corner (bilinear, bicubic). */
  alignCorners?: boolean;
  /** Widen the filter when shrinking, as Pillow does (bilinear, bicubic). */
  antialias?: boolean;
}

/** Multiplies one axis by a constant matrix [`out`, axis length] of `rows`: linear maps such as resizing, separably. */
export function mapAxis(x: Tensor, axis: number, rows: readonly number[], out: number): Tensor {
  const matrix = constant(floats(rows, [out, x.shape[axis]!], x.dtype));
  if (axis === x.rank - 1) return matmul(x, matrix, { transB: true });
  if (axis === x.rank - 2) return matmul(matrix, x);
  const order = x.shape.map((_, i) => (i === axis ? x.rank - 1 : i === x.rank - 1 ? axis : i));
  return transpose(matmul(transpose(x, order), matrix, { transB: true }), order);
}

const triangle = (t: number): number => Math.max(0, 1 - Math.abs(t));
/** Keys' cubic convolution kernel. */
const cubic = (a: number) => (t: number) => {
  const x = Math.abs(t);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
};

/** Weights of each of `n` elements in each of `m` resized ones, row by row. */
function weights(n: number, m: number, { mode, alignCorners, antialias }: Required<ResizeOptions>): number[] {
  const rows = new Array<number>(n * m).fill(0);
  const scale = n / m;
  const smooth = mode === 'bicubic';
  for (let o = 0; o < m; o++) {
    const put = (i: number, w: number) => {
      rows[o * n + Math.min(Math.max(i, 0), n - 1)]! += w;
    };
    if (antialias) {
      const wide = Math.max(scale, 1);
      const centre = scale * (o + 0.5);
      const reach = (smooth ? 2 : 1) * wide;
      const from = Math.max(Math.trunc(centre - reach + 0.5), 0);
      const to = Math.min(Math.trunc(centre + reach + 0.5), n);
      const kernel = smooth ? cubic(-0.5) : triangle;
      const taps = Array.from({ length: to - from }, (_, j) => kernel((from + j - centre + 0.5) / wide));
      const total = taps.reduce((a, b) => a + b, 0);
      taps.forEach((w, j) => {
        put(from + j, w / total);
      });
      continue;
    }
    let at = alignCorners ? (m > 1 ? (o * (n - 1)) / (m - 1) : 0) : scale * (o + 0.5) - 0.5;
    if (!smooth) at = Math.max(at, 0);
    const base = Math.floor(at);
    for (let j = smooth ? -1 : 0; j <= (smooth ? 2 : 1); j++) {
      put(base + j, (smooth ? cubic(-0.75) : triangle)(at - base - j));
    }
  }
  return rows;
}

/**
 * Resizes the spatial axes of x [N, C, ...spatial] to `size`, with the pixel positions of
 * torch.nn.functional.interpolate. Each axis is one product with a constant matrix, or a copy (nearest).
 */
export function resize(x: Tensor, size: PerAxis, options: ResizeOptions = {}): Tensor {
  const { mode = 'nearest', alignCorners = false, antialias = false } = options;
  if (x.rank < 3) throw opError('resize', 'needs [N, C, ...spatial]', [x]);
  const nearest = mode === 'nearest' || mode === 'nearestExact';
  if (!nearest && mode !== 'bilinear' && mode !== 'bicubic')
    throw opError('resize', `has no mode "${mode}"`, [x]);
  if ((antialias || alignCorners) && (nearest || (antialias && alignCorners))) {
    throw opError('resize', 'antialias or alignCorners go with bilinear or bicubic, and not together', [x]);
  }
  return perAxis('resize', 'size', size, x.rank - 2).reduce((y, m, i) => {
    const axis = i + 2;
    const n = x.shape[axis]!;
    if (m === n) return y;
    if (!nearest) return mapAxis(y, axis, weights(n, m, { mode, alignCorners, antialias }), m);
    if (m % n === 0) {
      const unit = reshape(y, [...y.shape.slice(0, axis + 1), 1, ...y.shape.slice(axis + 1)]);
      return reshape(expand(unit, unit.shape.with(axis + 1, m / n)), y.shape.with(axis, m));
    }
    const shift = mode === 'nearestExact' ? 0.5 : 0;
    const at = Array.from({ length: m }, (_, o) => Math.min(Math.floor(((o + shift) * n) / m), n - 1));
    return gather(y, constant(i64(at)), axis);
  }, x);
}
