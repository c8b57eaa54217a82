/** Streams and what is measured of them. */
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { patches } from '../testing/patches.ts';
import { folderStream } from './folder-stream.ts';
import { detection, energyOf, meanReport, type Outcome, reportOf, UNKNOWN, UNLABELLED } from './metrics.ts';
import { corruptedStream, evenly, mixedStream } from './stream.ts';

describe('detection of unknown classes', () => {
  test('by hand', () => {
    // Descending: K+ K- U K+ U; + is classified correctly.
    const d = detection([5, 4, 2], [true, false, true], [3, 1]);
    expect(d.auroc).toBeCloseTo((2 + 2 + 1) / 6, 10);
    expect(d.fpr95).toBeCloseTo(0.5, 10);
    expect(d.oscr).toBeCloseTo(0.5 * (1 / 3) + 0.5 * (2 / 3), 10);
  });
  test('perfect, reversed, and equal scores', () => {
    const right = [true, true];
    expect(detection([3, 4], right, [1, 2])).toEqual({ auroc: 1, oscr: 1, fpr95: 0 });
    expect(detection([1, 2], right, [3, 4])).toEqual({ auroc: 0, oscr: 0, fpr95: 1 });
    expect(detection([1, 1], right, [1, 1, 1])).toEqual({ auroc: 0.5, oscr: 0.5, fpr95: 0.95 });
  });
  test('energy is log Σ exp, without overflow', () => {
    expect(energyOf(Float32Array.of(0, 0))).toBeCloseTo(Math.log(2), 6);
    expect(energyOf(Float32Array.of(500, 500))).toBeCloseTo(500 + Math.log(2), 3);
  });
});

describe('reports', () => {
  const one = (label: number, predicted: number, kept: boolean): Outcome => ({
    label,
    predicted,
    kept,
    frozen: 0,
    energy: predicted,
    confidence: 0.5,
  });
  const outcomes = [
    one(0, 0, true),
    one(0, 1, true),
    one(1, 1, false),
    one(UNKNOWN, 1, true),
    one(UNKNOWN, 0, false),
  ];
  test('errors count known classes; unknown ones are noise to the filter', () => {
    const report = reportOf(outcomes);
    expect(report.error).toBeCloseTo(1 / 3, 10);
    expect(report.frozenError).toBeCloseTo(1 / 3, 10);
    expect(report.filter).toEqual({ keptCorrect: 0.5, keptNoisy: 2 / 3, precision: 1 / 3, correct: 2 / 5 });
  });
  test('what labels cannot say is left out', () => {
    expect(reportOf([one(UNLABELLED, 1, true)])).toEqual({ images: 1 });
    expect(reportOf([one(0, 0, true)]).energy).toBeUndefined();
  });
  test('means are over those that have a figure', () => {
    const mean = meanReport([
      { images: 2, error: 0.2 },
      { images: 3, error: 0.4, frozenError: 0.6 },
    ]);
    expect(mean.images).toBe(5);
    expect(mean.error).toBeCloseTo(0.3, 10);
    expect(mean.frozenError).toBe(0.6);
    expect(mean.filter).toBeUndefined();
  });
});

test('batches are as equal as can be', () => {
  expect(evenly(10, 4)).toEqual([3, 3, 4]);
  expect(evenly(400, 200)).toEqual([200, 200]);
  expect(evenly(3, 9)).toEqual([3]);
});

describe('mixed streams', () => {
  const known = patches(30, 1);
  const unknown = patches(8, 2);
  const domains = ['a', 'b'].map((name) => ({
    name,
    change: (image: (typeof known.images)[number]) => image,
  }));
  test('every batch is half unknown; a round shows every known image once', async () => {
    const stream = mixedStream({ known, unknown, domains, batch: 20, seed: 1 });
    expect(stream.map((d) => [d.name, d.sizes])).toEqual([
      ['a', [20, 20, 20]],
      ['b', [20, 20, 20]],
    ]);
    const seen = new Set<object>();
    for (let i = 0; i < 3; i++) {
      const { images, labels } = await stream[0]!.batch(i, 0);
      expect(labels.filter((l) => l === UNKNOWN)).toHaveLength(10);
      images.forEach((image, at) => {
        if (labels[at] === UNKNOWN) {
          expect(unknown.images).toContain(image);
          return;
        }
        seen.add(image);
        expect(known.labels[known.images.indexOf(image)]).toBe(labels[at]);
      });
    }
    expect(seen.size).toBe(30);
  });
  test('a batch is a function of its place; corruptions are fresh in each round', async () => {
    const stream = () => corruptedStream({ known, batch: 15, seed: 1 }, ['gaussian-noise', 'fog'], 3);
    const [first, again] = [await stream()[0]!.batch(1, 0), await stream()[0]!.batch(1, 0)];
    expect(first).toEqual(again);
    expect((await stream()[0]!.batch(1, 1)).images).not.toEqual(first.images);
  });
});

test('a folder stream: labels by class folders, other classes unknown, loose images unlabelled', async () => {
  const root = await mkdtemp(join(tmpdir(), 'attune-stream-'));
  const write = async (path: string) => {
    await mkdir(join(root, path, '..'), { recursive: true });
    const background = { r: 200, g: 30, b: 30 };
    await sharp({ create: { width: 12, height: 10, channels: 3, background } })
      .png()
      .toFile(join(root, path));
  };
  for (const path of [
    '2-night/cat/1.png',
    '2-night/a_dog/1.png',
    '2-night/ufo/1.png',
    '1-day/1.png',
    '1-day/2.png',
  ])
    await write(path);
  await writeFile(join(root, '1-day/notes.txt'), 'no image');
  const model = { classes: ['cat', 'a dog'], shape: [1, 8, 8] as const };
  const { domains, warnings } = await folderStream(root, model, { batch: 5, seed: 1 });
  expect(domains.map((d) => [d.name, d.sizes])).toEqual([
    ['1-day', [2]],
    ['2-night', [3]],
  ]);
  expect(warnings).toEqual(['2-night: taken as unknown, since the model has no such classes: ufo']);
  const { images, labels, ids } = await domains[1]!.batch(0, 0);
  const byId = Object.fromEntries(ids!.map((id, i) => [id, labels[i]]));
  expect(byId).toEqual({ '2-night/cat/1.png': 0, '2-night/a_dog/1.png': 1, '2-night/ufo/1.png': UNKNOWN });
  expect([...(await domains[0]!.batch(0, 0)).labels]).toEqual([UNLABELLED, UNLABELLED]);
  // In the model's size, and grey as its input: 0.299 · 200 + 0.701 · 30.
  expect([images[0]!.width, images[0]!.height, images[0]!.data[0]]).toEqual([8, 8, 81]);
  await expect(folderStream(join(root, '1-day'), model, { batch: 5, seed: 1 })).rejects.toThrow(
    'no sub-folders',
  );
});
