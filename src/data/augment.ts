/**
 * Random changes to training pictures, all in 8-bit RGB and drawn from a seeded generator. Parameters mean what they
 * mean in torchvision; the draws differ, since generators do.
 */
import type { Random } from '../runtime/random.ts';
import type { Pixels } from './dataset.ts';
import { crop, type Resampling, resize, type Window } from './resize.ts';

/** A random change; it returns a new picture or the one it got. */
export type Augmentation = (image: Pixels, random: Random) => Pixels;

/** One after the other. */
export const compose =
  (...steps: readonly Augmentation[]): Augmentation =>
  (image, random) =>
    steps.reduce((current, step) => step(current, random), image);

/** `step` with this probability. */
export const sometimes =
  (probability: number, step: Augmentation): Augmentation =>
  (image, random) =>
    random.next() < probability ? step(image, random) : image;

type Range = readonly [low: number, high: number];

/** The window that RandomResizedCrop cuts from `width`×`height`: torchvision's rule, ten tries and then the centre. */
export function cropWindow(
  width: number,
  height: number,
  scale: Range,
  ratio: Range,
  random: Random,
): Window {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * random.uniform(...scale);
    const aspect = Math.exp(random.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = Math.round(Math.sqrt(area * aspect));
    const h = Math.round(Math.sqrt(area / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      return { left: random.int(width - w + 1), top: random.int(height - h + 1), width: w, height: h };
    }
  }
  const whole = width / height;
  const w = whole > ratio[1] ? Math.max(1, Math.round(height * ratio[1])) : width;
  const h = whole < ratio[0] ? Math.max(1, Math.round(width / ratio[0])) : height;
  return { left: (width - w) >> 1, top: (height - h) >> 1, width: w, height: h };
}

export interface CropOptions {
  /** Share of the area that is kept. CoOp trains with torchvision's default (0.08, 1). */
  readonly scale?: Range;
  /** Width by height of the cut. Default (3/4, 4/3). */
  readonly ratio?: Range;
  /** Default bicubic, as CLIP's own transforms. */
  readonly resampling?: Resampling;
}

/** A random part of the picture at `size`×`size` pixels (or height and width). */
export function randomResizedCrop(
  size: number | { readonly height: number; readonly width: number },
  { scale = [0.08, 1], ratio = [3 / 4, 4 / 3], resampling = 'bicubic' }: CropOptions = {},
): Augmentation {
  const { height, width } = typeof size === 'number' ? { height: size, width: size } : size;
  return (image, random) =>
    resize(
      crop(image, cropWindow(image.width, image.height, scale, ratio, random)),
      width,
      height,
      resampling,
    );
}

/** Left and right swapped, with this probability. */
export const horizontalFlip = (probability = 0.5): Augmentation => sometimes(probability, mirror);

/** Left and right swapped. */
export function mirror({ data, width, height }: Pixels): Pixels {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 3;
      const to = (y * width + width - 1 - x) * 3;
      out[to] = data[from]!;
      out[to + 1] = data[from + 1]!;
      out[to + 2] = data[from + 2]!;
    }
  }
  return { data: out, width, height };
}

/** Moves the picture by up to `pixels` along each side; what comes in has the value `fill` (white, as icons stand on). */
export const randomShift =
  (pixels: number, fill = 255): Augmentation =>
  ({ data, width, height }, random) => {
    const dx = random.int(2 * pixels + 1) - pixels;
    const dy = random.int(2 * pixels + 1) - pixels;
    const out = new Uint8Array(data.length).fill(fill);
    const from = Math.max(0, -dx);
    const count = Math.max(0, width - Math.abs(dx));
    for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
      const start = (y * width + from) * 3;
      out.set(data.subarray(start, start + count * 3), ((y + dy) * width + from + dx) * 3);
    }
    return { data: out, width, height };
  };

const mapValues = ({ data, width, height }: Pixels, f: (value: number) => number): Pixels => ({
  data: data.map(f),
  width,
  height,
});

/** Black becomes white and the other way round, with this probability. */
export const randomInvert = (probability = 0.5): Augmentation =>
  sometimes(probability, (image) => mapValues(image, (v) => 255 - v));

/** Grey as Pillow and torchvision weigh it. */
const grey = (data: Uint8Array, i: number) => 0.299 * data[i]! + 0.587 * data[i + 1]! + 0.114 * data[i + 2]!;
const clamp = (v: number) => (v < 0 ? 0 : v > 255 ? 255 : Math.floor(v));

/**
 * Brightness, contrast and saturation by factors from [1 − x, 1 + x] (not below 0), in a random order: torchvision's
 * ColorJitter without hue.
 */
export function colorJitter({ brightness = 0, contrast = 0, saturation = 0 }): Augmentation {
  const factor = (x: number, random: Random) => random.uniform(Math.max(0, 1 - x), 1 + x);
  const steps: Augmentation[] = [];
  if (brightness > 0) {
    steps.push((image, random) => {
      const f = factor(brightness, random);
      return mapValues(image, (v) => clamp(v * f));
    });
  }
  if (contrast > 0) {
    steps.push((image, random) => {
      const f = factor(contrast, random);
      let sum = 0;
      for (let i = 0; i < image.data.length; i += 3) sum += Math.floor(grey(image.data, i));
      const mean = sum / (image.data.length / 3);
      return mapValues(image, (v) => clamp(f * v + (1 - f) * mean));
    });
  }
  if (saturation > 0) {
    steps.push(({ data, width, height }, random) => {
      const f = factor(saturation, random);
      const out = new Uint8Array(data.length);
      for (let i = 0; i < data.length; i += 3) {
        const g = Math.floor(grey(data, i));
        for (let c = i; c < i + 3; c++) out[c] = clamp(f * data[c]! + (1 - f) * g);
      }
      return { data: out, width, height };
    });
  }
  return (image, random) => compose(...random.shuffle(steps))(image, random);
}

/** Ink and paper of random colours: black becomes one, white the other, greys lie between. For icons. */
export const recolor =
  (probability = 0.5): Augmentation =>
  (image, random) => {
    if (random.next() >= probability) return image;
    const ink = [0, 1, 2].map(() => random.uniform(0, 110));
    const paper = [0, 1, 2].map(() => random.uniform(180, 255));
    return {
      ...image,
      data: image.data.map((v, i) => Math.round(ink[i % 3]! + ((paper[i % 3]! - ink[i % 3]!) * v) / 255)),
    };
  };

/** What CLIP prompt tuning trains with: a random resized crop and a flip. */
export const clipTrainTransform = (
  size: number | { readonly height: number; readonly width: number },
  options?: CropOptions,
): Augmentation => compose(randomResizedCrop(size, options), horizontalFlip());
