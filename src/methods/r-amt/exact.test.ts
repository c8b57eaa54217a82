/** "What a faithful implementation must show", exact part, item by item. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { constant, f32, grad, type HostTensor, input, less, sizeOf, zeros } from '../../graph/index.ts';
import { type ClipModel, loadAdapter, saveAdapter } from '../../hub/index.ts';
import { linear, trace } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import { gradTree, initParams, type Values } from '../../train/index.ts';
import { coop } from '../baselines/coop.ts';
import { zeroShot } from '../baselines/zero-shot.ts';
import { difference, weightGradients } from '../testing/compare.ts';
import {
  classNames,
  pictures,
  resultOf,
  shapesOf,
  tinyClip,
  tinyTask,
  vitB16,
} from '../testing/tiny-clip.ts';
import { predict } from '../vlm/evaluate.ts';
import { promptLoss, trainedBy } from '../vlm/prompting.ts';
import type { Adapter, TuneTask } from '../vlm/task.ts';
import { drawsOf, dropConflicts, keepProbability, uniformOf } from './gradient-dropout.ts';
import { foldMasks, masked, maskedWeights, pack, THRESHOLD } from './masks.ts';
import { distillation, maskPrompting, type RamtOptions, ramt, reach } from './method.ts';

const model = await tinyClip();
const template = 'a photo of a {}.';
const withOptions = (o: Partial<RamtOptions> = {}) =>
  ramt.options.parse({ epochs: 3, batch: 5, learningRate: 2e-3, ...o }) as RamtOptions;
const images = pictures(3).examples.map((e) => e.image);
const answers = async (adapter: Adapter, names = classNames, of: ClipModel = model) =>
  (await predict(of, await adapter.classifier(of, names, template), images)).map((row) => Array.from(row));
const hand = zeroShot.restore({ options: { ensemble: false }, tensors: {} });
const fitted = async (o: Partial<RamtOptions> = {}, settings: Partial<TuneTask> = {}) =>
  (await resultOf(ramt.fit(tinyTask(model, settings), withOptions(o)))).adapter;
const draw = (name: string, shape: number[], std = 1) =>
  f32(
    new Random(3, name).fill(sizeOf(shape), (r) => std * r.normal()),
    shape,
  );
const names = maskedWeights(model.config, withOptions());

/** A traced first step, with its batch. */
async function firstStep(o: RamtOptions) {
  const classifier = await hand.classifier(model, classNames, template);
  const method = maskPrompting(classifier, o, names);
  const prompts = await method.prompts({ model, classes: classNames, template });
  const training = await method.training!(tinyTask(model));
  const task = tinyTask(model);
  const examples = task.train.examples.slice(0, 6);
  const pixels = model.images.batch(await Promise.all(examples.map((e) => e.image())));
  const features = await task.features.of({ ...task.train, examples });
  const labels = { dtype: 'int64', shape: [6], data: BigInt64Array.from(examples, (e) => BigInt(e.label)) };
  const feeds: Values = { pixels, features, labels: labels as HostTensor };
  const batch = Object.fromEntries(
    Object.entries(feeds).map(([name, t]) => [name, input(name, t.shape, t.dtype)]),
  );
  for (const [name, { type }] of Object.entries(training.inputs ?? {})) {
    batch[name] = input(name, type.shape, type.dtype);
    feeds[name] = training.inputs![name]!.at({ step: 0, epoch: 0, stepsPerEpoch: 1, totalSteps: 1 });
  }
  const { result, params } = trace(model.weights, (s) => promptLoss(s, model, prompts, training, batch));
  const tree = Object.fromEntries(params.map((p) => [p.name, p.tensor]));
  const values = await initParams(params, 1);
  for (const [name, v] of Object.entries(values)) feeds[`param/${name}`] = v;
  return { result, params, tree, batch, training, feeds };
}

test('1: at first nothing is masked: logits are those of CLIP bit for bit, b is 0, and a goes through', async () => {
  const untouched = await fitted({ learningRate: 1e-9 });
  expect(await answers(untouched)).toEqual(
    await answers(
      hand,
      classNames.map((c) => c.toLowerCase()),
    ),
  );
  const { result, tree, batch, training, feeds } = await firstStep(withOptions());
  const a = gradTree(result.loss, tree);
  const b = gradTree(result.distillation!, tree);
  const given = training.gradients!(a, { params: tree, batch, metrics: result });
  const outputs = Object.fromEntries(
    names.flatMap((name) => {
      const key = `mask.${name}`;
      return [
        [`a ${name}`, a[key]!],
        [`b ${name}`, b[key]!],
        [`given ${name}`, given[key]!],
      ];
    }),
  );
  const out: Values = await runOnce({ ...outputs, masked: result.masked! }, feeds);
  expect(out.masked!.data[0]).toBeCloseTo(0, 6);
  const largest = (t: HostTensor) => Math.max(...Array.from(t.data as Float32Array, Math.abs));
  for (const name of names) {
    expect(largest(out[`a ${name}`]!)).toBeGreaterThan(1e-5);
    expect(largest(out[`b ${name}`]!)).toBeLessThan(1e-5 * largest(out[`a ${name}`]!));
    expect(difference(out[`given ${name}`]!, out[`a ${name}`]!)).toBeLessThan(1e-4);
  }
});

test('2: straight through: dL/dM = (δᵀx) ⊙ W, none where W is 0, and also below the threshold', async () => {
  const w = draw('w', [3, 4]);
  w.data[5] = 0;
  const score = f32(
    Array.from({ length: 12 }, (_, i) => (i % 3 === 0 ? 0.001 : 0.01)),
    [3, 4],
  );
  const [x, delta] = [draw('x', [6, 4]), draw('delta', [6, 3])];
  const m = input('m', [3, 4]);
  const { result: y } = trace('scratch', (s) =>
    linear(s.intercept({ weight: { weight: () => masked(constant(w), m) } }), constant(x), 3, {
      bias: false,
    }),
  );
  const [g] = grad(y.mul(constant(delta)).sum(), [m]);
  const out = await runOnce({ g: g!, y }, { m: score });
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < 4; j++) {
      const outer = Array.from({ length: 6 }, (_, n) => delta.data[n * 3 + i]! * x.data[n * 4 + j]!);
      const want = outer.reduce((a, b) => a + b, 0) * w.data[i * 4 + j]!;
      expect(out.g.data[i * 4 + j]).toBeCloseTo(want, 4);
    }
  }
  expect(out.g.data[5]).toBe(0);
  expect(Math.abs(Number(out.g.data[0]))).toBeGreaterThan(1e-3);
  // Masked weights take no part: those of output 0 are the first and the last of its row.
  const row = (n: number) => [1, 2].reduce((sum, j) => sum + x.data[n * 4 + j]! * w.data[j]!, 0);
  expect(out.y.data[0]).toBeCloseTo(row(0), 5);
  // Equality counts as masked.
  const at = await runOnce({ y: masked(constant(f32([2])), constant(f32([THRESHOLD]))) }, {});
  expect(at.y.data[0]).toBe(0);
});

test('3: P of the table, its rate over many draws, and what is left of a', async () => {
  const a = f32([1, 1, 1, -2, 3, -1, 0, -2]);
  const b = f32([1, -1, -3, 1, 0, -5, 2, 6]);
  const want = [1, 1 / 2, 1 / 4, 2 / 3, 1, 1, 1, 1 / 4];
  const p = await runOnce({ p: keepProbability(constant(a), constant(b)) }, {});
  want.forEach((value, i) => {
    expect(p.p.data[i]).toBeCloseTo(value, 6);
  });

  const [rows, l] = [4000, 0.7];
  const shape = [rows, 8];
  const repeated = (t: HostTensor<'float32'>) => constant(t).expand(shape);
  const draws = f32(new Random(1).fill(drawsOf(shape), (r) => r.next()));
  const uniform = uniformOf(constant(draws), shape);
  const given = dropConflicts(repeated(a), repeated(b), uniform, l);
  const out = await runOnce({ given, below: less(uniform, 0.25).cast('float32').mean(0) }, {});
  want.forEach((keep, i) => {
    const column = Array.from({ length: rows }, (_, r) => Number(out.given.data[r * 8 + i]));
    const mean = column.reduce((s, v) => s + v, 0) / rows;
    // Three standard errors.
    expect(Math.abs(mean - (1 - l + l * keep) * a.data[i]!)).toBeLessThanOrEqual(
      3 * l * Math.sqrt((keep * (1 - keep)) / rows) * Math.abs(a.data[i]!) + 1e-5,
    );
    for (const v of column) {
      expect(v * a.data[i]!).toBeGreaterThanOrEqual(0);
      expect(Math.abs(v)).toBeLessThanOrEqual(Math.abs(a.data[i]!) + 1e-6);
    }
    expect(Number(out.below.data[i])).toBeCloseTo(0.25, 1);
  });
});

test('3: without regularity (l = 0) nothing is drawn and no teacher is asked', async () => {
  const { training } = await firstStep(withOptions({ drop: 0 }));
  expect([training.inputs, training.gradients]).toEqual([undefined, undefined]);
  const long = { epochs: 8, learningRate: 4e-3 };
  const plain = await fitted({ drop: 0, ...long });
  expect(plain.tensors).toEqual((await fitted({ drop: 0, temperature: 3, ...long })).tensors);
  expect(plain.tensors).not.toEqual((await fitted({ drop: 1, ...long })).tensors);
});

test('4: b has no direction: where a is 0 nothing moves', async () => {
  const { result, tree, batch, training, feeds } = await firstStep(withOptions());
  const still = Object.fromEntries(Object.entries(tree).map(([name, t]) => [name, constant(zeros(t.shape))]));
  const steep = {
    ...result,
    distillation: Object.values(tree).reduce((sum, t) => sum.add(t.sum()), constant(0)),
  };
  const given = training.gradients!(still, { params: tree, batch, metrics: steep });
  const out = await runOnce(given, { draws: feeds.draws! });
  for (const t of Object.values(out)) expect(t.data.every((v) => Number(v) === 0)).toBe(true);
});

test('5: scores alone are trained, as many as weights; CLIP stays as it is', async () => {
  const { result, params } = await firstStep(withOptions());
  expect(params.map((p) => p.name)).toEqual(names.map((name) => `mask.${name}`));
  expect(weightGradients(model, result.loss, params)).toEqual([]);
  const all = async () =>
    Promise.all(
      model.weights.names().map(async (name) => (await model.weights.get(name)!.load()).data.slice()),
    );
  const before = await all();
  const adapter = await fitted();
  expect(await all()).toEqual(before);
  expect(adapter.parameters).toBe(params.reduce((n, p) => n + sizeOf(p.shape), 0));

  const big: ClipModel = { ...model, config: vitB16, weights: shapesOf(vitB16) };
  const count = async (o: Partial<RamtOptions>) => {
    const method = maskPrompting(
      { head: (_s, x) => x },
      withOptions(o),
      maskedWeights(vitB16, withOptions(o)),
    );
    const made = await method.prompts({ model: big, classes: ['a'], template });
    return trainedBy(big, made).reduce((n, p) => n + sizeOf(p.shape), 0);
  };
  expect(await count({})).toBe(28_901_376);
  expect(await count({ patches: false })).toBe(28_311_552);
  expect(await count({ layers: 'all' })).toBe(28_901_376 + 56_623_104);
});

test('5: bits of masks come back, and folded into plain weights they give the same logits', async () => {
  const scores = draw('scores', [5, 7], 0.01);
  const bits = pack(scores);
  expect(bits.shape).toEqual([5]);
  scores.data.forEach((m, i) => {
    expect((bits.data[i >> 3]! >> (i & 7)) & 1).toBe(m > THRESHOLD ? 1 : 0);
  });

  const adapter = await fitted({ epochs: 6 });
  const dir = await mkdtemp(join(tmpdir(), 'attune-r-amt-'));
  await saveAdapter(dir, { config: {}, tensors: adapter.tensors });
  const { tensors } = await loadAdapter(dir);
  const loaded = ramt.restore({ options: withOptions(), tensors });
  const got = await answers(adapter);
  expect(await answers(loaded)).toEqual(got);
  expect(got).not.toEqual(await answers(hand));

  const folded: ClipModel = { ...model, weights: foldMasks(model.weights, tensors) };
  const lower = classNames.map((c) => c.toLowerCase());
  expect(await answers(hand, lower, folded)).toEqual(got);
  const weights = await folded.weights.get(names[1]!)!.load();
  const plain = await model.weights.get(names[1]!)!.load();
  const zero = weights.data.filter((v, i) => v !== plain.data[i]);
  expect(zero.length).toBeGreaterThan(0);
  expect(zero.every((v) => v === 0)).toBe(true);

  const wrong = { 'mask.visual': bits };
  expect(() => foldMasks(model.weights, wrong)).toThrow('for a weight that tiny CLIP has not');
  expect(() => foldMasks(model.weights, { [`mask.${names[0]}`]: bits })).toThrow(
    'has 5 bytes of mask for a weight of [16,3,8,8]',
  );
});

test('6: where learning rates add up to less than 5e-3 no weight is masked, and that is said', async () => {
  const released = ramt.options.parse({}) as RamtOptions;
  expect(reach(released, 160)).toBeCloseTo(6.2e-3, 5);
  expect(reach(released, 80)).toBeCloseTo(2.48e-3, 5);
  expect(reach(released, 32)).toBeCloseTo(1.24e-3, 5);

  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  // Three epochs of four steps.
  const short = { learningRate: 4e-4, drop: 0 };
  expect(reach(withOptions(short), 20)).toBeLessThan(5e-3);
  const all = (await fitted(short)).tensors;
  for (const { data } of Object.values(all)) expect(data.every((byte) => byte === 255)).toBe(true);
  expect(warn.mock.calls.flat().join()).toContain(
    'no weight can be masked: a score must move by 0.0050, and the',
  );
  warn.mockClear();
  const some = (await fitted({ drop: 0 })).tensors;
  expect(Object.values(some).some(({ data }) => data.some((byte) => byte !== 255))).toBe(true);
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
});

test('resumed, a training draws what it would have drawn', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'attune-r-amt-'));
  const stop = new AbortController();
  const events = ramt.fit(tinyTask(model, { dir, signal: stop.signal }), withOptions());
  for (let next = await events.next(); !next.done; next = await events.next()) {
    if (next.value.type === 'step' && next.value.step === 5) stop.abort();
  }
  expect((await fitted({}, { dir, resume: true })).tensors).toEqual((await fitted()).tensors);
});

test.each(['coop', 'maple', 'tip-adapter'] as const)(
  'under %s, whose tensors stay beside the masks',
  async (on) => {
    const adapter = await fitted({ on });
    const loaded = ramt.restore({ options: withOptions({ on }), tensors: adapter.tensors });
    expect(await answers(loaded)).toEqual(await answers(adapter));
    expect(loaded.parameters).toBe(adapter.parameters);
    if (on !== 'coop') return;
    const options = coop.options.parse({ unified: true });
    const alone = (await resultOf(coop.fit(tinyTask(model), options))).adapter;
    expect(adapter.tensors.context).toEqual(alone.tensors.context);
    expect((await answers(adapter, ['cat', 'dog']))[0]).toHaveLength(2);
  },
);

test('the KL divergence from the teacher has the gradient of its distillation loss', async () => {
  const z = input('z', [2, 3]);
  const [g] = grad(distillation(z, constant(f32([1, 2, 3, 0, 0, 1], [2, 3])), 2), [z]);
  const softmax = (row: number[]) => {
    const e = row.map((v) => Math.exp(v / 2));
    return e.map((v) => v / e.reduce((a, b) => a + b, 0));
  };
  const logits = [0.5, -1, 2, 1, 1, 0];
  const out = await runOnce({ g: g! }, { z: f32(logits, [2, 3]) });
  const want = [
    [logits.slice(0, 3), [1, 2, 3]],
    [logits.slice(3), [0, 0, 1]],
  ].flatMap(([student, teacher]) => {
    const [p, q] = [softmax(student!), softmax(teacher!)];
    // T² · (p − q) / T, a mean of two rows.
    return p.map((v, i) => (2 * (v - q[i]!)) / 2);
  });
  want.forEach((v, i) => {
    expect(out.g.data[i]).toBeCloseTo(v, 5);
  });
});
