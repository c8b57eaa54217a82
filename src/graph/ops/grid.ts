import { i64 } from '../host.ts';
import { constant, type Tensor } from '../tensor.ts';
import { hardTanh } from './activations.ts';
import { opError } from './common.ts';
import { abs, add, and, cast, clip, floor, lessEqual, mul, round, sub, where } from './elementwise.ts';
import { gather } from './gather.ts';
import { reshape, slice, transpose } from './shape.ts';

export interface GridSampleOptions {
  mode?: 'bilinear' | 'nearest' | 'bicubic';
  /** What lies outside the image. */
  paddingMode?: 'zeros' | 'border' | 'reflection';
  alignCorners?: boolean;
}

/**
 * Samples x [N, C, H, W] at `grid` [N, H', W', 2] of (x, y) in [−1, 1] → [N, C, H', W'], as
 * torch.nn.functional.grid_sample. Written in gathers, so gradients reach the image and the grid.
 */
export function gridSample(x: Tensor, grid: Tensor, options: GridSampleOptions = {}): Tensor {
  const { mode = 'bilinear', paddingMode = 'zeros', alignCorners = false } = options;
  const [n, c, h, w] = x.shape as [number, number, number, number];
  if (x.rank !== 4 || grid.rank !== 4 || grid.shape[0] !== n || grid.shape[3] !== 2) {
    throw opError('gridSample', "needs x [N, C, H, W] and grid [N, H', W', 2]", [x, grid]);
  }
  const [, rows, columns] = grid.shape as [number, number, number, number];
  if (!['bilinear', 'nearest', 'bicubic'].includes(mode)) {
    throw opError('gridSample', `has no mode "${mode}"`, [x, grid]);
  }
  if (!['zeros', 'border', 'reflection'].includes(paddingMode)) {
    throw opError('gridSample', `has no padding mode "${paddingMode}"`, [x, grid]);
  }
  /** Pixel coordinates along one axis of `size` pixels. */
  const pixels = (index: number, size: number): Tensor => {
    const unit = reshape(slice(grid, 3, index, index + 1), [n, rows * columns]);
    return alignCorners ? mul(add(unit, 1), (size - 1) / 2) : sub(mul(add(unit, 1), size / 2), 0.5);
  };
  /** Coordinates brought inside where the padding mode says so. */
  const within = (at: Tensor, size: number): Tensor => {
    if (paddingMode === 'zeros') return at;
    const low = alignCorners ? 0 : -0.5;
    const inside = paddingMode === 'border' ? at : reflect(at, low, size - 1 - low);
    // No gradient at the border or beyond, as PyTorch.
    return hardTanh(inside, 0, size - 1);
  };
  const [rawX, rawY] = [pixels(0, w), pixels(1, h)];
  // Pixels as rows of channels, so that one gather fetches all channels of a place.
  const table = reshape(transpose(x, [0, 2, 3, 1]), [n * h * w, c]);
  const image = constant(
    i64(
      Array.from({ length: n }, (_, i) => i * h * w),
      [n, 1],
    ),
  );
  const fetch = (ix: Tensor, iy: Tensor): Tensor => {
    const flat = add(mul(clip(iy, 0, h - 1), w), clip(ix, 0, w - 1));
    const values = gather(table, add(cast(flat, 'int64'), image), 0);
    const inside = and(
      and(lessEqual(0, ix), lessEqual(ix, w - 1)),
      and(lessEqual(0, iy), lessEqual(iy, h - 1)),
    );
    return where(reshape(inside, [n, rows * columns, 1]), values, 0);
  };
  const image4 = (y: Tensor) => transpose(reshape(y, [n, rows, columns, c]), [0, 3, 1, 2]);
  if (mode === 'bicubic') {
    // Each of the 4 × 4 pixels around is brought inside by itself.
    const [x0, y0] = [floor(rawX), floor(rawY)];
    const [wx, wy] = [cubicShares(sub(rawX, x0)), cubicShares(sub(rawY, y0))];
    const taps = wy.flatMap((vy, j) =>
      wx.map((vx, i) => {
        const value = fetch(within(add(x0, i - 1), w), within(add(y0, j - 1), h));
        return mul(value, reshape(mul(vx, vy), [n, rows * columns, 1]));
      }),
    );
    return image4(taps.reduce(add));
  }
  const [px, py] = [within(rawX, w), within(rawY, h)];
  if (mode === 'nearest') return image4(fetch(round(px), round(py)));

  const [x0, y0] = [floor(px), floor(py)];
  const [fx, fy] = [sub(px, x0), sub(py, y0)];
  const corner = (dx: 0 | 1, dy: 0 | 1): Tensor => {
    const share = mul(dx ? fx : sub(1, fx), dy ? fy : sub(1, fy));
    return mul(fetch(add(x0, dx), add(y0, dy)), reshape(share, [n, rows * columns, 1]));
  };
  return image4(add(add(corner(0, 0), corner(1, 0)), add(corner(0, 1), corner(1, 1))));
}

/** Shares of the four pixels around a point, `t` behind the second (Keys 1981, a = −0.75). */
function cubicShares(t: Tensor): Tensor[] {
  const a = -0.75;
  const near = (s: Tensor) => add(mul(mul(s, s), sub(mul(s, a + 2), a + 3)), 1);
  const far = (s: Tensor) => sub(mul(s, add(mul(s, sub(mul(s, a), 5 * a)), 8 * a)), 4 * a);
  return [far(add(t, 1)), near(t), near(sub(1, t)), far(sub(2, t))];
}

/** Mirrors coordinates at `low` and `high` until they lie between them. */
export function reflect(at: Tensor, low: number, high: number): Tensor {
  const span = high - low;
  if (span === 0) return mul(at, 0);
  const away = abs(sub(at, low));
  const turns = floor(mul(away, 1 / span));
  const rest = sub(away, mul(turns, span));
  const even = lessEqual(sub(turns, mul(floor(mul(turns, 0.5)), 2)), 0.5);
  return add(where(even, rest, sub(span, rest)), low);
}
