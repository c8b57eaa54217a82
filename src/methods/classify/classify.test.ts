import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ImageSet } from '../../data/index.ts';
import { Random } from '../../runtime/index.ts';
import { fullSampler, subsetSampler, type Values } from '../../train/index.ts';
import { normalised } from '../dcc/images.ts';
import { row } from '../gram/k-means.ts';
import { drained, patches } from '../testing/patches.ts';
import {
  Classifier,
  type ClassifierRun,
  classifierOptions,
  type Outputs,
  type RoundSelector,
} from './classifier.ts';
import { readSubset, writeSubset } from './subset-file.ts';

const images: ImageSet = patches(60, 1);
const classifier = (given: object = {}) =>
  new Classifier(
    classifierOptions.parse({ network: 'mlp', batch: 16, learningRate: 0.05, ...given }),
    images.shape,
    3,
    { mean: [0.5], std: [0.25] },
  );
const run = (c: Classifier, more: Partial<ClassifierRun> = {}) =>
  drained(c.train({ images, sampler: fullSampler(60, 1), seed: 1, rounds: 6, ...more }));

test('learns, and says of all images what it says of some', async () => {
  const c = classifier();
  const { params } = await run(c);
  expect(await c.accuracy(params, images)).toBeGreaterThan(0.95);
  const all = await c.outputs(params, images);
  const some = await c.outputs(params, images, [40, 3]);
  expect(some.features.width).toBe(128);
  expect([...some.logits.data.subarray(3)]).toEqual([...all.logits.data.subarray(9, 12)]);
  await c.release();
});

test('an image of weight 0 changes nothing; weights scaled alike change nothing', async () => {
  const c = classifier({ batch: 60, weightDecay: 0 });
  const order = Array.from({ length: 60 }, (_, i) => i);
  const weights = order.map((i) => (i < 10 ? 0 : 1 + (i % 3)));
  const scaled = await run(c, {
    sampler: subsetSampler(
      order,
      60,
      1,
      weights.map((w) => w / 4),
    ),
    rounds: 3,
  });
  const wrong = { ...images, labels: images.labels.map((l, i) => (i < 10 ? (l + 1) % 3 : l)) };
  const same = await run(c, { images: wrong, sampler: subsetSampler(order, 60, 1, weights), rounds: 3 });
  for (const [name, { data }] of Object.entries(scaled.params)) {
    data.forEach((v, i) => {
      expect(Math.abs(Number(v) - Number(same.params[name]!.data[i]))).toBeLessThan(1e-5);
    });
  }
  await c.release();
});

test('stopped and resumed, with augmentation, it ends with the same parameters', async () => {
  const c = classifier({ augment: 'crop-flip' });
  const want = await run(c);
  const dir = await mkdtemp(join(tmpdir(), 'attune-classify-'));
  const stop = new AbortController();
  for await (const e of c.train({
    images,
    sampler: fullSampler(60, 1),
    seed: 1,
    rounds: 6,
    dir,
    signal: stop.signal,
  })) {
    if (e.type === 'step' && e.step === 7) stop.abort();
  }
  const { params } = await run(c, { dir, resume: true });
  expect(params).toEqual(want.params);
  await c.release();
});

test('images as networks read them are what pictures become', async () => {
  const c = classifier();
  const read = normalised(images, c.normalisation);
  const [want, found] = [await run(c), await run(c, { images: read })];
  expect(found.params).toEqual(want.params);
  expect(await c.outputs(found.params, read)).toEqual(await c.outputs(want.params, images));
  await c.release();
  const augmenting = classifier({ augment: 'crop' });
  await expect(run(augmenting, { images: read })).rejects.toThrow('set augment to none');
});

describe('a selector', () => {
  /** The twenty images whose first feature is largest. */
  const selector = (seen: Outputs[] = []): RoundSelector => ({
    size: 20,
    select(outputs) {
      seen.push(outputs);
      const first = (i: number) => row(outputs.features, i)[0]!;
      const order = Array.from({ length: 60 }, (_, i) => i).sort((a, b) => first(b) - first(a));
      return Int32Array.from(order.slice(0, 20));
    },
  });

  test('is asked once a round, of the network as it is then', async () => {
    const c = classifier({ batch: 10 });
    const seen: Outputs[] = [];
    const want: Outputs[] = [];
    const evaluation = {
      every: 1,
      run: async (params: Values) => {
        want.push(await c.outputs(params, images));
        return {};
      },
    };
    await run(c, { sampler: selector(seen), rounds: 3, evaluation });
    expect(seen).toHaveLength(3);
    expect(seen.slice(1)).toEqual(want.slice(0, 2));
    expect(seen[0]).not.toEqual(seen[1]);
    await c.release();
  });

  test('stopped in a round and resumed, it ends with the same parameters', async () => {
    const c = classifier({ batch: 10 });
    const want = await run(c, { sampler: selector() });
    const dir = await mkdtemp(join(tmpdir(), 'attune-classify-'));
    const stop = new AbortController();
    const events = c.train({
      ...{ images, sampler: selector(), seed: 1, rounds: 6, dir },
      signal: stop.signal,
    });
    let last = 0;
    for await (const e of events) {
      if (e.type === 'step' && e.step === 5) stop.abort();
      last = e.step;
    }
    // The round is finished: a checkpoint inside it would not know what was chosen.
    expect(last).toBe(6);
    const { params } = await run(c, { sampler: selector(), dir, resume: true });
    expect(params).toEqual(want.params);
    await c.release();
  });
});

test('the watcher sees the logits of the training pass', async () => {
  const c = classifier();
  const seen: [number[], number][] = [];
  await run(c, { rounds: 1, watch: (indices, logits) => seen.push([[...indices], logits.length]) });
  expect(seen.map(([, n]) => n)).toEqual([48, 48, 48]);
  expect(new Set(seen.flatMap(([i]) => i)).size).toBe(48);
  expect(seen[0]![0]).toEqual([...new Random(1, 'order', 0).permutation(60).subarray(0, 16)]);
  await c.release();
});

describe('subset files', () => {
  const file = async (text: string) => {
    const path = join(await mkdtemp(join(tmpdir(), 'attune-subset-')), 's.json');
    await writeFile(path, text);
    return path;
  };
  const good = {
    format: 'attune-subset-1' as const,
    method: 'random',
    data: 'mnist',
    count: 9,
    indices: [3, 8],
  };
  test('come back as they were', async () => {
    const path = await file('');
    await writeSubset(path, { ...good, weights: [1, 2], seconds: 3 });
    expect(await readSubset(path)).toEqual({ ...good, weights: [1, 2] });
    expect(JSON.parse(await readFile(path, 'utf8')).seconds).toBe(3);
  });
  test.each([
    [{ indices: [3, 9] }, 'index 9, but its data has 9 images'],
    [{ indices: [3, 3] }, 'an index occurs twice'],
    [{ weights: [1] }, '1 weights for 2 indices'],
    [{ format: 'other' }, 'format: Invalid input'],
    [{ indices: [-1] }, 'indices.0: '],
  ])('%j is refused', async (change, message) => {
    await expect(readSubset(await file(JSON.stringify({ ...good, ...change })))).rejects.toThrow(message);
  });
  test('a missing one is named', async () => {
    await expect(readSubset('/nowhere/s.json')).rejects.toThrow('attune select writes one');
  });
});
