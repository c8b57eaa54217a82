import type { Random } from '../../runtime/random.ts';
import { filtered, gaussianBlur, gaussianTaps, motionBlur, type Picture, zoomed } from './picture.ts';

/** A disk of this radius, smoothed by a Gaussian. */
export function defocusBlur(p: Picture, radius: number, smooth: number): Picture {
  const reach = Math.max(1, Math.ceil(radius));
  const taps = gaussianTaps(smooth, radius <= 8 ? 1 : 2);
  const margin = (taps.length - 1) / 2;
  const side = 2 * (reach + margin) + 1;
  const kernel = new Float64Array(side * side);
  let count = 0;
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      if (x * x + y * y > radius * radius) continue;
      count++;
      taps.forEach((a, i) => {
        taps.forEach((b, j) => {
          kernel[(y + reach + i) * side + x + reach + j]! += a * b;
        });
      });
    }
  }
  return filtered(
    p,
    kernel.map((w) => w / count),
  );
}

/** Blurred, each pixel changed with one near by, blurred again. */
export function glassBlur(p: Picture, sigma: number, reach: number, passes: number, random: Random): Picture {
  const { data, width, height, channels } = gaussianBlur(p, sigma);
  const out = data.slice();
  for (let pass = 0; pass < passes; pass++) {
    for (let y = height - reach; y > reach; y--) {
      for (let x = width - reach; x > reach; x--) {
        const [dx, dy] = [random.int(2 * reach) - reach, random.int(2 * reach) - reach];
        for (let c = 0; c < channels; c++) {
          const [here, there] = [(y * width + x) * channels + c, ((y + dy) * width + x + dx) * channels + c];
          [out[here], out[there]] = [out[there]!, out[here]!];
        }
      }
    }
  }
  return gaussianBlur({ ...p, data: out }, sigma);
}

export const motionBlurred = (p: Picture, radius: number, sigma: number, random: Random): Picture =>
  motionBlur(p, radius, sigma, random.uniform(-45, 45));

/** The mean of the picture and of its enlargements by 1, 1.01, … below `end`. */
export function zoomBlur(p: Picture, end: number): Picture {
  const steps = Math.round((end - 1) / 0.01);
  const sum = p.data.slice();
  for (let i = 0; i < steps; i++) {
    const { data } = zoomed(p, 1 + 0.01 * i);
    for (let at = 0; at < sum.length; at++) sum[at]! += data[at]!;
  }
  return { ...p, data: sum.map((v) => v / (steps + 1)) };
}
