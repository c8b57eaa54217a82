import { describe, expect, test } from 'vitest';
import { Random } from '../runtime/random.ts';
import { mirrored, plasma, toPicture, zoomed } from './corruptions/picture.ts';
import { corrupt, corruptionNames, findCorruptions, type Severity } from './corruptions.ts';
import type { Pixels } from './dataset.ts';

const severities = [1, 2, 3, 4, 5] as const;

/** A smooth coloured scene with edges, neither black nor white. */
function scene(seed: number, width = 32, height = 32): Pixels {
  const random = new Random(seed, 'scene');
  const waves = Array.from({ length: 9 }, () => [
    random.uniform(0.1, 0.6),
    random.uniform(0.1, 0.6),
    random.uniform(0, 6),
  ]);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        let v = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (width * height) / 16 ? 0.25 : 0;
        for (let w = 3 * c; w < 3 * c + 3; w++)
          v += Math.sin(waves[w]![0]! * x + waves[w]![1]! * y + waves[w]![2]!) / 9;
        data[(y * width + x) * 3 + c] = Math.round(255 * Math.min(0.95, Math.max(0.05, 0.4 + v)));
      }
    }
  }
  return { data, width, height };
}
const scenes = Array.from({ length: 12 }, (_, i) => scene(i));
const greyScene: Pixels = { ...scenes[0]!, data: scenes[0]!.data.map((_, i, all) => all[i - (i % 3)]!) };

/** Their published parameters take a small step back between two severities. */
const uneven: string[] = ['glass-blur', 'frost', 'pixelate'];

const distance = (a: Pixels, b: Pixels) =>
  Math.sqrt(a.data.reduce((sum, v, i) => sum + (v - b.data[i]!) ** 2, 0) / a.data.length);

describe.each(corruptionNames)('%s', (name) => {
  const at = (image: Pixels, severity: Severity, seed = 1) =>
    corrupt(image, name, severity, new Random(seed, 'corrupt'));

  test('is the same for the same random numbers, of the same shape, and changes the image', async () => {
    const [image] = scenes as [Pixels];
    const [a, b] = [await at(image, 3), await at(image, 3)];
    expect(a).toEqual(b);
    expect([a.width, a.height, a.data.length]).toEqual([32, 32, image.data.length]);
    expect(a.data).toBeInstanceOf(Uint8Array);
    expect(distance(a, image)).toBeGreaterThan(0.5);
  });

  test.runIf(name !== 'elastic-transform')('goes further from the clean image with severity', async () => {
    const means: number[] = [];
    for (const severity of severities) {
      const all = await Promise.all(scenes.map(async (s, i) => distance(await at(s, severity, i), s)));
      means.push(all.reduce((x, y) => x + y) / all.length);
    }
    means.slice(1).forEach((m, i) => {
      expect(m, `severity ${i + 2}`).toBeGreaterThanOrEqual((uneven.includes(name) ? 0.8 : 1) * means[i]!);
    });
    expect(means[4]!).toBeGreaterThan(1.1 * means[0]!);
  });

  test('leaves a grey image grey, and takes sizes that are not square', async () => {
    const grey = await at(greyScene, 4);
    for (let i = 0; i < grey.data.length; i += 3) {
      expect(grey.data[i]).toBe(grey.data[i + 1]);
      expect(grey.data[i]).toBe(grey.data[i + 2]);
    }
    const wide = await at(scene(1, 40, 28), 5);
    expect([wide.width, wide.height, wide.data.length]).toEqual([40, 28, 3 * 40 * 28]);
  });
});

test('elastic transform bends more with severity, although its affine part shrinks', async () => {
  // On a ramp an affine map leaves no second differences.
  const ramp: Pixels = {
    width: 64,
    height: 64,
    data: Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => 40 + 2.5 * (Math.floor(i / 3) % 64)),
  };
  const bend = ({ data }: Pixels) => {
    let sum = 0;
    for (let y = 12; y < 52; y++) {
      for (let x = 12; x < 52; x++) {
        const at = (dx: number) => data[(y * 64 + x + dx) * 3]!;
        sum += Math.abs(at(-2) - 2 * at(0) + at(2));
      }
    }
    return sum;
  };
  const bends: number[] = [];
  for (const severity of severities)
    bends.push(bend(await corrupt(ramp, 'elastic-transform', severity, new Random(1))));
  // What is left at severity 1, and nearly all at 2, is rounding to 8 bits.
  expect(bends.slice(1)).toEqual(bends.slice(1).sort((a, b) => a - b));
  expect(bends[4]!).toBeGreaterThan(3 * bends[0]!);
});

test('noise has the strength of its parameter', async () => {
  const grey: Pixels = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).fill(128) };
  const deviation = async (name: 'gaussian-noise' | 'shot-noise') => {
    const { data } = toPicture(await corrupt(grey, name, 5, new Random(1)));
    return Math.sqrt(data.reduce((s, v) => s + (v - 128 / 255) ** 2, 0) / data.length);
  };
  expect(await deviation('gaussian-noise')).toBeCloseTo(0.1, 2);
  expect(await deviation('shot-noise')).toBeCloseTo(Math.sqrt(128 / 255 / 50), 2);
  const { data } = await corrupt(grey, 'impulse-noise', 5, new Random(1));
  expect(data.filter((v) => v !== 128).length / data.length).toBeCloseTo(0.07, 1);
  expect(new Set(data)).toEqual(new Set([0, 128, 255]));
});

test('lengths in pixels grow with the image', async () => {
  // A white point: how far its blur reaches.
  const point = (side: number): Pixels => {
    const data = new Uint8Array(side * side * 3);
    data.fill(255, ((side >> 1) * side + (side >> 1)) * 3, ((side >> 1) * side + (side >> 1)) * 3 + 3);
    return { data, width: side, height: side };
  };
  const reach = async (side: number) => {
    const { data } = await corrupt(point(side), 'defocus-blur', 5, new Random(1));
    return data.filter((v) => v > 0).length / 3;
  };
  expect(await reach(128)).toBeGreaterThan(9 * (await reach(32)));
  expect(await reach(28)).toBe(await reach(32));
});

test('helpers: borders, height maps, zoom', () => {
  expect([-2, -1, 0, 4, 5, 6].map((i) => mirrored(i, 5))).toEqual([2, 1, 0, 4, 3, 2]);
  expect(mirrored(7, 1)).toBe(0);
  const map = plasma(20, 12, 2, new Random(1));
  expect([map.width, map.height, map.data.length]).toEqual([20, 12, 240]);
  expect(map.data.every((v) => v >= 0 && v <= 1)).toBe(true);
  const same = zoomed(toPicture(scenes[0]!), 1);
  same.data.forEach((v, i) => {
    expect(v).toBeCloseTo(scenes[0]!.data[i]! / 255, 5);
  });
});

test('names', () => {
  expect(corruptionNames).toHaveLength(15);
  expect(findCorruptions(['fog', 'snow'])).toEqual(['fog', 'snow']);
  expect(() => findCorruptions(['frog'])).toThrow('There is no corruption "frog" (did you mean "fog"');
});
