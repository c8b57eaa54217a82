/** The exact properties of the method's card, by item. */
import { describe, expect, test } from 'vitest';
import type { Pixels } from '../../data/index.ts';
import {
  constant,
  f32,
  grad,
  type HostTensor,
  memoryWeights,
  softmax,
  type Tensor,
  zeros,
} from '../../graph/index.ts';
import { conv, trace } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { type Adaptation, prepareAdaptation } from './adaptation.ts';
import { adaptationLoss } from './entropy.ts';
import { confidenceKept, entropy, marginalEntropy, selectedMean } from './loss.ts';
import { Forward, type SourceModel, tensorOf, trainable } from './model.ts';
import { type AdaptationOptions, adaptationOptions } from './options.ts';
import { pictures, tinyModel } from './testing/tiny.ts';

const options = (given: Partial<AdaptationOptions>) =>
  adaptationOptions.parse({ batch: 24, fisherWeight: 0, shiftWeight: 0, learningRate: 0.05, ...given });
const batches = [1, 2, 3, 4, 5].map((seed) => pictures(24, seed));
const numbers = (t: HostTensor) => Array.from(t.data as Float32Array);

async function adapted(model: SourceModel, given: Partial<AdaptationOptions>, count: number) {
  const adaptation = await prepareAdaptation(model, options(given));
  let last: Awaited<ReturnType<Adaptation['step']>> | undefined;
  for (const images of batches.slice(0, count)) last = await adaptation.step(images);
  return { adaptation, last: last!, weights: adaptation.weights() };
}

function expectClose(a: Values, b: Values, within: number) {
  for (const [name, { data }] of Object.entries(a)) {
    data.forEach((v, i) => {
      expect(Math.abs(Number(v) - Number(b[name]!.data[i])), name).toBeLessThanOrEqual(within);
    });
  }
}

/** Loss, gradients and Φ at parameters θ_a, by the code that adaptation compiles. */
async function lossAt(
  model: SourceModel,
  theta: Values,
  images: readonly Pixels[],
  given: Partial<AdaptationOptions>,
) {
  const params = trainable(model, 'norm');
  const x = constant(tensorOf(model, images));
  const traced = trace(memoryWeights(model.weights), (s) =>
    adaptationLoss(s, x, model, params, options(given)),
  );
  const slopes = grad(
    traced.result.loss,
    traced.params.map((p) => p.tensor),
  );
  const outputs: Record<string, Tensor> = { ...traced.result };
  traced.params.forEach((p, i) => {
    outputs[`slope ${p.name}`] = slopes[i]!;
  });
  const buffers = [...traced.buffers.values()].map((b) => [`param/${b.name}`, zeros(b.shape)]);
  const own = traced.params.map((p) => [`param/${p.name}`, theta[p.name]!]);
  const feeds: Values = Object.fromEntries([...own, ...buffers]);
  // What a program does not read it does not take.
  if (buffers.length) outputs.read = traced.buffers.get('eata.mean')!.next;
  const out = await runOnce(outputs, feeds);
  const gradients = Object.fromEntries(traced.params.map((p) => [p.name, out[`slope ${p.name}`]!]));
  return { loss: Number(out.loss!.data[0]), gradients, kept: out.kept && numbers(out.kept) };
}

describe('1. on the first batch', () => {
  test.each([
    ['tent', 'mlp'],
    ['tent', 'convnet'],
    ['ent', 'convnet'],
    ['tent', 'uncoupled'],
  ] as const)('%s on %s keeps all, and updates as without the filter', async (method, name) => {
    const model = await tinyModel(name);
    const filtered = await adapted(model, { method, filter: true, diversity: 0.5 }, 1);
    expect(numbers(filtered.last.kept!)).toEqual(Array(24).fill(1));
    const host = await adapted(model, { method, filter: false, diversity: 0.5 }, 1);
    expectClose(filtered.weights, host.weights, 2e-4);
  });
  test('with source statistics some are rejected', async () => {
    const { last } = await adapted(await tinyModel('mlp'), { filter: true, sourceNorm: 'running' }, 1);
    const kept = numbers(last.kept!).reduce((a, b) => a + b);
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(24);
  });
});

test('2. predictions are those of the weights before the update', async () => {
  const model = await tinyModel('mlp');
  const adaptation = await prepareAdaptation(model, options({ filter: true }));
  const forward = new Forward(model, 'batch');
  for (const images of batches) {
    const want = await forward.run(images, adaptation.weights());
    const { logits } = await adaptation.step(images);
    logits.data.forEach((v, i) => {
      expect(Math.abs(Number(v) - want.data[i]!)).toBeLessThan(1e-5);
    });
  }
  expect(adaptation.weights()['bn_1.weight']).not.toEqual(model.weights['bn_1.weight']);
  await forward.release();
  await adaptation.release();
});

test.each(['tent', 'eata'] as const)(
  '3. %s changes scale and shift alone, the source model never',
  async (method) => {
    const model = await tinyModel('convnet');
    const before = structuredClone(model.weights);
    const { weights } = await adapted(model, { method, filter: true, entropyMargin: 1, redundancy: 1 }, 5);
    expect(model.weights).toEqual(before);
    const changed = Object.keys(before).filter((name) => {
      return numbers(weights[name]!).some((v, i) => !Object.is(v, numbers(before[name]!)[i]));
    });
    expect(changed.sort()).toEqual(
      ['features.1', 'features.5'].flatMap((layer) => [`${layer}.bias`, `${layer}.weight`]),
    );
  },
);

test('4. without batch coupling, the gradient is that of the host on the selected subset', async () => {
  const model = await tinyModel('uncoupled');
  const weights: Values = Object.fromEntries(
    Object.entries(model.weights).map(([name, { data, shape }]) => {
      const random = new Random(1, name);
      return [
        name,
        f32(
          Array.from(data as Float32Array, (v) => v + 0.2 * random.normal()),
          shape,
        ),
      ];
    }),
  );
  const images = batches[4]!;
  const filtered = await lossAt(model, weights, images, { filter: true, diversity: 0 });
  const subset = images.filter((_, i) => filtered.kept![i] === 1);
  expect(subset.length).toBeGreaterThan(2);
  expect(subset.length).toBeLessThan(22);
  const host = await lossAt(model, weights, subset, { filter: false, diversity: 0 });
  expect(filtered.loss).toBeCloseTo(host.loss, 6);
  expectClose(filtered.gradients, host.gradients, 1e-6);
});

describe('5.', () => {
  test('a mask of ones and α = 0 are TENT', async () => {
    const logits = constant(
      f32(
        new Random(1).fill(30, (r) => r.normal()),
        [10, 3],
      ),
    );
    const ones = constant(f32(Array(10).fill(1)));
    const out = await runOnce(
      { masked: selectedMean(entropy(logits), ones), mean: entropy(logits).mean() },
      {},
    );
    expect(out.masked.data[0]).toBeCloseTo(Number(out.mean.data[0]), 6);
    const model = await tinyModel('mlp');
    const { weights } = await adapted(model, { method: 'tent' }, 3);
    const filtered = await lossAt(model, model.weights, batches[0]!, { filter: true, diversity: 0 });
    const tent = await lossAt(model, model.weights, batches[0]!, {});
    expect(filtered.loss).toBeCloseTo(tent.loss, 6);
    expectClose(filtered.gradients, tent.gradients, 1e-6);
    expect(weights).toBeDefined();
  });
  test('Φ does not see a constant added to all logits of a sample', async () => {
    const draw = (seed: number) => new Random(seed).fill(60, (r) => 2 * r.normal());
    const shift = f32(
      new Random(3).fill(20, (r) => 5 * r.normal()),
      [20, 1],
    );
    const [a, b] = [constant(f32(draw(1), [20, 3])), constant(f32(draw(2), [20, 3]))];
    const out = await runOnce(
      {
        plain: confidenceKept(a, b),
        shifted: confidenceKept(a.add(constant(shift)), b.sub(constant(shift))),
      },
      {},
    );
    expect(out.shifted.data).toEqual(out.plain.data);
    expect(new Set(numbers(out.plain))).toEqual(new Set([0, 1]));
  });
  test('the diversity term is at most ln K, where its gradient is zero: at the uniform mean', async () => {
    // Two samples that mirror each other: each is sure, their mean is not.
    const x = constant(f32([3, 0, 0, 3], [2, 2]));
    const y = constant(
      f32(
        new Random(1).fill(40, (r) => 3 * r.normal()),
        [10, 4],
      ),
    );
    const [uniform, other] = [marginalEntropy(x), marginalEntropy(y)];
    const out = await runOnce({ uniform, other, slope: grad(uniform, [x])[0]! }, {});
    expect(out.uniform.data[0]).toBeCloseTo(Math.log(2), 6);
    for (const v of out.slope.data) expect(Math.abs(Number(v))).toBeLessThan(1e-6);
    expect(Number(out.other.data[0])).toBeLessThan(Math.log(4));
  });
  test('a class without any probability is no log 0', async () => {
    const x = constant(f32([200, 0, -200, 200, 0, -200], [2, 3]));
    const h = marginalEntropy(x);
    const out = await runOnce({ h, slope: grad(h, [x])[0]! }, {});
    expect([...out.slope.data, out.h.data[0]!].every((v) => Number.isFinite(Number(v)))).toBe(true);
  });
});

test('6. what counts is the class of the source model, on both sides', async () => {
  const log = (rows: number[][]) => constant(f32(rows.flat().map(Math.log), [rows.length, 3]));
  const source = log([
    [0.5, 0.4, 0.1],
    [0.5, 0.4, 0.1],
    [0.5, 0.4, 0.1],
  ]);
  const own = log([
    [0.1, 0.8, 0.1], // its own maximum rose, the probability of class 0 fell
    [0.6, 0.3, 0.1],
    [0.5, 0.4, 0.1],
  ]);
  const { kept } = await runOnce({ kept: confidenceKept(own, source) }, {});
  expect(numbers(kept)).toEqual([0, 1, 1]);
});

test('7. EATA: weights of what passes are at least 1, and its mean is a probability vector', async () => {
  const model = await tinyModel('mlp');
  const given = { method: 'eata', filter: true, entropyMargin: 0.9, redundancy: 0.99 } as const;
  const adaptation = await prepareAdaptation(model, options(given));
  const shares = new Set<number>();
  for (const images of batches) {
    shares.add((await adaptation.step(images)).selected!);
    const mean = numbers(adaptation.state!.params['eata.mean']!);
    expect(mean.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
    expect(Math.min(...mean)).toBeGreaterThanOrEqual(0);
  }
  expect(Math.max(...shares)).toBeLessThan(1);
  // All weights are at least 1, so the weighted mean is at least the mean entropy of what is selected.
  const first = await lossAt(model, model.weights, batches[0]!, { ...given, filter: false });
  const x = (await new Forward(model, 'batch').run(batches[0]!)) as HostTensor;
  const { h } = await runOnce({ h: entropy(constant(x)) }, {});
  const low = numbers(h).filter((v) => v < 0.9 * Math.log(3));
  expect(first.loss).toBeCloseTo(
    low.reduce((sum, v) => sum + v * Math.exp(0.9 * Math.log(3) - v), 0) / low.length,
    5,
  );
  expect(first.loss).toBeGreaterThan(low.reduce((a, b) => a + b) / low.length);
});

describe('an empty selection', () => {
  const nothing = { method: 'eata', entropyMargin: 1e-6 } as const;
  test('leaves the diversity term', async () => {
    const model = await tinyModel('mlp');
    const { loss, gradients } = await lossAt(model, model.weights, batches[0]!, {
      ...nothing,
      diversity: 0.5,
    });
    expect(loss).toBeLessThan(0);
    expect(loss).toBeGreaterThanOrEqual(-0.5 * Math.log(3));
    expect(Object.values(gradients).flatMap(numbers).every(Number.isFinite)).toBe(true);
  });
  test('without it changes nothing, whatever momentum Adam has', async () => {
    const model = await tinyModel('mlp');
    const { adaptation, weights } = await adapted(
      model,
      { method: 'eata', entropyMargin: 1, redundancy: 1 },
      2,
    );
    const sleeping = await prepareAdaptation(model, options(nothing));
    sleeping.resume(adaptation.state, 2);
    expect((await sleeping.step(batches[3]!)).selected).toBe(0);
    expect(sleeping.weights()).toEqual(weights);
  });
});

test('of every pixel: masks and losses of [n, K, h, w] are those of its pixels as samples', async () => {
  const shape = [2, 3, 4, 5];
  const draw = (seed: number) =>
    f32(
      new Random(seed).fill(120, (r) => r.normal()),
      shape,
    );
  const flat = (t: Tensor) => t.transpose([0, 2, 3, 1]).reshape([40, 3]);
  const [a, b] = [constant(draw(1)), constant(draw(2))];
  const lossOf = (x: Tensor, y: Tensor) =>
    selectedMean(entropy(x), confidenceKept(x, y)).sub(marginalEntropy(x).mul(0.5));
  const [pixels, samples] = [lossOf(a, b), lossOf(flat(a), flat(b))];
  const out = await runOnce(
    { pixels, samples, own: grad(pixels, [a])[0]!, flat: grad(samples, [a])[0]!, kept: confidenceKept(a, b) },
    {},
  );
  expect(out.kept.shape).toEqual([2, 4, 5]);
  expect(out.pixels.data[0]).toBeCloseTo(Number(out.samples.data[0]), 6);
  expectClose({ g: out.own }, { g: out.flat }, 1e-6);
});

test('a network that labels pixels is adapted like one that labels images', async () => {
  const model = await tinyModel('mlp');
  const { weights: all } = model;
  const segment: SourceModel = {
    ...model,
    network: (s, x, norm) =>
      conv(s.at('out'), norm(s.at('bn'), conv(s.at('in'), x, 4, [3, 3], { padding: 1 })), 3, [1, 1]),
    weights: Object.fromEntries(
      Object.entries({
        'in.weight': [4, 1, 3, 3],
        'in.bias': [4],
        'bn.weight': [4],
        'bn.bias': [4],
        'out.weight': [3, 4, 1, 1],
        'out.bias': [3],
      }).map(([name, shape]) => {
        const size = shape.reduce((a, b) => a * b);
        return [
          name,
          f32(
            new Random(1, name).fill(size, (r) => r.normal()),
            shape,
          ),
        ];
      }),
    ),
  };
  const adaptation = await prepareAdaptation(segment, options({ filter: true, batch: 4 }));
  const entropies: number[] = [];
  for (let i = 0; i < 6; i++) {
    const { logits, kept } = await adaptation.step(pictures(4, 1));
    expect([logits.shape, kept!.shape]).toEqual([
      [4, 3, 8, 8],
      [4, 8, 8],
    ]);
    const { h } = await runOnce(
      { h: entropy(constant(logits)).mean(), p: softmax(constant(logits), 1).mean() },
      {},
    );
    entropies.push(Number(h.data[0]));
  }
  expect(entropies.at(-1)!).toBeLessThan(entropies[0]!);
  expect(all).toBe(model.weights);
});
