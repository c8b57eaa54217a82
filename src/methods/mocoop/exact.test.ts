/** "What a faithful implementation must show", exact part, by the items of the card. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import {
  constant,
  f32,
  grad,
  type HostTensor,
  i64,
  input,
  l2Normalize,
  logSoftmax,
  print,
  sizeOf,
  type Tensor,
} from '../../graph/index.ts';
import { type ClipModel, loadAdapter, saveAdapter } from '../../hub/index.ts';
import { cosineLogits, logitScale } from '../../models/clip/index.ts';
import { type Scope, type Tree, trace } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import { initParams, type Values } from '../../train/index.ts';
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
import { wordsInit } from '../vlm/context.ts';
import { predict } from '../vlm/evaluate.ts';
import { exportClassifier } from '../vlm/export.ts';
import { fitPrompts } from '../vlm/prompt-tuning.ts';
import { logitsOf, type PromptMethod, promptLoss, trainedBy } from '../vlm/prompting.ts';
import { layoutSentences, promptFeatures, templateFeatures, wordEmbeddings } from '../vlm/prompts.ts';
import { type Groups, groupSets } from './groups.ts';
import { gateLoss, gateTarget, mixed, prototypes, route, textLoss } from './losses.ts';
import { mocoop, mocoopPrompting } from './method.ts';

const model = await tinyClip();
const plain = 'a photo of a {}.';
const groups: Groups = [
  ['a photo of a {}.', 'a photo of an oak {}.'],
  ['{} texture.'],
  ['a {} in a photo.', 'a {} of light.', 'X {}'],
  ['an oak {}'],
];
const asText = (list: Groups) => list.map((g) => g.join(' | ')).join('; ');
/** Without the vision tower's LayerNorms unless they are asked for. */
const parse = (given: object = {}, list = groups) =>
  mocoop.options.parse({ groups: asText(list), layerNorms: false, ...given });
const noise = (name: string, shape: number[]) =>
  f32(
    new Random(name).fill(sizeOf(shape), (r) => r.normal()),
    shape,
  );
const images = noise('images', [6, 10]);
const labels = i64([0, 1, 2, 3, 4, 0]);
const constants = (values: Values): Tree =>
  Object.fromEntries(Object.entries(values).map(([name, v]) => [name, constant(v)]));

/** The method on the tiny CLIP, with initial values of all that it trains. */
async function start(given: object = {}, list = groups) {
  const method = mocoopPrompting(parse(given, list), list);
  const prompts = await method.prompts({ model, classes: classNames, template: plain });
  const values = await initParams(trainedBy(model, prompts), 1);
  return { method, prompts, values };
}
type Started = Awaited<ReturnType<typeof start>>;

/** Text features [G, C, D], logits of `images`, and what else `more` asks for. */
async function outputs({ prompts, values }: Started, more: (s: Scope, text: Tensor) => Tree = () => ({})) {
  const { result } = trace(model.weights, (scope) => {
    const s = scope.bind(constants(values));
    const x = constant(images);
    const text = prompts.text(s, x);
    return { text, logits: logitsOf(s, model, prompts, x, text), ...more(s, text) };
  });
  return (await runOnce(result, {})) as Record<string, HostTensor<'float32'>>;
}

/** Gradients of one part of the loss by parameter. */
async function gradients(
  { method, prompts, values }: Started,
  part: 'loss' | 'text' | 'gate',
  rows = [0, 1, 2, 3, 4, 5],
): Promise<Record<string, number[]>> {
  const training = await method.training!(tinyTask(model));
  const batch = {
    features: constant(
      f32(
        rows.flatMap((r) => [...images.data.subarray(10 * r, 10 * r + 10)]),
        [rows.length, 10],
      ),
    ),
    labels: constant(i64(rows.map((r) => Number(labels.data[r])))),
  };
  const { result, params } = trace(model.weights, (s) => promptLoss(s, model, prompts, training, batch));
  const wanted = params.map((p) => p.tensor);
  const slopes = grad(result[part]!, wanted, { unused: 'zero' });
  const tree = Object.fromEntries(params.map((p, i) => [p.name, slopes[i]!]));
  const feeds = Object.fromEntries(params.map((p) => [`param/${p.name}`, values[p.name]!]));
  const out = await runOnce({ ...tree, loss: result.loss }, feeds);
  return Object.fromEntries(Object.entries(out).map(([name, { data }]) => [name, Array.from(data, Number)]));
}
const alone = { textWeight: 0, gateWeight: 0 };
const isZero = (g: number[]) => g.every((x) => x === 0);

/** A router that sends every image to experts 1 and 3. */
const toOneAndThree: Values = {
  'router.weight': f32(new Float32Array(40), [4, 10]),
  'router.bias': f32([0, 5, 1, 4]),
};
const rowsOf = (g: number[]) => Array.from({ length: 4 }, (_, i) => g.slice(10 * i, 10 * i + 10));

describe('1: at initialisation, with w = 0', () => {
  test('the features of an expert are those of its first template without full stop, and logits are mixed', async () => {
    const begun = await start();
    const first = groups.map(([t]) => t!.replace(/\.$/, ''));
    const each = await Promise.all(first.map((t) => templateFeatures(model, classNames, [t])));
    const out = await outputs(begun, (s) => {
      const q = l2Normalize(constant(images))
        .matmul(constant(begun.values['router.weight']!), { transB: true })
        .add(constant(begun.values['router.bias']!));
      const scale = logitScale(s, model.config);
      const templates = Object.fromEntries(
        each.map((t, g) => [`expert ${g}`, cosineLogits(constant(images), constant(t), scale)]),
      );
      const normalised = each.map((t, g) => [`t${g}`, l2Normalize(constant(t))]);
      return { q, ...templates, ...Object.fromEntries(normalised) };
    });
    expect(out.text!.shape).toEqual([4, 5, 10]);
    each.forEach((_, g) => {
      const own = f32(out.text!.data.slice(50 * g, 50 * g + 50), [5, 10]);
      expect(difference(own, out[`t${g}`]!), first[g]).toBeLessThan(1e-5);
    });
    const want = Array.from({ length: 30 }, (_, i) => {
      const q = [...out.q!.data.subarray(4 * Math.floor(i / 5), 4 * Math.floor(i / 5) + 4)];
      const [a, b] = [0, 1, 2, 3].sort((x, y) => q[y]! - q[x]!) as [number, number];
      const pi = 1 / (1 + Math.exp(q[b]! - q[a]!));
      return pi * out[`expert ${a}`]!.data[i]! + (1 - pi) * out[`expert ${b}`]!.data[i]!;
    });
    expect(difference(out.logits!, f32(want, [6, 5]))).toBeLessThan(1e-5);
  });

  test('tokens are counted, not words: names of several tokens and hyphens keep their places', async () => {
    const list: Groups = [['a high-performance {}, a type of oak-tree.']];
    const begun = await start({}, list);
    const sizes = Object.fromEntries(Object.entries(begun.values).map(([name, v]) => [name, v.shape[0]]));
    const tokens = (text: string) => model.tokenizer.encode(text).length - 2;
    expect(sizes['experts.0.before']).toBe(tokens('a high-performance'));
    expect(sizes['experts.0.after']).toBe(tokens(', a type of oak-tree'));
    expect(tokens('a high-performance')).toBeGreaterThan(2);
  });
});

test('2: mixing features without normalising them again is mixing logits, and they are no longer than 1', async () => {
  const begun = await start({ topK: 3 });
  const { direct, byLogits, length } = (await outputs(begun, (_s, t) => {
    const v = l2Normalize(constant(images));
    const pi = route(constant(noise('q', [6, 4])), 3);
    const tau = pi.matmul(t.reshape([4, 50])).reshape([6, 5, 10]);
    return {
      direct: tau.matmul(v.reshape([6, 10, 1])).reshape([6, 5]),
      byLogits: mixed(v, t, pi),
      length: tau.square().sum(-1),
    };
  })) as Record<string, HostTensor<'float32'>>;
  expect(difference(byLogits!, direct!)).toBeLessThan(1e-5);
  expect(Math.max(...length!.data)).toBeLessThanOrEqual(1 + 1e-6);
  expect(Math.min(...length!.data)).toBeLessThan(0.99);
});

describe('3: sparse gradients', () => {
  test('of an expert that no image is sent to: none from L_cls, some from L_text', async () => {
    const begun = await start();
    const values = { ...begun.values, ...toOneAndThree };
    const cls = await gradients({ ...(await start(alone)), values }, 'loss');
    const text = await gradients({ ...begun, values }, 'text');
    const silent = ['experts.0.before', 'experts.2.before', 'experts.2.after'];
    for (const name of silent) expect([isZero(cls[name]!), isZero(text[name]!)]).toEqual([true, false]);
    for (const name of ['experts.1.after', 'experts.3.before']) expect(isZero(cls[name]!)).toBe(false);
  });

  test('of router rows that are not among the two: none from L_cls, some from L_gate', async () => {
    const begun = await start(alone);
    const values = { ...begun.values, ...toOneAndThree };
    const cls = rowsOf((await gradients({ ...begun, values }, 'loss'))['router.weight']!);
    expect(cls.map(isZero)).toEqual([true, false, true, false]);
    const gate = rowsOf((await gradients({ ...(await start()), values }, 'gate'))['router.weight']!);
    expect(gate.map(isZero)).toEqual([false, false, false, false]);
  });
});

describe('4: experts are a set', () => {
  test('in another order, with their router rows, they give the same logits', async () => {
    const begun = await start();
    const order = [2, 0, 3, 1];
    const permuted = await start(
      {},
      order.map((g) => groups[g]!),
    );
    const rows = (name: string, width: number) =>
      f32(
        order.flatMap((g) => [...begun.values[name]!.data.slice(g * width, (g + 1) * width)].map(Number)),
        begun.values[name]!.shape,
      );
    const router = { 'router.weight': rows('router.weight', 10), 'router.bias': rows('router.bias', 1) };
    const got = await outputs({ ...permuted, values: { ...permuted.values, ...router } });
    expect(difference(got.logits!, (await outputs(begun)).logits!)).toBeLessThan(1e-5);
  });

  test('two alike give logits that the router does not change', async () => {
    const begun = await start({}, [groups[0]!, groups[0]!]);
    const router = { 'router.weight': noise('other', [2, 10]), 'router.bias': f32([3, -1]) };
    const got = await outputs({ ...begun, values: { ...begun.values, ...router } });
    expect(difference(got.logits!, (await outputs(begun)).logits!)).toBeLessThan(1e-6);
  });
});

test.each([2, 5, 20])('5: the target of the router among %i groups, and its loss', async (experts) => {
  const v = l2Normalize(constant(noise('v', [6, 10])));
  const h = l2Normalize(constant(noise(`h${experts}`, [experts, 5, 10])));
  const target = gateTarget(v, h, constant(labels));
  const u = h.transpose([1, 0, 2]).matmul(v.reshape([6, 1, 1, 10]).transpose([0, 1, 3, 2]));
  const q = constant(noise('q', [6, experts]));
  const out = await runOnce(
    {
      target,
      u,
      entropy: target.mul(target.log()).sum(-1).mean().neg(),
      some: gateLoss(q, target),
      best: gateLoss(target.log(), target),
    },
    {},
  );
  for (let b = 0; b < 6; b++) {
    const row = Array.from(out.target.data.slice(b * experts, (b + 1) * experts), Number);
    const cosines = Array.from({ length: experts }, (_, g) =>
      Number(out.u.data[(b * 5 + Number(labels.data[b])) * experts + g]),
    );
    const byCosine = row.map((_, g) => g).sort((x, y) => cosines[y]! - cosines[x]!);
    expect(Math.min(...row)).toBeGreaterThanOrEqual(0);
    expect(row.reduce((x, y) => x + y)).toBeCloseTo(1, 5);
    expect(row[byCosine[0]!]! + row[byCosine[1]!]!).toBeGreaterThan(0.999);
  }
  const [entropy, some, best] = [out.entropy, out.some, out.best].map((t) => Number(t.data[0]));
  expect(best).toBeCloseTo(entropy!, 5);
  expect(some).toBeGreaterThan(entropy! + 0.01);
  expect(entropy).toBeLessThan(Math.LN2 + 0.01);
});

describe('6: what it reduces to', () => {
  const training = { epochs: 3, batch: 8, learningRate: 0.02, views: 0, weightDecay: 5e-4 };
  test('one expert without L_gate is CoOp from a template, step for step, plus L_text', async () => {
    const one: Groups = [[plain]];
    const o = parse({ ...training, ...alone, correction: false }, one);
    const task = tinyTask(model);
    const { optimizer } = await mocoopPrompting(o, one).training!(task);
    // CoOp, but for the full stop, which no expert has.
    const coop: PromptMethod = {
      async prompts({ classes }) {
        const sentences = classes.map((c) => `a photo of a ${c.replace('_', ' ')}`);
        const layout = layoutSentences(model, sentences, 4);
        const init = wordsInit(model, 'a photo of a');
        return { text: (s) => promptFeatures(s, s.param('context', [4, 12], init), model, layout) };
      },
      training: async () => ({ optimizer: optimizer! }),
    };
    const want = (await resultOf(fitPrompts(task, coop, training))).adapter.tensors.context!;
    const got = (await resultOf(mocoop.fit(task, o))).adapter.tensors['experts.0.before']!;
    expect(difference(got, want)).toBeLessThan(1e-5);
    expect(difference(got, await wordEmbeddings(model, 'a photo of a'))).toBeGreaterThan(1e-3);

    const first = async (given: object) => {
      for await (const e of mocoop.fit(task, parse({ ...training, gateWeight: 0, ...given }, one))) {
        if (e.type === 'step') return e.metrics;
      }
      throw new Error('no step');
    };
    const [without, with2] = [await first({ textWeight: 0 }), await first({ textWeight: 2 })];
    expect(without.text).toBeUndefined();
    expect(with2.loss! - without.loss!).toBeCloseTo(2 * with2.text!, 4);
  });

  test('all experts and a constant router are a plain ensemble', async () => {
    const begun = await start({ ...alone, topK: 4 });
    const router = { 'router.weight': f32(new Float32Array(40), [4, 10]), 'router.bias': f32([2, 2, 2, 2]) };
    const out = await outputs({ ...begun, values: { ...begun.values, ...router } }, (s, text) => ({
      mean: l2Normalize(constant(images))
        .matmul(text.mean(0), { transB: true })
        .mul(logitScale(s, model.config)),
    }));
    expect(difference(out.logits!, out.mean!)).toBeLessThan(1e-5);
  });
});

describe('7: what is trained', () => {
  const list = groupSets.dtd!;
  test.each([
    [{}, 36_864],
    [{ layerNorms: false }, 0],
  ])('at ViT-B/16 %j: the counts of the table, and no gradient of a weight', async (given, norms) => {
    const big: ClipModel = { ...model, config: vitB16, weights: shapesOf(vitB16) };
    const o = parse({ layerNorms: true, ...given }, list);
    const prompts = await mocoopPrompting(o, list).prompts({
      model: big,
      classes: classNames,
      template: plain,
    });
    const params = trainedBy(big, prompts);
    const count = (pattern: RegExp) =>
      params.filter((p) => pattern.test(p.name)).reduce((n, p) => n + sizeOf(p.shape), 0);
    expect(count(/^router\./)).toBe(513 * 5);
    expect(count(/^correction$/)).toBe(512);
    expect(count(/^vision_model\.encoder\.layers\.\d+\.layer_norm[12]\.(weight|bias)$/)).toBe(norms);
    const tokens = list.map(
      ([t]) => model.tokenizer.encode(t!.replace('{}', ' ').replace(/\.$/, '')).length - 2,
    );
    expect(count(/^experts\./)).toBe(512 * tokens.reduce((a, b) => a + b));
    const batch = {
      features: input('features', [8, 512]),
      pixels: input('pixels', [2, 3, 224, 224]),
      labels: input('labels', [norms ? 2 : 8], 'int64'),
    };
    const { result, params: traced } = trace(big.weights, (s) => promptLoss(s, big, prompts, {}, batch).loss);
    expect(weightGradients(big, result, traced)).toEqual([]);
  });

  test('only these change, the LayerNorms by a tenth of a step', async () => {
    const values = async () =>
      Promise.all(
        model.weights.names().map(async (n) => [n, [...(await model.weights.get(n)!.load()).data]]),
      );
    const before = await values();
    const o = parse({ layerNorms: true, epochs: 3, batch: 8 });
    const { adapter } = await resultOf(mocoop.fit(tinyTask(model), o));
    expect(await values()).toEqual(before);
    const norm = (n: number) => `vision_model.encoder.layers.0.layer_norm${n}`;
    expect(Object.keys(adapter.tensors).sort()).toEqual(
      [
        'correction',
        ...['0.before', '1.after', '2.after', '2.before', '3.before'].map((e) => `experts.${e}`),
        ...['router.bias', 'router.weight'],
        ...[1, 2].flatMap((n) => [`${norm(n)}.bias`, `${norm(n)}.weight`]),
      ].sort(),
    );
    const tuned = adapter.tensors[`${norm(1)}.weight`]!;
    expect(difference(tuned, await model.weights.get(`${norm(1)}.weight`)!.load())).toBeGreaterThan(1e-6);

    const { optimizer } = await mocoopPrompting(o, groups).training!(tinyTask(model));
    const names = ['router.bias', `${norm(1)}.bias`];
    const tree = (value: number): Tree =>
      Object.fromEntries(names.map((name) => [name, constant(f32([value, value]))]));
    const shapes = Object.fromEntries(names.map((name) => [name, [2]]));
    const state = Object.fromEntries(
      Object.entries(optimizer!.init(shapes)).map(([key, shape]) => [key, constant(0).expand(shape)]),
    );
    const at = { step: 4, epoch: 2, stepsPerEpoch: 2, totalSteps: 6 };
    const { updates } = optimizer!.update(tree(0.1), state, {
      params: tree(0),
      hyper: (_name, value) => constant(value(at)),
    });
    const out = await runOnce(updates, {});
    const [full, tenth] = names.map((name) => Number(out[name]!.data[0]));
    expect(tenth! / full!).toBeCloseTo(0.1, 6);
    expect(full).toBeGreaterThan(1e-4);
  });

  test('prototypes are the normalised means of normalised template features', async () => {
    const h = await prototypes(model, classNames, groups);
    const unit = (v: number[]) => v.map((x) => x / Math.hypot(...v));
    const want = [];
    for (const group of groups) {
      const each = await Promise.all(group.map((t) => templateFeatures(model, classNames, [t])));
      for (let c = 0; c < 5; c++) {
        const rows = each.map((t) => unit([...t.data.subarray(10 * c, 10 * c + 10)]));
        want.push(...unit(rows[0]!.map((_, d) => rows.reduce((sum, row) => sum + row[d]!, 0))));
      }
    }
    expect(difference(h, f32(want, [4, 5, 10]))).toBeLessThan(1e-5);
  });
});

test('8: the gradients of L_cls in the two chosen logits of the router sum to zero', async () => {
  const begun = await start(alone);
  for (const row of [0, 1, 2]) {
    const g = (await gradients(begun, 'loss', [row]))['router.bias']!;
    expect(g.filter((x) => x !== 0)).toHaveLength(2);
    expect(Math.abs(g.reduce((a, b) => a + b))).toBeLessThan(1e-5 * Math.max(...g));
  }
});

describe('L_text', () => {
  test('by hand, with and without temperature', async () => {
    const [t, h] = [
      l2Normalize(constant(noise('t', [2, 3, 4]))),
      l2Normalize(constant(noise('h', [2, 3, 4]))),
    ];
    for (const temperature of [1, 0.1]) {
      const rows = [0, 1].flatMap((g) =>
        [0, 1, 2].map((c) => {
          const row = t
            .slice(0, g, g + 1)
            .slice(1, c, c + 1)
            .mul(h.slice(0, g, g + 1))
            .sum(-1);
          return logSoftmax(row.div(temperature))
            .slice(1, c, c + 1)
            .reshape([]);
        }),
      );
      const want = rows.reduce((a, b) => a.add(b)).div(-6);
      const out = await runOnce({ got: textLoss(t, h, temperature), want }, {});
      expect(out.got.data[0]).toBeCloseTo(Number(out.want.data[0]), 5);
    }
  });

  test('further names count as classes do; labels keep the order of the data set', async () => {
    const first = async (given: object, task = tinyTask(model)) => {
      for await (const e of mocoop.fit(task, parse({ epochs: 1, batch: 20, ...given }))) {
        if (e.type === 'step') return e.metrics;
      }
      throw new Error('no step');
    };
    const all = await first({});
    const half = tinyTask(model, { train: pictures(4, classNames.slice(0, 3)) });
    const base = await first({}, half);
    const named = await first({ extraNames: [...classNames.slice(3), 'cat', 'St.'] }, half);
    expect(named.text).toBeCloseTo(all.text!, 4);
    expect(Math.abs(base.text! - all.text!)).toBeGreaterThan(0.1);
    expect(named.gate).toBeCloseTo(base.gate!, 5);
  });
});

describe('adapters', () => {
  const some = pictures(2).examples.map((e) => e.image);
  test.each([{}, { layerNorms: false, topK: 1 }, { correction: false, topK: 9 }])(
    '%j: saved, restored and exported, they give the same answers; other names too; no text tower is left',
    async (given) => {
      const o = parse({ layerNorms: true, epochs: 3, batch: 8, ...given });
      const { adapter } = await resultOf(mocoop.fit(tinyTask(model), o));
      const dir = await mkdtemp(join(tmpdir(), 'attune-mocoop-'));
      await saveAdapter(dir, { config: {}, tensors: adapter.tensors });
      const restored = mocoop.restore({ options: o, tensors: (await loadAdapter(dir)).tensors });
      const classifier = await restored.classifier(model, classNames, plain);
      const want = await predict(model, await adapter.classifier(model, classNames, plain), some);
      expect(await predict(model, classifier, some)).toEqual(want);
      const others = await restored.classifier(model, ['dog', 'cat'], plain);
      expect((await predict(model, others, some))[0]).toHaveLength(2);

      const head = trace(model.weights, (s) => ({ logits: classifier.head(s, input('x', [2, 10])) })).result;
      expect(print(head)).not.toContain('text_model');
      const onnx = join(dir, 'classifier.onnx');
      const about = { labels: classNames, template: plain, method: 'mocoop', producer: 'test' };
      await exportClassifier(onnx, model, classifier, about);
      const session = await ort.InferenceSession.create(onnx);
      const pixels = model.images.batch([await some[0]!()]);
      const feeds = { pixel_values: new ort.Tensor('float32', pixels.data, pixels.shape) };
      const { probabilities } = await session.run(feeds);
      expect(difference(f32(probabilities!.data as Float32Array), f32(want[0]!))).toBeLessThan(1e-5);
    },
  );

  test('stopped and resumed, training ends as if it had not been', async () => {
    const o = parse({ layerNorms: true, epochs: 3, batch: 8, views: 2 });
    const { adapter: want } = await resultOf(mocoop.fit(tinyTask(model), o));
    const dir = await mkdtemp(join(tmpdir(), 'attune-resume-'));
    const stop = new AbortController();
    for await (const e of mocoop.fit(tinyTask(model, { dir, signal: stop.signal }), o)) {
      if (e.type === 'step' && e.step === 3) stop.abort();
    }
    const { adapter, stopped } = await resultOf(mocoop.fit(tinyTask(model, { dir, resume: true }), o));
    expect([stopped, adapter.tensors]).toEqual(['end', want.tensors]);
  });

  test('tensors of another method are refused', async () => {
    const context = await wordEmbeddings(model, 'a photo');
    const foreign = mocoop.restore({ options: parse(), tensors: { context } });
    await expect(foreign.classifier(model, classNames, plain)).rejects.toThrow('no tensor "router.weight"');
  });
});

test('a sentence that is too long names its class', async () => {
  const long: Groups = [[`${'photo '.repeat(28)}{}`]];
  const method = mocoopPrompting(parse({}, long), long);
  await expect(method.prompts({ model, classes: classNames, template: plain })).rejects.toThrow(
    'The class "St." with the soft tokens of its expert makes',
  );
});
