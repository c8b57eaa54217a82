/** Pillow's image resampling, bit for bit (libImaging/Resample.c): two passes with 8 bits in between. */
import type { Pixels } from './dataset.ts';

interface Filter {
  readonly support: number;
  weight(x: number): number;
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

const filters = {
  nearest: undefined,
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight(x) {
      const a = Math.abs(x);
      if (a === 0) return 1;
      return a >= 1 ? 0 : sinc(a) * (0.54 + 0.46 * Math.cos(a * Math.PI));
    },
  },
  bicubic: {
    support: 2,
    weight(x) {
      const a = Math.abs(x);
      if (a < 1) return (1.5 * a - 2.5) * a * a + 1;
      return a < 2 ? (((a - 5) * a + 8) * a - 4) * -0.5 : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
} satisfies Record<string, Filter | undefined>;

export type Resampling = keyof typeof filters;

/** Pillow's numbers for its filters, as `preprocessor_config.json` has them. */
export const resamplings: readonly Resampling[] = [
  'nearest',
  'lanczos',
  'bilinear',
  'bicubic',
  'box',
  'hamming',
];

/** A rectangle in pixels. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const bits = 22;

interface Axis {
  /** First source index of each output. */
  readonly start: Int32Array;
  readonly count: Int32Array;
  readonly weights: Int32Array;
  /** Weights a row. */
  readonly stride: number;
}

/** Fixed-point weights for outputs `from` … `from + n` of `target`. */
function axis(filter: Filter, source: number, target: number, from: number, n: number): Axis {
  const scale = source / target;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const stride = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(n);
  const count = new Int32Array(n);
  const weights = new Int32Array(n * stride);
  const row = new Float64Array(stride);
  for (let i = 0; i < n; i++) {
    const centre = (from + i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const length = Math.min(source, Math.trunc(centre + support + 0.5)) - first;
    let sum = 0;
    for (let k = 0; k < length; k++) {
      row[k] = filter.weight((k + first - centre + 0.5) * (1 / stretch));
      sum += row[k]!;
    }
    start[i] = first;
    count[i] = length;
    for (let k = 0; k < length; k++) {
      const w = (sum === 0 ? row[k]! : row[k]! / sum) * 2 ** bits;
      weights[i * stride + k] = Math.trunc(w < 0 ? w - 0.5 : w + 0.5);
    }
  }
  return { start, count, weights, stride };
}

/** Source indices of outputs `from` … `from + n`; Pillow adds steps up, and so lands where rounding takes it. */
function nearest(source: number, target: number, from: number, n: number): Int32Array {
  const out = new Int32Array(n);
  const step = source / target;
  let at = step * 0.5;
  for (let i = 0; i < from + n; i++, at += step) if (i >= from) out[i - from] = at;
  return out;
}

const clamp8 = (sum: number) => {
  const v = sum >> bits;
  return v < 0 ? 0 : v > 255 ? 255 : v;
};

function horizontal({ data, width, height }: Pixels, a: Axis): Pixels {
  const n = a.start.length;
  const out = new Uint8Array(n * height * 3);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < n; x++) {
      let r = 1 << (bits - 1);
      let g = r;
      let b = r;
      let i = (y * width + a.start[x]!) * 3;
      const end = x * a.stride + a.count[x]!;
      for (let k = x * a.stride; k < end; k++, i += 3) {
        const w = a.weights[k]!;
        r += data[i]! * w;
        g += data[i + 1]! * w;
        b += data[i + 2]! * w;
      }
      out[o++] = clamp8(r);
      out[o++] = clamp8(g);
      out[o++] = clamp8(b);
    }
  }
  return { data: out, width: n, height };
}

/** `top`: the row of the source at which `data` begins. */
function vertical({ data, width }: Pixels, top: number, a: Axis): Pixels {
  const n = a.start.length;
  const line = width * 3;
  const out = new Uint8Array(n * line);
  for (let y = 0, o = 0; y < n; y++) {
    const first = (a.start[y]! - top) * line;
    const end = y * a.stride + a.count[y]!;
    for (let x = 0; x < line; x++) {
      let sum = 1 << (bits - 1);
      for (let k = y * a.stride, i = first + x; k < end; k++, i += line) sum += data[i]! * a.weights[k]!;
      out[o++] = clamp8(sum);
    }
  }
  return { data: out, width, height: n };
}

/** Part of a picture, copied. The window must lie inside. */
export function crop(pixels: Pixels, { left, top, width, height }: Window): Pixels {
  if (left === 0 && top === 0 && width === pixels.width && height === pixels.height) return pixels;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((y + top) * pixels.width + left) * 3;
    data.set(pixels.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { data, width, height };
}

/**
 * `pixels` resampled to `width`×`height`, of which only `window` is computed: what Pillow's `resize` and a crop give,
 * without the parts that the crop drops.
 */
export function resize(
  pixels: Pixels,
  width: number,
  height: number,
  resampling: Resampling,
  window: Window = { left: 0, top: 0, width, height },
): Pixels {
  if (!(width >= 1 && height >= 1)) throw new Error(`cannot resize to ${width}×${height} pixels`);
  const filter: Filter | undefined = filters[resampling];
  if (!filter) {
    const data = new Uint8Array(window.width * window.height * 3);
    const xs = nearest(pixels.width, width, window.left, window.width);
    const ys = nearest(pixels.height, height, window.top, window.height);
    let o = 0;
    for (const y of ys) {
      for (const x of xs) {
        const i = (y * pixels.width + x) * 3;
        data[o++] = pixels.data[i]!;
        data[o++] = pixels.data[i + 1]!;
        data[o++] = pixels.data[i + 2]!;
      }
    }
    return { data, width: window.width, height: window.height };
  }
  // Pillow leaves out the pass along a side that keeps its length
  const rows =
    height === pixels.height ? undefined : axis(filter, pixels.height, height, window.top, window.height);
  const top = rows ? rows.start[0]! : window.top;
  const bottom = rows ? rows.start.at(-1)! + rows.count.at(-1)! : window.top + window.height;
  const band = { left: 0, top, width: pixels.width, height: bottom - top };
  const across =
    width === pixels.width
      ? crop(pixels, { ...band, left: window.left, width: window.width })
      : horizontal(crop(pixels, band), axis(filter, pixels.width, width, window.left, window.width));
  return rows ? vertical(across, top, rows) : across;
}
