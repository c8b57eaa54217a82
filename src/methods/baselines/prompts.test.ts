/** "What a faithful implementation must show", exact part: CoCoOp, KgCoOp, ProGrad, IVLP and MaPLe. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { constant, f32, type HostTensor, i64, input, sizeOf } from '../../graph/index.ts';
import { type ClipModel, loadAdapter, saveAdapter } from '../../hub/index.ts';
import { deepText, parseClipConfig, textTower } from '../../models/clip/index.ts';
import { trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { findMethod } from '../list.ts';
import { columns, difference, weightGradients } from '../testing/compare.ts';
import {
  classNames,
  pictures,
  resultOf,
  shapesOf,
  tinyClip,
  tinyTask,
  vitB16,
} from '../testing/tiny-clip.ts';
import { scoreFeatures } from '../vlm/classify.ts';
import { leadingWords } from '../vlm/context.ts';
import { predict } from '../vlm/evaluate.ts';
import { exportClassifier } from '../vlm/export.ts';
import { type PromptMethod, promptLoss, trainedBy } from '../vlm/prompting.ts';
import { templateFeatures, textFeatures, wordEmbeddings } from '../vlm/prompts.ts';
import type { Adapter } from '../vlm/task.ts';
import { cocoop, cocoopPrompting } from './cocoop.ts';
import { coop, coopPrompting } from './coop.ts';
import { ivlp, ivlpPrompting } from './ivlp.ts';
import { kgcoop } from './kgcoop.ts';
import { maple, maplePrompting } from './maple.ts';
import { aligned, projected } from './prograd.ts';
import { zeroShot } from './zero-shot.ts';

const model = await tinyClip();
const plain = 'a photo of a {}.';
const some = pictures(2).examples.map((e) => e.image);
/** Class probabilities of some images, by the graph that is exported. */
const answers = async (adapter: Adapter, classes: readonly string[] = classNames) => {
  const rows = await predict(model, await adapter.classifier(model, classes, plain), some);
  return f32(
    rows.flatMap((row) => [...row]),
    [rows.length, classes.length],
  );
};
const untuned = zeroShot.restore({ options: { ensemble: false }, tensors: {} });
const zeros = (shape: number[]) => f32(new Float32Array(sizeOf(shape)), shape);
const wave = (shape: number[]) =>
  f32(
    Array.from({ length: sizeOf(shape) }, (_, i) => 0.3 * Math.sin(5 * i + sizeOf(shape))),
    shape,
  );
const words = await wordEmbeddings(model, 'a photo of a');
const rows = (t: HostTensor<'float32'>, from: number, to: number) =>
  f32(t.data.slice(from * 12, to * 12), [to - from, 12]);

describe('1: soft tokens set to the embeddings of the words', () => {
  test('CoCoOp with a second layer of zeros is zero-shot CLIP; with another it is not', async () => {
    const net = { 'meta_net.linear1.weight': wave([5, 10]), 'meta_net.linear1.bias': wave([5]) };
    const with2 = (weight: HostTensor) =>
      cocoop.restore({
        options: cocoop.options.parse({ reduction: 2 }),
        tensors: {
          context: words,
          ...net,
          'meta_net.linear2.weight': weight,
          'meta_net.linear2.bias': zeros([12]),
        },
      });
    expect(difference(await answers(with2(zeros([12, 5]))), await answers(untuned))).toBeLessThan(1e-5);
    expect(difference(await answers(with2(wave([12, 5]))), await answers(untuned))).toBeGreaterThan(1e-3);
  });

  test('KgCoOp: no distance where the template is the same, one where it is not', async () => {
    const first = async (template: string) => {
      for await (const e of kgcoop.fit(tinyTask(model, { template }), kgcoop.options.parse({ epochs: 1 }))) {
        if (e.type === 'step') return e.metrics;
      }
      throw new Error('no step');
    };
    const same = await first(plain);
    expect(same.distance).toBeLessThan(1e-6);
    const other = await first('{} texture.');
    expect(other.distance).toBeGreaterThan(1e-3);
    expect(other.loss! - same.loss!).toBeCloseTo(8 * (other.distance! - same.distance!), 4);
  });

  test('IVLP and MaPLe at depth 1: the text features of the sentence', async () => {
    const want = await templateFeatures(model, classNames, [plain]);
    const text = async (method: PromptMethod) => {
      const prompts = await method.prompts({ model, classes: classNames, template: plain });
      const none = input('none', [1, 10]);
      return textFeatures(model, (s) =>
        prompts.text(s.bind({ 'text.0': constant(rows(words, 0, 2)) }), none),
      );
    };
    const shallow = {
      textLength: 2,
      textDepth: 1,
      visionLength: 2,
      visionDepth: 0,
      contextInit: 'a photo of a',
    };
    expect(await text(ivlpPrompting(shallow))).toEqual(want);
    expect(await text(maplePrompting({ contextLength: 2, depth: 1, contextInit: 'a photo of a' }))).toEqual(
      want,
    );
  });

  test.each([
    ['cocoop', 'context', 4],
    ['kgcoop', 'context', 4],
    ['prograd', 'context', 4],
    ['ivlp', 'text.0', 2],
    ['maple', 'text.0', 2],
  ])('training of %s starts from them', async (name, tensor, count) => {
    const method = findMethod(name);
    const o = method.options.parse({ epochs: 1, batch: 20 });
    const { adapter } = await resultOf(method.fit(tinyTask(model), o));
    expect(difference(adapter.tensors[tensor]!, rows(words, 0, count))).toBeLessThan(0.02);
  });
});

describe('2: depth', () => {
  test('deep prompts leave it without effect what stands behind the end token', async () => {
    const { layout } = leadingWords(model, classNames, { contextLength: 2, contextInit: 'a photo of a' });
    const [n, length] = layout.ids.shape as [number, number];
    const pad = model.tokenizer.padId!;
    const whole = Array.from({ length: n * 32 }, (_, i) => {
      const [row, at] = [Math.floor(i / 32), i % 32];
      return at < length ? Number(layout.ids.data[row * length + at]) : pad;
    });
    const features = (ids: HostTensor) =>
      textFeatures(model, (s) => {
        const tokens = [wave([2, 12]), wave([2, 12])].map((t) => constant(t));
        return textTower(deepText(s, tokens, layout.slots), constant(ids), model.config).features;
      });
    const cut = await features(layout.ids);
    expect(difference(await features(i64(whole, [n, 32])), cut)).toBeLessThan(1e-5);
    expect(difference(await templateFeatures(model, classNames, [plain]), cut)).toBeGreaterThan(0.01);
  });

  const text = wave([2, 12]);
  const weight = wave([16, 12]);
  const bias = wave([16]);
  const shallow = maple.restore({
    options: maple.options.parse({ depth: 1 }),
    tensors: { 'text.0': text, 'coupling.0.weight': weight, 'coupling.0.bias': bias },
  });

  test('MaPLe with J = 1 is shallow prompting of both towers, by P and by P W + b', async () => {
    const mapped = constant(text).matmul(constant(weight), { transB: true }).add(constant(bias));
    const { vision } = await runOnce({ vision: mapped }, {});
    const free = ivlp.restore({
      options: ivlp.options.parse({ textDepth: 1, visionDepth: 1 }),
      tensors: { 'text.0': text, 'vision.0': vision },
    });
    expect(difference(await answers(shallow), await answers(free))).toBeLessThan(1e-6);
    expect(difference(await answers(shallow), await answers(untuned))).toBeGreaterThan(1e-3);
  });

  test('without prompts in the vision tower it is CoOp with "a photo" learned', async () => {
    const textOnly = ivlp.restore({
      options: ivlp.options.parse({ textDepth: 1, visionDepth: 0 }),
      tensors: { 'text.0': text },
    });
    const context = f32([...text.data, ...rows(words, 2, 4).data], [4, 12]);
    const learned = coop.restore({ options: coop.options.parse({ unified: true }), tensors: { context } });
    expect(difference(await answers(textOnly), await answers(learned))).toBeLessThan(1e-6);
  });

  test('prompts in the vision tower alone: the text features are those of the template', async () => {
    const blank = ivlp.restore({
      options: ivlp.options.parse({ textDepth: 0, visionDepth: 1 }),
      tensors: { 'vision.0': wave([2, 16]) },
    });
    const features = wave([3, 10]);
    const of = async (adapter: Adapter) =>
      scoreFeatures(model, await adapter.classifier(model, classNames, plain), features);
    expect(difference(await of(blank), await of(untuned))).toBeLessThan(1e-6);
    expect(difference(await answers(blank), await answers(untuned))).toBeGreaterThan(1e-3);
  });
});

describe('3: what is trained', () => {
  const init = { contextInit: 'a photo of a' };
  const big: ClipModel = { ...model, config: vitB16, weights: shapesOf(vitB16) };
  test.each<[string, PromptMethod, number]>([
    ['CoCoOp, M = 4', cocoopPrompting({ contextLength: 4, reduction: 16, ...init }), 35_360],
    ['KgCoOp, M = 4', coopPrompting({ contextLength: 4, ...init }), 2_048],
    ['MaPLe, J = 9', maplePrompting({ contextLength: 2, depth: 9, ...init }), 3_555_072],
    ['MaPLe, J = 3', maplePrompting({ contextLength: 2, depth: 3, ...init }), 1_185_024],
    [
      'IVLP, J = 9',
      ivlpPrompting({ textLength: 2, textDepth: 9, visionLength: 2, visionDepth: 9, ...init }),
      9 * 2 * (512 + 768),
    ],
    [
      'deep language prompts of all layers',
      ivlpPrompting({ textLength: 4, textDepth: 12, visionLength: 2, visionDepth: 0, ...init }),
      12 * 4 * 512,
    ],
  ])('%s at ViT-B/16: the count of the table', async (_name, method, count) => {
    const prompts = await method.prompts({ model: big, classes: classNames, template: plain });
    const sizes = trainedBy(big, prompts).map((p) => sizeOf(p.shape));
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(count);
  });

  /** Four layers, and widths that no two things share. */
  const tower = { num_hidden_layers: 4, num_attention_heads: 2 };
  const four = parseClipConfig({
    projection_dim: 22,
    text_config: {
      ...tower,
      hidden_size: 26,
      intermediate_size: 50,
      vocab_size: model.config.text.vocabulary,
      max_position_embeddings: 32,
      eos_token_id: model.config.text.eosToken,
    },
    vision_config: { ...tower, hidden_size: 34, intermediate_size: 70, image_size: 16, patch_size: 8 },
  });
  test.each<[string, PromptMethod]>([
    ['CoCoOp', cocoopPrompting({ contextLength: 0, reduction: 2, ...init })],
    ['ProGrad', aligned(coopPrompting({ contextLength: 0, ...init }), { projection: 1, temperature: 1 })],
    ['MaPLe', maplePrompting({ contextLength: 2, depth: 3, ...init })],
    ['IVLP', ivlpPrompting({ textLength: 2, textDepth: 4, visionLength: 3, visionDepth: 4, ...init })],
  ])('%s makes no gradient of a weight', async (_name, method) => {
    const small: ClipModel = { ...model, config: four, weights: shapesOf(four) };
    const prompts = await method.prompts({ model: small, classes: classNames, template: plain });
    const batch = {
      features: input('features', [6, 22]),
      pixels: input('pixels', [6, 3, 16, 16]),
      labels: input('labels', [6], 'int64'),
    };
    const { result, params } = trace(small.weights, (s) => promptLoss(s, small, prompts, {}, batch).loss);
    expect(weightGradients(small, result, params)).toEqual([]);
  });

  test('permuted classes have permuted probabilities', async () => {
    const order = [3, 0, 4, 1, 2];
    const permuted = order.map((i) => classNames[i]!);
    for (const method of ['cocoop', 'maple'].map(findMethod)) {
      const o = method.options.parse({ epochs: 1, batch: 20 });
      const { adapter } = await resultOf(method.fit(tinyTask(model), o));
      const want = columns(await answers(adapter), order);
      expect(difference(await answers(adapter, permuted), want), method.name).toBeLessThan(1e-5);
      expect((await answers(adapter, ['cat', 'dog'])).shape).toEqual([10, 2]);
    }
  });
});

describe('losses and gradients', () => {
  const run = async (name: string, given: object) => {
    const method = findMethod(name);
    const { adapter } = await resultOf(method.fit(tinyTask(model), method.options.parse(given)));
    return adapter.tensors;
  };
  const given = {
    epochs: 3,
    batch: 8,
    learningRate: 0.02,
    contextInit: plain.slice(0, 12),
    contextLength: 4,
  };

  test('KgCoOp with λ = 0 and ProGrad with λ = 0 are CoOp, step for step; with 8 and 1 they are not', async () => {
    const want = await run('coop', { ...given, unified: true });
    expect(await run('kgcoop', { ...given, guidance: 0 })).toEqual(want);
    expect(await run('prograd', { ...given, projection: 0 })).toEqual(want);
    expect(await run('kgcoop', given)).not.toEqual(want);
    expect(await run('prograd', given)).not.toEqual(want);
  });

  test.each([
    [[1, 2], [3, 0], 1, [1, 2]],
    [[-1, 2], [3, 0], 1, [0, 2]],
    [[-1, 2], [3, 0], 0.5, [-0.5, 2]],
    [[-2, 2], [1, -1], 1, [0, 0]],
    [[-1, 2], [0, 0], 1, [-1, 2]],
  ])('ProGrad: %j against %j, λ = %d, leaves %j', async (a, b, lambda, want) => {
    const { out } = await runOnce({ out: projected(constant(f32(a)), constant(f32(b)), lambda) }, {});
    expect(Array.from(out.data, Number).map((v) => v + 0)).toEqual(want);
  });
});

describe('adapters', () => {
  const small = { epochs: 2, batch: 8 };
  test.each([
    ['cocoop', { ...small, batch: 3, reduction: 3 }],
    ['kgcoop', small],
    ['prograd', small],
    ['ivlp', small],
    ['ivlp', { ...small, textDepth: 0 }],
    ['ivlp', { ...small, visionDepth: 0, contextInit: '' }],
    ['maple', { ...small, views: 2 }],
  ])('%s %j: saved, restored and exported, it gives the same answers', async (name, given) => {
    const method = findMethod(name);
    const { adapter } = await resultOf(method.fit(tinyTask(model), method.options.parse(given)));
    const dir = await mkdtemp(join(tmpdir(), 'attune-prompts-'));
    await saveAdapter(dir, { config: { options: given }, tensors: adapter.tensors });
    const saved = await loadAdapter(dir);
    const restored = method.restore({
      options: method.options.parse(saved.config.options),
      tensors: saved.tensors,
    });
    const want = await answers(adapter);
    expect(await answers(restored)).toEqual(want);
    expect([restored.parameters, restored.fixedClasses ?? false]).toEqual([adapter.parameters, false]);
    expect(difference(want, await answers(untuned))).toBeGreaterThan(1e-6);

    const onnx = join(dir, 'classifier.onnx');
    const classifier = await restored.classifier(model, classNames, plain);
    const about = { labels: classNames, template: plain, method: name, producer: 'test' };
    await exportClassifier(onnx, model, classifier, about);
    const session = await ort.InferenceSession.create(onnx);
    const pixels = model.images.batch([await some[0]!()]);
    const feeds = { pixel_values: new ort.Tensor('float32', pixels.data, pixels.shape) };
    const { probabilities } = await session.run(feeds);
    const row = f32(want.data.slice(0, 5), [1, 5]);
    expect(difference(f32(probabilities!.data as Float32Array, [1, 5]), row)).toBeLessThan(1e-5);
  });

  test.each(['cocoop', 'maple'])(
    '%s that is stopped and resumed ends as if it had not been',
    async (name) => {
      const method = findMethod(name);
      const o = method.options.parse({ epochs: 3, batch: 8, views: 2 });
      const { adapter: want } = await resultOf(method.fit(tinyTask(model), o));
      const dir = await mkdtemp(join(tmpdir(), 'attune-resume-'));
      const stop = new AbortController();
      for await (const e of method.fit(tinyTask(model, { dir, signal: stop.signal }), o)) {
        if (e.type === 'step' && e.step === 3) stop.abort();
      }
      const { adapter, stopped } = await resultOf(method.fit(tinyTask(model, { dir, resume: true }), o));
      expect([stopped, adapter.tensors]).toEqual(['end', want.tensors]);
    },
  );

  test('CoCoOp scores many images in runs of few', async () => {
    const o = cocoop.options.parse({ epochs: 1, batch: 20 });
    const { adapter } = await resultOf(cocoop.fit(tinyTask(model), o));
    const classifier = await adapter.classifier(model, classNames, plain);
    const features = wave([7, 10]);
    const whole = await scoreFeatures(model, { ...classifier, imagesPerRun: 7 }, features);
    expect(
      difference(await scoreFeatures(model, { ...classifier, imagesPerRun: 3 }, features), whole),
    ).toBeLessThan(1e-5);
    expect(classifier.imagesPerRun).toBe(51);
  });
});

test('words that are too few, or none where there must be some, are refused', async () => {
  const fails = (method: PromptMethod) =>
    expect(method.prompts({ model, classes: classNames, template: plain })).rejects;
  await fails(maplePrompting({ contextLength: 5, depth: 1, contextInit: 'a photo of a' })).toThrow(
    '"a photo of a" is 4 tokens, fewer than the 5 soft ones',
  );
  await fails(coopPrompting({ contextLength: 0, contextInit: '' })).toThrow(
    'set contextLength or contextInit',
  );
  await expect(
    resultOf(ivlp.fit(tinyTask(model), ivlp.options.parse({ textDepth: 0, visionDepth: 0 }))),
  ).rejects.toThrow('Nothing is trained');
});
