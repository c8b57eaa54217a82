/** EATA's and SWR's preparation, CoTTA, BN adapt. */
import { describe, expect, test } from 'vitest';
import type { HostTensor } from '../../graph/index.ts';
import { Random } from '../../runtime/index.ts';
import { patches } from '../testing/patches.ts';
import { frozenModel, needsSource, prepareAdaptation } from './adaptation.ts';
import { shiftAugmentation, teacherView } from './augment.ts';
import { Forward, trainable } from './model.ts';
import { type AdaptationOptions, adaptationOptions, diversityOf } from './options.ts';
import { fisherInformation, shiftAgnosticism } from './preparation.ts';
import { pictures, tinyModel } from './testing/tiny.ts';

const options = (given: Partial<AdaptationOptions>) =>
  adaptationOptions.parse({ batch: 12, learningRate: 0.01, views: 2, ...given });
const source = patches(48, 7);
const numbers = (t: HostTensor) => Array.from(t.data as Float32Array);
const images = [1, 2, 3].map((seed) => pictures(12, seed));

describe('Fisher information', () => {
  test('is the mean of squared gradients over batches, whatever the labels', async () => {
    const model = await tinyModel('mlp');
    const names = trainable(model, 'norm').map((p) => p.name);
    const all = await fisherInformation(model, names, source, options({}));
    expect(Object.keys(all).sort()).toEqual(names.toSorted());
    expect(
      Object.values(all)
        .flatMap(numbers)
        .every((v) => v >= 0),
    ).toBe(true);
    expect(Math.max(...numbers(all['bn_2.weight']!))).toBeGreaterThan(0);
    const relabelled = { ...source, labels: source.labels.map((l) => (l + 1) % 3) };
    expect(await fisherInformation(model, names, relabelled, options({}))).toEqual(all);
  });
  test('holds the parameters back', async () => {
    const model = await tinyModel('mlp');
    const moved = async (fisherWeight: number) => {
      const eata = options({ method: 'eata', entropyMargin: 1, redundancy: 1, fisherWeight });
      const adaptation = await prepareAdaptation(model, eata, source);
      for (const batch of images) await adaptation.step(batch);
      const after = numbers(adaptation.weights()['bn_2.weight']!);
      await adaptation.release();
      return after.reduce((sum, v, i) => sum + Math.abs(v - numbers(model.weights['bn_2.weight']!)[i]!), 0);
    };
    expect(await moved(1e5)).toBeLessThan(0.7 * (await moved(1)));
  });
});

describe('SWR', () => {
  test('its weights go from 0, what turns most under a shift, to 1', async () => {
    const model = await tinyModel('convnet');
    const names = trainable(model, 'all').map((p) => p.name);
    const held = await shiftAgnosticism(model, names, source, options({}));
    expect(Object.keys(held)).toEqual(names);
    const values = Object.values(held);
    expect([Math.min(...values), Math.max(...values)]).toEqual([0, 1]);
  });
  test('trains all parameters; the penalty holds one of weight 1 back', async () => {
    const model = await tinyModel('convnet');
    const names = trainable(model, 'all').map((p) => p.name);
    const held = await shiftAgnosticism(model, names, source, options({}));
    const fixed = names.find((n) => held[n] === 1)!;
    const moved = async (shiftWeight: number) => {
      const adaptation = await prepareAdaptation(model, options({ method: 'swr', shiftWeight }), source);
      for (let i = 0; i < 8; i++) await adaptation.step(images[i % 3]!);
      const weights = adaptation.weights();
      expect(names.filter((n) => String(weights[n]!.data) === String(model.weights[n]!.data))).toEqual([]);
      await adaptation.release();
      const before = numbers(model.weights[fixed]!);
      return numbers(weights[fixed]!).reduce((sum, v, i) => sum + Math.abs(v - before[i]!), 0);
    };
    expect(await moved(1e5)).toBeLessThan(0.7 * (await moved(0)));
  });
});

describe('CoTTA', () => {
  const cotta = (more: Partial<AdaptationOptions> = {}) =>
    options({ method: 'cotta', viewsBelow: 0, restore: 0, ...more });

  test('predicts by the teacher, which follows the student slowly; nothing else changes the source', async () => {
    const model = await tinyModel('convnet');
    const before = structuredClone(model.weights);
    const adaptation = await prepareAdaptation(model, cotta({ momentum: 0.9 }));
    const bn = new Forward(model, 'batch');
    const first = await adaptation.step(images[0]!);
    expect(first.logits.data).toEqual((await bn.run(images[0]!)).data);
    const { params } = adaptation.state!;
    const name = 'classifier.weight';
    numbers(params[`teacher.${name}`]!).forEach((v, i) => {
      const want = 0.9 * numbers(before[name]!)[i]! + 0.1 * numbers(params[name]!)[i]!;
      expect(v).toBeCloseTo(want, 6);
    });
    const second = await adaptation.step(images[1]!);
    expect(second.logits.data).toEqual((await bn.run(images[1]!, { ...before, ...teacherOf(params) })).data);
    expect(model.weights).toEqual(before);
    await bn.release();
    await adaptation.release();
  });
  const teacherOf = (params: Record<string, HostTensor>) =>
    Object.fromEntries(
      Object.entries(params).flatMap(([n, v]) => (n.startsWith('teacher.') ? [[n.slice(8), v]] : [])),
    );

  test('averages augmented views where the source model is unsure', async () => {
    const model = await tinyModel('convnet');
    const plain = await prepareAdaptation(model, cotta());
    const averaged = await prepareAdaptation(model, cotta({ viewsBelow: 1 }));
    const again = await prepareAdaptation(model, cotta({ viewsBelow: 1 }));
    const [a, b, c] = [plain, averaged, again].map(async (x) => (await x.step(images[0]!)).logits.data);
    expect(await a).not.toEqual(await b);
    expect(await b).toEqual(await c);
    for (const x of [plain, averaged, again]) await x.release();
  });

  test.each([0, 0.25, 1])('restores a share of %s of the student', async (restore) => {
    const model = await tinyModel('convnet');
    const adaptation = await prepareAdaptation(model, cotta({ restore }));
    await adaptation.step(images[0]!);
    const name = 'features.4.weight';
    const [own, before] = [numbers(adaptation.state!.params[name]!), numbers(model.weights[name]!)];
    const restored = own.filter((v, i) => v === before[i]).length / own.length;
    expect(Math.abs(restored - restore)).toBeLessThan(0.12);
    await adaptation.release();
  });
});

test('augmentations keep size and range, and are the same for the same numbers', () => {
  for (const change of [teacherView, shiftAugmentation]) {
    const [image] = images[0]!;
    const out = change(image!, new Random(1));
    expect([out.width, out.height, out.data.length]).toEqual([8, 8, 192]);
    expect(out).toEqual(change(image!, new Random(1)));
    expect(out.data).not.toEqual(image!.data);
  }
});

test('BN adapt and the source model change nothing; reset brings the source model back', async () => {
  const model = await tinyModel('mlp');
  const tent = await prepareAdaptation(model, options({}));
  const bn = await prepareAdaptation(model, options({ method: 'bn' }));
  const frozen = frozenModel(model);
  const first = (await tent.step(images[0]!)).logits.data;
  expect((await bn.step(images[0]!)).logits.data).toEqual(first);
  expect((await frozen.step(images[0]!)).logits.data).not.toEqual(first);
  await tent.step(images[1]!);
  tent.reset();
  expect(tent.weights()).toEqual(model.weights);
  expect((await tent.step(images[0]!)).logits.data).toEqual(first);
  for (const x of [tent, bn, frozen]) await x.release();
});

test('options that contradict each other, and what is missing', async () => {
  const model = await tinyModel('mlp');
  await expect(prepareAdaptation(model, options({ method: 'cotta', filter: true }))).rejects.toThrow(
    'use it with tent, eata, swr, ent',
  );
  await expect(prepareAdaptation(model, options({ method: 'eata' }))).rejects.toThrow('training images');
  await expect(prepareAdaptation(await tinyModel('bare'), options({}))).rejects.toThrow(
    'no normalisation layer',
  );
  expect(needsSource(options({ method: 'eata', fisherWeight: 0 }))).toBe(false);
  expect(
    [{}, { filter: true }, { method: 'swr' as const }, { diversity: 0, filter: true }].map((o) =>
      diversityOf(options(o)),
    ),
  ).toEqual([0, 0.5, 1.25, 0]);
});
