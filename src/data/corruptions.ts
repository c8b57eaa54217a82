/**
 * The fifteen common corruptions of Hendrycks & Dietterich (ICLR 2019, arXiv 1903.12261) at five severities, with the
 * parameters of CIFAR-10-C (`make_cifar_c.py` of github.com/hendrycks/robustness).
 *
 * Those in pixels are for images of 32×32: at a shorter side s they are multiplied by round(s / 32), at least 1. Made here
 * and not there: frost, whose photographs are replaced by noise; glass blur exchanges pixels, where the published loop
 * copies one over the other; zoom, snow and elastic displacements sample once around the centre; results are rounded
 * to 8 bits, not cut. A grey picture stays grey: it is one channel.
 */
import { didYouMean } from '../graph/nearest.ts';
import type { Random } from '../runtime/random.ts';
import * as blur from './corruptions/blur.ts';
import * as digital from './corruptions/digital.ts';
import * as noise from './corruptions/noise.ts';
import { type Picture, toPicture, toPixels } from './corruptions/picture.ts';
import * as weather from './corruptions/weather.ts';
import type { Pixels } from './dataset.ts';

export type Severity = 1 | 2 | 3 | 4 | 5;

/** What a corruption does at severities 1 to 5. `unit`: how many pixels stand for one of a 32×32 image. */
type Corruption = (image: Pixels, level: number, random: Random, unit: number) => Pixels | Promise<Pixels>;

/** A corruption of floats, by the parameters of each severity. */
const on =
  <P>(
    levels: readonly [P, P, P, P, P],
    change: (p: Picture, parameters: P, random: Random, unit: number) => Picture,
  ): Corruption =>
  (image, level, random, unit) =>
    toPixels(change(toPicture(image), levels[level]!, random, unit));

type Pair = readonly [number, number];
type Triple = readonly [number, number, number];
type Flakes = readonly [number, number, number, number, number, number, number];

const table = {
  'gaussian-noise': on([0.04, 0.06, 0.08, 0.09, 0.1], noise.gaussianNoise),
  'shot-noise': on([500, 250, 100, 75, 50], noise.shotNoise),
  'impulse-noise': on([0.01, 0.02, 0.03, 0.05, 0.07], noise.impulseNoise),
  'defocus-blur': on<Pair>(
    [
      [0.3, 0.4],
      [0.4, 0.5],
      [0.5, 0.6],
      [1, 0.2],
      [1.5, 0.1],
    ],
    (p, [radius, smooth], _, unit) => blur.defocusBlur(p, radius * unit, smooth),
  ),
  'glass-blur': on<Triple>(
    [
      [0.05, 1, 1],
      [0.25, 1, 1],
      [0.4, 1, 1],
      [0.25, 1, 2],
      [0.4, 1, 2],
    ],
    (p, [sigma, reach, passes], random, unit) =>
      blur.glassBlur(p, sigma * unit, reach * unit, passes, random),
  ),
  'motion-blur': on<Pair>(
    [
      [6, 1],
      [6, 1.5],
      [6, 2],
      [8, 2],
      [9, 2.5],
    ],
    (p, [radius, sigma], random, unit) => blur.motionBlurred(p, radius * unit, sigma * unit, random),
  ),
  'zoom-blur': on([1.06, 1.11, 1.16, 1.21, 1.26], blur.zoomBlur),
  snow: on<Flakes>(
    [
      [0.1, 0.2, 1, 0.6, 8, 3, 0.95],
      [0.1, 0.2, 1, 0.5, 10, 4, 0.9],
      [0.15, 0.3, 1.75, 0.55, 10, 4, 0.9],
      [0.25, 0.3, 2.25, 0.6, 12, 6, 0.85],
      [0.3, 0.3, 1.25, 0.65, 14, 12, 0.8],
    ],
    (p, [mean, deviation, size, threshold, radius, sigma, keep], random, unit) =>
      weather.snow(
        p,
        { mean, deviation, threshold, keep, size: size * unit, radius: radius * unit, sigma: sigma * unit },
        random,
      ),
  ),
  frost: on<Pair>(
    [
      [1, 0.2],
      [1, 0.3],
      [0.9, 0.4],
      [0.85, 0.4],
      [0.75, 0.45],
    ],
    (p, [keep, ice], random) => weather.frost(p, keep, ice, random),
  ),
  fog: on<Pair>(
    [
      [0.2, 3],
      [0.5, 3],
      [0.75, 2.5],
      [1, 2],
      [1.5, 1.75],
    ],
    (p, [amount, decay], random) => weather.fog(p, amount, decay, random),
  ),
  brightness: on([0.05, 0.1, 0.15, 0.2, 0.3], weather.brightness),
  contrast: on([0.75, 0.5, 0.4, 0.3, 0.15], digital.contrast),
  /** Shares of the shorter side. At severity 1 it is an affine map alone, the strongest of the five. */
  'elastic-transform': on<Triple>(
    [
      [0, 0, 0.08],
      [0.05, 0.2, 0.07],
      [0.08, 0.06, 0.06],
      [0.1, 0.04, 0.05],
      [0.1, 0.03, 0.03],
    ],
    (p, [strength, sigma, jitter], random) => {
      const side = Math.min(p.width, p.height);
      return digital.elasticTransform(p, strength * side, sigma * side, jitter * side, random);
    },
  ),
  pixelate: (image, level) => digital.pixelate(image, [0.95, 0.9, 0.85, 0.75, 0.65][level]!),
  'jpeg-compression': (image, level) => digital.jpegCompression(image, [80, 65, 58, 50, 40][level]!),
} satisfies Record<string, Corruption>;

export type CorruptionName = keyof typeof table;
/** In the standard order: noise, blur, weather, digital. */
export const corruptionNames = Object.keys(table) as CorruptionName[];

/** The corruptions of these names, or all of them for `['all']`; otherwise an error that suggests a name. */
export function findCorruptions(names: readonly string[]): CorruptionName[] {
  if (String(names) === 'all') return corruptionNames;
  for (const name of names) {
    if (!Object.hasOwn(table, name))
      throw new Error(
        `There is no corruption "${name}"${didYouMean(name, corruptionNames)}; there are ${corruptionNames.join(', ')}`,
      );
  }
  return names as CorruptionName[];
}

/** The corrupted image, of the same size; the same for the same random numbers. */
export async function corrupt(
  image: Pixels,
  name: CorruptionName,
  severity: Severity,
  random: Random,
): Promise<Pixels> {
  const unit = Math.max(1, Math.round(Math.min(image.width, image.height) / 32));
  return (table[name] as Corruption)(image, severity - 1, random, unit);
}
