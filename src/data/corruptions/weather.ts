import type { Random } from '../../runtime/random.ts';
import { drawn, mapPicture, motionBlur, type Picture, plasma, zoomed } from './picture.ts';

const luminance = ({ data, channels }: Picture, pixel: number): number =>
  channels === 1
    ? data[pixel]!
    : 0.299 * data[3 * pixel]! + 0.587 * data[3 * pixel + 1]! + 0.114 * data[3 * pixel + 2]!;

export interface Snow {
  /** Mean and deviation of the noise that flakes are cut from, and the least value of a flake. */
  readonly mean: number;
  readonly deviation: number;
  readonly threshold: number;
  /** Size of a flake in pixels. */
  readonly size: number;
  /** How far flakes are drawn out, in pixels. */
  readonly radius: number;
  readonly sigma: number;
  /** How much the picture keeps of itself; the rest is whitened. */
  readonly keep: number;
}

/** Falling flakes, and the same upside down, over a whitened picture. */
export function snow(p: Picture, s: Snow, random: Random): Picture {
  const noise = drawn(p.width, p.height, () => s.mean + s.deviation * random.normal());
  const flakes = mapPicture(zoomed(noise, s.size), (v) => (v < s.threshold ? 0 : Math.min(1, v)));
  const { data: layer } = motionBlur(flakes, s.radius, s.sigma, random.uniform(-135, -45));
  return mapPicture(p, (v, i) => {
    const pixel = Math.floor(i / p.channels);
    const white = Math.max(v, 1.5 * luminance(p, pixel) + 0.5);
    return s.keep * v + (1 - s.keep) * white + layer[pixel]! + layer[layer.length - 1 - pixel]!;
  });
}

/** Ice is a little blue. */
const iceTint = [0.86, 0.94, 1];

/**
 * `keep` of the picture and `ice` of frost. ImageNet-C lays crops of six photographs of frost over the picture; here it is
 * made: bright ridges where two rough height maps cross their middle, on a pane that is clearer in some places.
 */
export function frost(p: Picture, keep: number, ice: number, random: Random): Picture {
  const map = (decay: number) => plasma(p.width, p.height, decay, random).data;
  const [fine, finer, pane] = [map(1.4), map(1.4), map(2.5)];
  return mapPicture(p, (v, i) => {
    const pixel = Math.floor(i / p.channels);
    const ridge = (m: Float32Array) => (1 - Math.abs(2 * m[pixel]! - 1)) ** 3;
    const crystal = Math.min(1, 0.35 * pane[pixel]! + 0.75 * Math.max(ridge(fine), ridge(finer)));
    const tint = p.channels === 1 ? 1 : iceTint[i % 3]!;
    return keep * v + ice * crystal * tint;
  });
}

/** A height map as fog: `amount` of it added, the sum brought back to the picture's range. */
export function fog(p: Picture, amount: number, decay: number, random: Random): Picture {
  const map = plasma(p.width, p.height, decay, random).data;
  const most = p.data.reduce((a, b) => Math.max(a, b), 0);
  const scale = most / (most + amount);
  return mapPicture(p, (v, i) => (v + amount * map[Math.floor(i / p.channels)]!) * scale);
}

/** Value (of hue, saturation, value) raised by `amount`; what is black becomes grey. */
export function brightness(p: Picture, amount: number): Picture {
  const { data, channels } = p;
  const out = new Float32Array(data.length);
  for (let i = 0; i < data.length; i += channels) {
    const pixel = data.subarray(i, i + channels);
    const value = Math.max(...pixel);
    const next = Math.min(1, value + amount);
    for (let c = 0; c < channels; c++) out[i + c] = value > 0 ? (pixel[c]! * next) / value : next;
  }
  return { ...p, data: out };
}
