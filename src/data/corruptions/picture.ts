/** Pictures while they are changed: floats, and the filters and warps that corruptions and augmentations are made of. */
import type { Random } from '../../runtime/random.ts';
import { isGrey, type Pixels } from '../dataset.ts';

/** Values in [0, 1], `data[(y * width + x) * channels + channel]`; a grey picture has one channel. */
export interface Picture {
  readonly data: Float32Array;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

export function toPicture(image: Pixels): Picture {
  const { data, width, height } = image;
  const channels = isGrey(image) ? 1 : 3;
  const step = 3 / channels;
  const values = Float32Array.from({ length: width * height * channels }, (_, i) => data[i * step]! / 255);
  return { data: values, width, height, channels };
}

/** Clamped to [0, 1] and rounded to 8 bits. */
export function toPixels({ data, width, height, channels }: Picture): Pixels {
  const out = new Uint8Array(width * height * 3);
  for (let i = 0; i < out.length; i++) {
    const value = data[channels === 1 ? (i / 3) | 0 : i]!;
    out[i] = Math.round(255 * Math.min(1, Math.max(0, value)));
  }
  return { data: out, width, height };
}

/** Every value by itself. */
export const mapPicture = (p: Picture, f: (value: number, index: number) => number): Picture => ({
  ...p,
  data: p.data.map(f),
});

/** A grey picture of values drawn one by one. */
export const drawn = (width: number, height: number, draw: () => number): Picture => ({
  data: Float32Array.from({ length: width * height }, draw),
  width,
  height,
  channels: 1,
});

/** An index outside 0 … n−1 mirrored at the border, which is not repeated. */
export function mirrored(i: number, n: number): number {
  if (n === 1) return 0;
  const period = 2 * (n - 1);
  const at = ((i % period) + period) % period;
  return at < n ? at : period - at;
}
/** An index outside 0 … n−1 moved to the border. */
export const clamped = (i: number, n: number) => Math.min(n - 1, Math.max(0, i));

/** The sum over `taps` of the picture moved by each, times its weight. */
function weighted(
  p: Picture,
  taps: readonly { readonly dx: number; readonly dy: number; readonly weight: number }[],
  border: (i: number, n: number) => number,
): Picture {
  const { width, height, channels } = p;
  const out = new Float32Array(p.data.length);
  for (const { dx, dy, weight } of taps) {
    const columns = Int32Array.from({ length: width }, (_, x) => border(x + dx, width) * channels);
    for (let y = 0; y < height; y++) {
      const from = border(y + dy, height) * width * channels;
      const to = y * width * channels;
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < channels; c++)
          out[to + x * channels + c]! += weight * p.data[from + columns[x]! + c]!;
      }
    }
  }
  return { ...p, data: out };
}

/** Weights of a Gaussian at −radius … radius, of sum 1. */
export function gaussianTaps(sigma: number, radius: number): number[] {
  const raw = Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)),
  );
  const sum = raw.reduce((a, b) => a + b);
  return raw.map((w) => w / sum);
}

/** Gaussian blur, cut off at 4 σ; pixels beyond the border are those at it. */
export function gaussianBlur(p: Picture, sigma: number): Picture {
  const radius = Math.round(4 * sigma);
  if (radius === 0) return p;
  const taps = gaussianTaps(sigma, radius);
  const rows = weighted(
    p,
    taps.map((weight, i) => ({ dx: i - radius, dy: 0, weight })),
    clamped,
  );
  return weighted(
    rows,
    taps.map((weight, i) => ({ dx: 0, dy: i - radius, weight })),
    clamped,
  );
}

/** Correlation with a square kernel of odd side, mirrored at the border. */
export function filtered(p: Picture, kernel: ArrayLike<number>): Picture {
  const side = Math.sqrt(kernel.length);
  const radius = (side - 1) / 2;
  const taps = Array.from(kernel, (weight, i) => ({
    dx: (i % side) - radius,
    dy: Math.floor(i / side) - radius,
    weight,
  })).filter(({ weight }) => weight > 0);
  return weighted(p, taps, mirrored);
}

/** ImageMagick's motion blur: half a Gaussian of 2 · radius + 1 whole pixels in one direction (degrees). */
export function motionBlur(p: Picture, radius: number, sigma: number, angle: number): Picture {
  const length = 2 * radius + 1;
  const raw = Array.from({ length }, (_, i) => Math.exp(-(i ** 2) / (2 * sigma ** 2)));
  const sum = raw.reduce((a, b) => a + b);
  const [sine, cosine] = [Math.sin((angle * Math.PI) / 180), Math.cos((angle * Math.PI) / 180)];
  const taps = raw.map((w, i) => ({
    dx: Math.ceil(i * cosine - 0.5),
    dy: Math.ceil(i * sine - 0.5),
    weight: w / sum,
  }));
  return weighted(p, taps, clamped);
}

/** Each pixel taken from where `source` says, [y, x], bilinear. */
export function warped(
  p: Picture,
  source: (y: number, x: number) => readonly [number, number],
  border: (i: number, n: number) => number = mirrored,
): Picture {
  const { width, height, channels } = p;
  const out = new Float32Array(p.data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [fromY, fromX] = source(y, x);
      const [top, left] = [Math.floor(fromY), Math.floor(fromX)];
      const [down, right] = [fromY - top, fromX - left];
      for (let corner = 0; corner < 4; corner++) {
        const [low, far] = [corner >> 1, corner & 1];
        const share = (low ? down : 1 - down) * (far ? right : 1 - right);
        if (share === 0) continue;
        const from = (border(top + low, height) * width + border(left + far, width)) * channels;
        for (let c = 0; c < channels; c++) out[(y * width + x) * channels + c]! += share * p.data[from + c]!;
      }
    }
  }
  return { ...p, data: out };
}

/** Enlarged around the centre and cut to its size. */
export function zoomed(p: Picture, factor: number): Picture {
  const [middleY, middleX] = [(p.height - 1) / 2, (p.width - 1) / 2];
  return warped(p, (y, x) => [middleY + (y - middleY) / factor, middleX + (x - middleX) / factor]);
}

/**
 * A height map in [0, 1] by the diamond-square algorithm on a torus: rough where `decay`, by which the steps shrink from
 * one scale to the next, is near 1.
 */
export function plasma(width: number, height: number, decay: number, random: Random): Picture {
  const side = 2 ** Math.ceil(Math.log2(Math.max(width, height, 2)));
  const map = new Float64Array(side * side);
  const at = (y: number, x: number) => map[((y + side) % side) * side + ((x + side) % side)]!;
  let amplitude = 1;
  for (let step = side; step >= 2; step /= 2, amplitude /= decay) {
    const half = step / 2;
    const noise = () => amplitude * random.uniform(-1, 1);
    for (let y = half; y < side; y += step) {
      for (let x = half; x < side; x += step) {
        const corners =
          at(y - half, x - half) + at(y - half, x + half) + at(y + half, x - half) + at(y + half, x + half);
        map[y * side + x] = corners / 4 + noise();
      }
    }
    for (let y = 0; y < side; y += half) {
      for (let x = (y / half) % 2 === 0 ? half : 0; x < side; x += step) {
        const sides = at(y - half, x) + at(y + half, x) + at(y, x - half) + at(y, x + half);
        map[y * side + x] = sides / 4 + noise();
      }
    }
  }
  const [low, high] = [Math.min(...map), Math.max(...map)];
  const data = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data[y * width + x] = (map[y * side + x]! - low) / (high - low || 1);
  }
  return { data, width, height, channels: 1 };
}
