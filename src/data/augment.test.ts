import { describe, expect, it } from 'vitest';
import { Random } from '../runtime/random.ts';
import {
  type Augmentation,
  clipTrainTransform,
  colorJitter,
  compose,
  cropWindow,
  horizontalFlip,
  mirror,
  randomInvert,
  randomResizedCrop,
  randomShift,
  recolor,
  sometimes,
} from './augment.ts';
import type { Pixels } from './dataset.ts';
import { crop, resize } from './resize.ts';

function noise(width: number, height: number): Pixels {
  const random = new Random(1, width, height);
  const data = Uint8Array.from({ length: width * height * 3 }, () => random.int(256));
  return { data, width, height };
}
const image = noise(20, 14);
const seeds = Array.from({ length: 200 }, (_, i) => i);

describe('random resized crop', () => {
  it('cuts windows inside the picture, of the asked area and shape', () => {
    const areas: number[] = [];
    for (const seed of seeds) {
      const w = cropWindow(400, 300, [0.2, 0.9], [3 / 4, 4 / 3], new Random(seed));
      expect(w.left >= 0 && w.top >= 0 && w.left + w.width <= 400 && w.top + w.height <= 300).toBe(true);
      const area = (w.width * w.height) / 120_000;
      areas.push(area);
      expect(area).toBeGreaterThan(0.19);
      expect(area).toBeLessThan(0.91);
      expect(w.width / w.height).toBeGreaterThan(0.74);
      expect(w.width / w.height).toBeLessThan(1.35);
    }
    expect(Math.min(...areas)).toBeLessThan(0.25);
    expect(Math.max(...areas)).toBeGreaterThan(0.75);
  });
  it('falls back to the centre of pictures that no window fits', () => {
    expect(cropWindow(100, 5, [1, 1], [3 / 4, 4 / 3], new Random(1))).toEqual({
      left: 46,
      top: 0,
      width: 7,
      height: 5,
    });
    expect(cropWindow(5, 100, [1, 1], [3 / 4, 4 / 3], new Random(1))).toEqual({
      left: 0,
      top: 46,
      width: 5,
      height: 7,
    });
    expect(cropWindow(1, 1, [0.08, 1], [3 / 4, 4 / 3], new Random(1))).toMatchObject({ width: 1, height: 1 });
  });
  it('is the resized window', () => {
    const window = cropWindow(20, 14, [0.3, 1], [0.5, 2], new Random(7));
    const made = randomResizedCrop({ height: 6, width: 9 }, { scale: [0.3, 1], ratio: [0.5, 2] })(
      image,
      new Random(7),
    );
    expect([made.width, made.height]).toEqual([9, 6]);
    expect(made.data).toEqual(resize(crop(image, window), 9, 6, 'bicubic').data);
    const whole = randomResizedCrop(8, { scale: [1, 1], ratio: [1, 1] })(noise(13, 13), new Random(1));
    expect(whole.data).toEqual(resize(noise(13, 13), 8, 8, 'bicubic').data);
  });
});

describe('other augmentations', () => {
  it('mirrors', () => {
    const flipped = mirror(image);
    expect([...flipped.data.subarray(0, 3)]).toEqual([...image.data.subarray(19 * 3, 20 * 3)]);
    expect(mirror(flipped).data).toEqual(image.data);
    const n = seeds.filter((s) => horizontalFlip()(image, new Random(s)) !== image).length;
    expect(n).toBeGreaterThan(70);
    expect(n).toBeLessThan(130);
    expect(sometimes(0, mirror)(image, new Random(1))).toBe(image);
  });
  it('shifts by at most so many pixels, and fills', () => {
    const moves = new Set<string>();
    for (const seed of seeds) {
      const shifted = randomShift(2, 9)(image, new Random(seed));
      const at = (p: Pixels, x: number, y: number) =>
        p.data.subarray((y * 20 + x) * 3, (y * 20 + x) * 3 + 3).join();
      const found: string[] = [];
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) {
          const edge = dx > 0 ? at(shifted, 0, 7) : dx < 0 ? at(shifted, 19, 7) : '9,9,9';
          if (at(shifted, 10 + dx, 7 + dy) === at(image, 10, 7) && edge === '9,9,9')
            found.push(`${dx},${dy}`);
        }
      }
      expect(found).toHaveLength(1);
      moves.add(found[0]!);
    }
    expect(moves.size).toBe(25);
  });
  it('inverts', () => {
    const inverted = randomInvert(1)(image, new Random(1));
    expect(inverted.data.every((v, i) => v === 255 - image.data[i]!)).toBe(true);
  });
  it('jitters colour within its factors, and leaves the picture alone at 0', () => {
    expect(colorJitter({})(image, new Random(1))).toBe(image);
    const bright = colorJitter({ brightness: 0.5 })(image, new Random(3));
    const ratios = [...bright.data].flatMap((v, i) =>
      image.data[i]! > 60 && v < 255 ? [v / image.data[i]!] : [],
    );
    expect(Math.max(...ratios) - Math.min(...ratios)).toBeLessThan(0.02);
    const flat: Pixels = { data: new Uint8Array(48).fill(90), width: 4, height: 4 };
    for (const seed of seeds) {
      // a grey picture of one value has no contrast and no colour to change
      expect(
        colorJitter({ contrast: 0.9 })(flat, new Random(seed)).data.every((v) => v >= 89 && v <= 90),
      ).toBe(true);
      expect(
        colorJitter({ saturation: 0.9 })(flat, new Random(seed)).data.every((v) => v >= 89 && v <= 90),
      ).toBe(true);
    }
  });
  it('recolours ink and paper', () => {
    const twoTone: Pixels = { data: Uint8Array.of(0, 0, 0, 255, 255, 255), width: 2, height: 1 };
    const made = recolor(1)(twoTone, new Random(5)).data;
    for (let c = 0; c < 3; c++) {
      expect(made[c]).toBeLessThanOrEqual(110);
      expect(made[3 + c]).toBeGreaterThanOrEqual(180);
    }
    expect(new Set(made.subarray(0, 3)).size).toBeGreaterThan(1);
  });
  it('repeats for the same seed and changes for another', () => {
    const all: Augmentation = compose(
      clipTrainTransform(8),
      randomShift(1),
      randomInvert(),
      colorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4 }),
      recolor(),
    );
    expect(all(image, new Random(1, 'x')).data).toEqual(all(image, new Random(1, 'x')).data);
    expect(all(image, new Random(1, 'x')).data).not.toEqual(all(image, new Random(2, 'x')).data);
  });
});
