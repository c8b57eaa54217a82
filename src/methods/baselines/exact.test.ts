/** "What a faithful implementation must show", exact part: zero-shot, linear probe and CoOp. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { baseAndNew, ensembles, harmonicMean, type Pixels, templates } from '../../data/index.ts';
import { constant, f32, type HostTensor, i64, input, print, sizeOf } from '../../graph/index.ts';
import { type ClipModel, loadAdapter, saveAdapter } from '../../hub/index.ts';
import { textTower } from '../../models/clip/index.ts';
import { coopCosine, trace } from '../../nn/index.ts';
import { methods } from '../list.ts';
import { columns, difference, weightGradients } from '../testing/compare.ts';
import { classNames, resultOf, shapesOf, tinyClip, tinyTask, vitB16 } from '../testing/tiny-clip.ts';
import { scoreFeatures } from '../vlm/classify.ts';
import { Batches, labelsOf, rowsOf } from '../vlm/loop.ts';
import { promptLoss } from '../vlm/prompting.ts';
import {
  type ClassPosition,
  layoutPrompts,
  promptFeatures,
  templateFeatures,
  textFeatures,
  wordEmbeddings,
} from '../vlm/prompts.ts';
import type { Adapter } from '../vlm/task.ts';
import { coop, coopPrompting } from './coop.ts';
import { linearProbe } from './linear-probe.ts';
import { zeroShot } from './zero-shot.ts';

let model: ClipModel;
beforeAll(async () => {
  model = await tinyClip();
});

const options = coop.options.parse({ unified: true });
const plain = 'a photo of a {}.';
/** Image features of four images that no model made. */
const images = f32(
  Array.from({ length: 40 }, (_, i) => Math.sin(7 * i)),
  [4, 10],
);
const logits = async (adapter: Adapter, classes: readonly string[] = classNames) =>
  scoreFeatures(model, await adapter.classifier(model, classes, plain), images);
const plainFeatures = (sentences: readonly string[], padTo?: number) =>
  textFeatures(model, (s) => {
    const { ids } = model.tokenizer.encodeBatch(sentences, padTo ? { padTo } : {});
    return textTower(s, constant(ids), model.config).features;
  });

const softFeatures = (context: HostTensor, length: number, position: ClassPosition, classes = classNames) => {
  const layout = layoutPrompts(model, classes, length, position);
  return textFeatures(model, (s) => promptFeatures(s, constant(context), model, layout));
};

describe('1: context vectors set to the embeddings of the words', () => {
  test('give the features of plain tokenisation, and the logits of zero-shot', async () => {
    const context = await wordEmbeddings(model, 'a photo of a');
    expect(context.shape).toEqual([4, 12]);
    const sentences = classNames.map((c) => `a photo of a ${c.replace('_', ' ')}.`);
    const want = await plainFeatures(sentences);
    expect(new Set(want.data).size).toBe(50);
    expect(await softFeatures(context, 4, 'end')).toEqual(want);
    expect(await templateFeatures(model, classNames, [plain])).toEqual(want);
    const tuned = coop.restore({ options, tensors: { context } });
    const untuned = zeroShot.restore({ options: { ensemble: false }, tensors: {} });
    expect(await logits(tuned)).toEqual(await logits(untuned));
  });

  test('at the front and around the class name too', async () => {
    const context = await wordEmbeddings(model, 'a photo of a');
    const classes = ['cat', 'light bulb'];
    expect(await softFeatures(context, 4, 'front', classes)).toEqual(
      await plainFeatures(classes.map((c) => `${c} a photo of a.`)),
    );
    expect(await softFeatures(context, 4, 'middle', classes)).toEqual(
      await plainFeatures(classes.map((c) => `a photo ${c} of a.`)),
    );
  });

  test('training starts from them, in a copy for each class where prompts are class-specific', async () => {
    const words = await wordEmbeddings(model, 'a photo of a');
    // A learning rate of nothing: one epoch at 1e-5 is too little to see.
    const start = { contextInit: 'a photo of a', epochs: 1, learningRate: 1e-12 };
    for (const unified of [false, true]) {
      const o = coop.options.parse({ ...start, unified });
      const { adapter } = await resultOf(coop.fit(tinyTask(model), o));
      const copies = unified ? 1 : classNames.length;
      const want = f32(Array.from({ length: copies }, () => [...words.data]).flat());
      const { data } = adapter.tensors.context!;
      expect(difference(f32(data as Float32Array), want)).toBeLessThan(1e-3);
    }
    const short = coop.options.parse({ ...start, contextInit: 'a photo' });
    await expect(resultOf(coop.fit(tinyTask(model), short))).rejects.toThrow(
      '"a photo" is 2 tokens, but contextLength is 4; make them equal',
    );
  });
});

test('2: what stands behind the longest end token does not matter', async () => {
  const cut = await templateFeatures(model, classNames, [plain]);
  const sentences = classNames.map((c) => `a photo of a ${c.replace('_', ' ')}.`);
  expect(difference(await plainFeatures(sentences, model.config.text.context), cut)).toBeLessThan(1e-5);

  const context = await wordEmbeddings(model, 'a photo of a');
  const { ids, slots } = layoutPrompts(model, classNames, 4);
  const [n, length] = ids.shape as [number, number];
  expect(length).toBe(Math.max(...sentences.map((s) => model.tokenizer.encode(s).length)));
  const whole = Array.from({ length: n }, (_, r) => [
    ...ids.data.subarray(r * length, (r + 1) * length),
    ...new Array<bigint>(32 - length).fill(BigInt(model.tokenizer.padId!)),
  ]);
  const layout = { ids: i64(whole.flat().map(Number), [n, 32]), slots };
  const padded = await textFeatures(model, (s) => promptFeatures(s, constant(context), model, layout));
  expect(difference(padded, await softFeatures(context, 4, 'end'))).toBeLessThan(1e-5);
});

describe('3: what is trained', () => {
  test.each([
    [16, false, 8192],
    [4, false, 2048],
    [16, true, 5 * 16 * 512],
  ])(
    'at ViT-B/16, M = %i, class-specific %s: %i parameters, and no gradient of a weight',
    async (m, csc, count) => {
      const source = shapesOf(vitB16);
      const big: ClipModel = { ...model, config: vitB16, weights: source };
      const o = coop.options.parse({ contextLength: m, unified: !csc });
      const prompts = await coopPrompting(o).prompts({ model: big, classes: classNames, template: plain });
      const batch = { features: input('features', [32, 512]), labels: input('labels', [32], 'int64') };
      const { result, params } = trace(source, (s) => promptLoss(s, big, prompts, {}, batch).loss);
      expect(params.map((p) => [p.name, sizeOf(p.shape)])).toEqual([['context', count]]);
      expect(weightGradients(big, result, params)).toEqual([]);
      const graph = print({ loss: result });
      expect(graph).not.toContain('vision_model');
      expect(graph).toContain('text_model.encoder.layers.11.mlp.fc2.weight');
    },
  );

  test.each([
    ['coop', { contextLength: 3, epochs: 1, unified: true }, 3 * 12],
    ['coop', { contextLength: 3, epochs: 1 }, 5 * 3 * 12],
    ['linear-probe', { steps: 1, decays: [0.1] }, 5 * 10 + 5],
    ['zero-shot', {}, 0],
  ])('%s %j: %i scalars, and the model is left as it was', async (name, given, count) => {
    const values = async () =>
      Promise.all(
        model.weights.names().map(async (n) => [n, [...(await model.weights.get(n)!.load()).data]]),
      );
    const before = await values();
    const method = methods.find((m) => m.name === name)!;
    const { adapter } = await resultOf(method.fit(tinyTask(model), method.options.parse(given)));
    expect(adapter.parameters).toBe(count);
    expect(Object.values(adapter.tensors).reduce((n, t) => n + t.data.length, 0)).toBe(count);
    expect(await values()).toEqual(before);
  });

  test('permuted classes have permuted logits', async () => {
    const order = [3, 0, 4, 1, 2];
    const permuted = order.map((i) => classNames[i]!);
    const context = await wordEmbeddings(model, 'light bulb a photo');
    const shared = coop.restore({ options, tensors: { context } });
    const untuned = zeroShot.restore({ options: { ensemble: true }, tensors: {} });
    for (const adapter of [shared, untuned]) {
      const want = columns(await logits(adapter), order);
      expect(difference(await logits(adapter, permuted), want)).toBeLessThan(1e-6);
    }
  });

  test('class-specific prompts and probes are tied to their classes', async () => {
    const context = f32(
      Array.from({ length: 5 * 4 * 12 }, (_, i) => Math.cos(i)),
      [5, 4, 12],
    );
    const csc = coop.restore({ options: { ...options, unified: false }, tensors: { context } });
    const all = await logits(csc);
    for (const c of classNames.keys()) {
      const own = f32(context.data.subarray(c * 48, c * 48 + 48), [4, 12]);
      const alone = coop.restore({ options, tensors: { context: own } });
      expect(difference(await logits(alone, [classNames[c]!]), columns(all, [c]))).toBeLessThan(1e-5);
    }
    await expect(logits(csc, ['cat'])).rejects.toThrow(/5,4,12.*its 1 classes need \[1,4,12\]/);
    const weight = f32(new Float32Array(50), [5, 10]);
    const probe = linearProbe.restore({
      options: linearProbe.options.parse({}),
      tensors: { weight, bias: f32(new Float32Array(5)) },
    });
    await expect(logits(probe, ['cat'])).rejects.toThrow('holds only for the classes it was trained on');
    expect([csc.fixedClasses, probe.fixedClasses]).toEqual([true, true]);
  });
});

describe('4: the protocol', () => {
  test('H of the averages; the base half has ceil(C/2) of the labels, in their own order', () => {
    expect(harmonicMean(69.34, 74.22).toFixed(2)).toBe('71.70');
    expect(harmonicMean(82.69, 63.22).toFixed(2)).toBe('71.66');
    for (const [classes, base] of [
      [37, 19],
      [47, 24],
      [100, 50],
    ] as const) {
      const names = Array.from(
        { length: classes },
        (_, i) => `class ${String((i * 7) % classes).padStart(3, '0')}`,
      );
      const halves = baseAndNew({ name: 'x', classes: names, examples: [] });
      expect([halves.base.classes.length, halves.new.classes.length]).toEqual([base, classes - base]);
      expect([...halves.base.classes, ...halves.new.classes]).toEqual(names);
    }
  });

  /** How CoOp's PromptLearner puts a sentence together: "X X X X name." encoded, then cut into pieces. */
  function coopConstruction(name: string, m: number, position: ClassPosition): (number | string)[] {
    const prompt = `${Array(m).fill('X').join(' ')} ${name.replaceAll('_', ' ')}.`;
    const tokens = model.tokenizer.encode(prompt);
    const nameLength = model.tokenizer.encode(name.replaceAll('_', ' ')).length - 2;
    const prefix = tokens.slice(0, 1);
    const context = Array.from({ length: m }, (_, j) => `V${j}`);
    const suffix = tokens.slice(1 + m);
    const [own, rest] = [suffix.slice(0, nameLength), suffix.slice(nameLength)];
    const half = Math.floor(m / 2);
    if (position === 'end') return [...prefix, ...context, ...suffix];
    if (position === 'middle')
      return [...prefix, ...context.slice(0, half), ...own, ...context.slice(half), ...rest];
    return [...prefix, ...own, ...context, ...rest];
  }
  test.each<[ClassPosition, number]>([
    ['end', 4],
    ['middle', 4],
    ['middle', 3],
    ['front', 2],
  ])('class position %s with %i vectors lays out what CoOp does', (position, m) => {
    const { ids, slots } = layoutPrompts(model, classNames, m, position);
    const length = ids.shape[1]!;
    classNames.forEach((name, row) => {
      const want = coopConstruction(name, m, position);
      const got: (number | string)[] = Array.from(
        ids.data.subarray(row * length, (row + 1) * length),
        Number,
      );
      const x = model.tokenizer.encode('X')[1];
      slots[row]!.forEach((at, j) => {
        expect(got[at]).toBe(x);
        got[at] = `V${j}`;
      });
      expect(got.slice(0, want.length)).toEqual(want);
      expect(got.slice(want.length).every((id) => id === model.tokenizer.padId)).toBe(true);
    });
  });

  test("Dassl's schedule: 1e-5, then the cosine of the epoch before, which never reaches zero", () => {
    const lr = coopCosine(0.002);
    const [stepsPerEpoch, epochs] = [3, 50];
    for (let e = 0; e < epochs; e++) {
      for (const step of [e * stepsPerEpoch, e * stepsPerEpoch + 2]) {
        const want = e === 0 ? 1e-5 : (0.002 * (1 + Math.cos((Math.PI * (e - 1)) / epochs))) / 2;
        expect(lr({ step, epoch: e, stepsPerEpoch, totalSteps: epochs * stepsPerEpoch })).toBeCloseTo(
          want,
          12,
        );
      }
    }
  });

  test('drop_last only where there is a full batch; every epoch is a new order, by the step alone', async () => {
    const batches = (n: number) => {
      const rows = f32(
        Array.from({ length: n }, (_, i) => i),
        [n, 1],
      );
      return new Batches(
        new Array(n).fill(0),
        { features: rowsOf([rows]) },
        { batch: 32, seed: 1, views: 1 },
      );
    };
    expect([batches(80).perEpoch, batches(80).size]).toEqual([2, 32]);
    expect([batches(10).perEpoch, batches(10).size]).toEqual([1, 10]);
    const at = async (step: number, from = batches(80)) => {
      const t = { step, epoch: Math.floor(step / 2), stepsPerEpoch: 2, totalSteps: 8 };
      return Array.from((await from.at(t)).features!.data, Number);
    };
    const same = batches(80);
    const epochs = [];
    for (const e of [0, 1, 2]) epochs.push([...(await at(2 * e, same)), ...(await at(2 * e + 1, same))]);
    for (const epoch of epochs) expect(new Set(epoch).size).toBe(64);
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect(await at(3)).toEqual(epochs[1]!.slice(32));
    expect(await at(0, same)).toEqual(epochs[0]!.slice(0, 32));
  });

  test('prompt ensembling: normalise, mean, normalise', async () => {
    const each = await Promise.all(ensembles.imagenet!.map((t) => templateFeatures(model, classNames, [t])));
    const unit = (v: readonly number[]) => v.map((x) => x / Math.hypot(...v));
    const row = (t: HostTensor, c: number) => [...t.data.subarray(c * 10, c * 10 + 10)].map(Number);
    const want = classNames.flatMap((_, c) => {
      const units = each.map((t) => unit(row(t, c)));
      return unit(units[0]!.map((_, d) => units.reduce((sum, u) => sum + u[d]!, 0) / units.length));
    });
    const got = await templateFeatures(model, classNames, ensembles.imagenet!);
    expect(difference(got, f32(want, [5, 10]))).toBeLessThan(1e-5);
    const ensemble = zeroShot.restore({ options: { ensemble: true }, tensors: {} });
    expect(difference(await logits(ensemble), await cosines(got))).toBeLessThan(1e-5);
  });
  /** s · cosine of `images` and text features, by hand. */
  async function cosines(text: HostTensor): Promise<HostTensor> {
    const scale = Math.exp(Number((await model.weights.get('logit_scale')!.load()).data[0]));
    const rows = (t: HostTensor) =>
      Array.from({ length: t.shape[0]! }, (_, i) => [...t.data.subarray(i * 10, i * 10 + 10)].map(Number));
    const cosine = (a: number[], b: number[]) =>
      a.reduce((sum, x, i) => sum + x * b[i]!, 0) / Math.hypot(...a) / Math.hypot(...b);
    const out = rows(images).flatMap((x) => rows(text).map((t) => scale * cosine(x, t)));
    return f32(out, [4, text.shape[0]!]);
  }

  test("CoOp's templates", () => {
    expect(templates).toMatchObject({
      imagenet: 'a photo of a {}.',
      oxfordpets: 'a photo of a {}, a type of pet.',
      food101: 'a photo of {}, a type of food.',
      dtd: '{} texture.',
      eurosat: 'a centered satellite photo of {}.',
      ucf101: 'a photo of a person doing {}.',
    });
  });
});

describe('training', () => {
  test('CoOp learns: the loss falls', async () => {
    const o = coop.options.parse({ unified: true, epochs: 60, learningRate: 0.05, batch: 10 });
    const losses: number[] = [];
    for await (const e of coop.fit(tinyTask(model), o)) if (e.type === 'step') losses.push(e.metrics.loss!);
    expect(losses).toHaveLength(60 * 2);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.8);
  });

  test('views are random crops of each image, the same for the same seed', async () => {
    const o = coop.options.parse({ epochs: 2, views: 2 });
    const tuned = async (seed: number) => {
      const { adapter } = await resultOf(coop.fit(tinyTask(model, { seed }), o));
      return adapter.tensors;
    };
    expect(await tuned(1)).toEqual(await tuned(1));
    expect(await tuned(1)).not.toEqual(await tuned(2));
    let decoded = 0;
    const task = tinyTask(model);
    const counted = task.train.examples.map((e) => ({
      ...e,
      image: async (): Promise<Pixels> => {
        decoded++;
        return e.image();
      },
    }));
    await resultOf(coop.fit({ ...task, train: { ...task.train, examples: counted } }, o));
    expect(decoded).toBe(2 * counted.length);
  });

  test.each([
    [0.01, 1e-5],
    [1e-4, 2e-3],
  ])('the linear probe is at the optimum of its loss, L2 strength %d', async (decay, tolerance) => {
    const task = tinyTask(model);
    const o = linearProbe.options.parse({ decays: [decay] });
    const { adapter } = await resultOf(linearProbe.fit(task, o));
    const x = await task.features.of(task.train);
    const labels = labelsOf(task.train);
    const [n, width] = x.shape as [number, number];
    const classes = classNames.length;
    const at = (i: number, d: number) => x.data[i * width + d]!;
    const mean = Array.from({ length: width }, (_, d) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += at(i, d);
      return sum / n;
    });
    let power = 0;
    for (let i = 0; i < n; i++) for (let d = 0; d < width; d++) power += (at(i, d) - mean[d]!) ** 2;
    const scale = Math.sqrt(power / (n * width));
    // In the features that the loss sees: (x − mean) / scale with weights times scale.
    const w = Array.from(adapter.tensors.weight!.data as Float32Array, (v) => v * scale);
    const bias = adapter.tensors.bias!.data as Float32Array;
    const gradient = w.map((v) => decay * v);
    const biasGradient = new Array<number>(classes).fill(0);
    for (let i = 0; i < n; i++) {
      const scores = classNames.map((_, c) => {
        let sum = bias[c]!;
        for (let d = 0; d < width; d++) sum += (w[c * width + d]! / scale) * at(i, d);
        return Math.exp(sum);
      });
      const total = scores.reduce((a, b) => a + b, 0);
      for (let c = 0; c < classes; c++) {
        const error = (scores[c]! / total - (labels[i] === c ? 1 : 0)) / n;
        biasGradient[c]! += error;
        for (let d = 0; d < width; d++) gradient[c * width + d]! += (error * (at(i, d) - mean[d]!)) / scale;
      }
    }
    expect(Math.hypot(...w)).toBeGreaterThan(0.5);
    expect(Math.hypot(...gradient, ...biasGradient)).toBeLessThan(tolerance);
  });

  test.each([
    ['zero-shot', { ensemble: true }],
    ['linear-probe', { steps: 5 }],
    ['coop', { epochs: 2, unified: true }],
    ['coop', { epochs: 2, classPosition: 'middle' }],
  ])('%s %j: saved and restored, it gives the same logits', async (name, given) => {
    const method = methods.find((m) => m.name === name)!;
    const o = method.options.parse(given);
    const { adapter } = await resultOf(method.fit(tinyTask(model), o));
    const dir = await mkdtemp(join(tmpdir(), 'attune-adapter-'));
    await saveAdapter(dir, { config: { method: name, options: given }, tensors: adapter.tensors });
    const saved = await loadAdapter(dir);
    const restored = method.restore({
      options: method.options.parse(saved.config.options),
      tensors: saved.tensors,
    });
    expect(await logits(restored)).toEqual(await logits(adapter));
    expect(restored.parameters).toBe(adapter.parameters);
  });

  test('CoOp that is stopped and resumed ends as if it had not been', async () => {
    const o = coop.options.parse({ epochs: 6, batch: 8 });
    const { adapter: want } = await resultOf(coop.fit(tinyTask(model), o));
    const dir = await mkdtemp(join(tmpdir(), 'attune-coop-'));
    const stop = new AbortController();
    const events = coop.fit(tinyTask(model, { dir, signal: stop.signal }), o);
    for await (const e of events) if (e.type === 'step' && e.step === 5) stop.abort();
    const { adapter, stopped } = await resultOf(coop.fit(tinyTask(model, { dir, resume: true }), o));
    expect([stopped, adapter.tensors]).toEqual(['end', want.tensors]);
  });
});
