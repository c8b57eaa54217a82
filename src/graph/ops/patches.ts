import { i64, sizeOf } from '../host.ts';
import { constant, type Tensor } from '../tensor.ts';
import { opError } from './common.ts';
import { type PerAxis, perAxis, slide } from './conv.ts';
import { gather, scatterAdd } from './gather.ts';
import { expand, pad, reshape, slice } from './shape.ts';

export interface PatchOptions {
  stride?: PerAxis;
  padding?: PerAxis;
  dilation?: PerAxis;
}

/** Where each element of each window lies in the padded, flattened plane: [kernel elements · windows]. */
function places(op: string, lengths: readonly number[], kernel: PerAxis, options: PatchOptions) {
  const { stride = 1, padding = 0, dilation = 1 } = options;
  const rank = lengths.length;
  const size = perAxis(op, 'kernel', kernel, rank);
  const strides = perAxis(op, 'stride', stride, rank);
  const margin = perAxis(op, 'padding', padding, rank, 0);
  const dilations = perAxis(op, 'dilation', dilation, rank);
  const counts = slide(lengths, size, { strides, before: margin, after: margin, dilations });
  if (counts.some((n) => n < 1)) throw opError(op, `the kernel [${size}] is larger than [${lengths}]`);
  const wide = lengths.map((n, i) => n + 2 * margin[i]!);
  const along = (steps: readonly number[], lengthsOfAxes: readonly number[]) =>
    lengthsOfAxes.reduce<number[]>(
      (all, n, i) => {
        const unit = steps[i]! * sizeOf(wide.slice(i + 1));
        return all.flatMap((at) => Array.from({ length: n }, (_, k) => at + k * unit));
      },
      [0],
    );
  const windows = along(strides, counts);
  const at = along(dilations, size).flatMap((k) => windows.map((w) => k + w));
  return { at: constant(i64(at)), margin, wide, area: sizeOf(size), windows: windows.length };
}

/**
 * The windows of x [N, C, ...spatial] as columns: [N, C·kernel elements, windows], as torch.nn.functional.unfold (of any
 * number of spatial axes).
 */
export function unfold(x: Tensor, kernel: PerAxis, options: PatchOptions = {}): Tensor {
  if (x.rank < 3) throw opError('unfold', 'needs [N, C, ...spatial]', [x]);
  const [n, c, ...lengths] = x.shape as [number, number, ...number[]];
  const p = places('unfold', lengths, kernel, options);
  const padded = pad(x, [0, 0, ...p.margin], [0, 0, ...p.margin]);
  const picked = gather(reshape(padded, [n, c, sizeOf(p.wide)]), p.at, 2);
  return reshape(picked, [n, c * p.area, p.windows]);
}

/** Adds columns [N, C·kernel elements, windows] into [N, C, ...size]: the transpose of `unfold`. */
export function fold(
  x: Tensor,
  size: readonly number[],
  kernel: PerAxis,
  options: PatchOptions = {},
): Tensor {
  const p = places('fold', size, kernel, options);
  const [n, rows, windows] = x.shape as [number, number, number];
  if (x.rank !== 3 || rows % p.area !== 0 || windows !== p.windows) {
    throw opError('fold', `needs [N, C·${p.area}, ${p.windows}]`, [x]);
  }
  const c = rows / p.area;
  const flat = reshape(x, [n * c, p.area * windows]);
  const zero = expand(constant(0, x.dtype), [n * c, sizeOf(p.wide)]);
  const sums = scatterAdd(zero, expand(reshape(p.at, [1, p.at.size]), flat.shape), flat, 1);
  let y = reshape(sums, [n, c, ...p.wide]);
  size.forEach((length, i) => {
    y = slice(y, i + 2, p.margin[i]!, p.margin[i]! + length);
  });
  return y;
}
