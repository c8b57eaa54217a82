/** "What a faithful implementation must show", exact part, item by item. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { constant, f32, grad, type HostTensor, input, sizeOf, type Tensor } from '../../graph/index.ts';
import { checkGradients } from '../../graph/testing/finite-differences.ts';
import { type ClipModel, loadAdapter, saveAdapter } from '../../hub/index.ts';
import { trace } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import { initParams } from '../../train/index.ts';
import { maple } from '../baselines/maple.ts';
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
import { leadingWords } from '../vlm/context.ts';
import { predict } from '../vlm/evaluate.ts';
import { promptLoss, trainedBy } from '../vlm/prompting.ts';
import { templateFeatures, textFeatures } from '../vlm/prompts.ts';
import type { Adapter, TuneTask } from '../vlm/task.ts';
import { consistencyLoss, gramNorms, restore, restorePrompting, surgery } from './method.ts';
import { textShift, visionShift } from './shift.ts';

const layers = 3;
const model = await tinyClip({ layers: [layers, layers] });
const naming = { model, classes: classNames, template: 'a photo of a {}.' };
const [m, width] = [2, model.config.text.width];
const draw = (shape: number[], std = 1, name = '') => {
  const random = new Random(5, name, ...shape);
  return f32(
    random.fill(sizeOf(shape), (r) => std * r.normal()),
    shape,
  );
};
const values = async (t: Tensor): Promise<number[]> =>
  Array.from((await runOnce({ t }, {})).t.data as Float32Array);
const prompts = [0, 1].map((l) => draw([m, width], 1, `P${l}`));
const norms = (of: readonly HostTensor[], factor = 1) => gramNorms(of.map((p) => constant(p).mul(factor)));

/** ‖A‖_F of the product of a [n, k] matrix with its transpose (or the other way round), by hand. */
function gram(p: HostTensor, inner: 'columns' | 'rows'): number {
  const [n, k] = p.shape as [number, number];
  const at = (i: number, j: number) => Number(p.data[i * k + j]);
  const [outer, sum] = inner === 'columns' ? [n, k] : [k, n];
  const entry = (a: number, b: number) =>
    Array.from({ length: sum }, (_, i) =>
      inner === 'columns' ? at(a, i) * at(b, i) : at(i, a) * at(i, b),
    ).reduce((x, y) => x + y, 0);
  const all = Array.from({ length: outer ** 2 }, (_, i) => entry(Math.floor(i / outer), i % outer));
  return Math.hypot(...all);
}

test('1: S is the norm of either Gram matrix, of degree two, and blind to a rotation of the rows', async () => {
  const s = await values(norms(prompts));
  prompts.forEach((p, l) => {
    expect(s[l]).toBeCloseTo(gram(p, 'rows'), 3);
    expect(s[l]).toBeCloseTo(gram(p, 'columns'), 3);
  });
  const scaled = await values(norms(prompts, 1.5));
  scaled.forEach((x, l) => {
    expect(x / s[l]!).toBeCloseTo(1.5 ** 2, 5);
  });
  const turn = constant(f32([0.6, -0.8, 0.8, 0.6], [2, 2]));
  const turned = await values(gramNorms(prompts.map((p) => turn.matmul(constant(p)))));
  turned.forEach((x, l) => {
    expect(x / s[l]!).toBeCloseTo(1, 5);
  });
});

test('2: growth alike in both towers costs nothing, growth in one alone (J − 1)(c² − 1)²', async () => {
  const vision = [0, 1].map((l) => draw([m, 16], 0.3, `V${l}`));
  const first = { text: norms(prompts), vision: norms(vision) };
  const c = 1.3;
  const both = { text: norms(prompts, c), vision: norms(vision, c) };
  expect((await values(consistencyLoss(both, first)))[0]).toBeLessThan(1e-10);
  const expected = (layers - 1) * (c ** 2 - 1) ** 2;
  for (const one of [
    { ...first, text: both.text },
    { ...first, vision: both.vision },
  ]) {
    expect((await values(consistencyLoss(one, first)))[0]).toBeCloseTo(expected, 5);
  }
});

/** Eight images a step, two steps an epoch; the ratios are raised after the fourth. */
const small = { epochs: 4, batch: 8, learningRate: 3e-4 };
const withOptions = (given: object = {}) => restore.options.parse({ ...small, ...given });
/** What training left after `last` steps, and the metrics of those made here. */
async function fitted(given: object = {}, last = Number.POSITIVE_INFINITY, task: Partial<TuneTask> = {}) {
  const stop = new AbortController();
  const events = restore.fit(tinyTask(model, { signal: stop.signal, ...task }), withOptions(given));
  const metrics: Record<string, number>[] = [];
  for (;;) {
    const { done, value } = await events.next();
    if (done) return { ...value, metrics };
    if (value.type !== 'step') continue;
    metrics.push(value.metrics);
    if (value.step === last) stop.abort();
  }
}
const answers = async (adapter: Adapter, classes: readonly string[] = classNames) => {
  const images = pictures(2).examples.map((e) => e.image);
  const rows = await predict(model, await adapter.classifier(model, classes, naming.template), images);
  return f32(
    rows.flatMap((row) => [...row]),
    [rows.length, classes.length],
  );
};

/** The loss and its parts at the initial values, with the gradient of each part by parameter where there is one. */
async function firstStep(given: object = {}) {
  const method = restorePrompting(withOptions(given));
  const made = await method.prompts(naming);
  const training = await method.training!(tinyTask(model));
  const batch = {
    pixels: input('pixels', [6, 3, 16, 16]),
    labels: input('labels', [6], 'int64'),
  };
  const traced = trace(model.weights, (s) => promptLoss(s, model, made, training, batch));
  const kept = [...traced.params, ...traced.buffers.values()];
  const initial = await initParams(kept, 1);
  const feeds = Object.fromEntries(Object.entries(initial).map(([name, v]) => [`param/${name}`, v]));
  return { ...traced, feeds };
}

test('2: at the first step every ratio is 1, the loss 0 and its gradient exactly 0', async () => {
  const { result, params, feeds } = await firstStep();
  const deep = params.filter((p) => /^(text|coupling)\.[12]/.test(p.name));
  const gradients = grad(
    result.consistency!,
    deep.map((p) => p.tensor),
  );
  const outputs = Object.fromEntries(gradients.map((g, i) => [deep[i]!.name, g]));
  const used = Object.fromEntries(
    Object.entries(feeds).filter(([name]) => /(text|coupling|norms)\.([12]|text|vision)/.test(name)),
  );
  const out = await runOnce({ loss: result.consistency!, ...outputs }, used);
  for (const [name, { data }] of Object.entries(out)) {
    expect(
      Array.from(data, Number).every((v) => v === 0),
      name,
    ).toBe(true);
  }
  const { metrics } = await fitted({}, 2);
  expect(metrics[0]!.consistency).toBe(0);
  expect(metrics[1]!.consistency).toBeGreaterThan(0);
});

test('3: surgery is r·A(z) + (1 − r)·z, and nothing at r = 0', async () => {
  const z = constant(draw([5, 10], 3));
  const build = (r: number) => trace('scratch', (s) => surgery(s, z, constant(r), 4));
  const { result, params } = build(0.3);
  const trained = await initParams(params, 1);
  const feeds = Object.fromEntries(Object.entries(trained).map(([name, v]) => [`param/${name}`, v]));
  const [whole, mixed] = await Promise.all([
    runOnce({ y: build(1).result }, feeds),
    runOnce({ y: result }, feeds),
  ]);
  const by = constant(whole.y).mul(0.3).add(z.mul(0.7));
  expect(difference(mixed.y, (await runOnce({ by }, {})).by)).toBeLessThan(1e-6);
  expect(difference(mixed.y, (await runOnce({ z }, {})).z)).toBeGreaterThan(1e-3);
});

test('3: with w = 0 and r = 0 it is MaPLe, step for step, and the blocks stay as they were drawn', async () => {
  const off = { consistency: 0, textRatio: 0, visionRatio: 0, textGain: 0, visionGain: 0, weightDecay: 0 };
  const { adapter } = await fitted(off);
  const given = { ...small, weightDecay: 0 };
  const { adapter: base } = await resultOf(maple.fit(tinyTask(model), maple.options.parse(given)));
  for (const [name, tensor] of Object.entries(base.tensors)) {
    expect(difference(adapter.tensors[name]!, tensor), name).toBeLessThan(1e-5);
  }
  expect(difference(await answers(adapter), await answers(base))).toBeLessThan(1e-5);

  const made = await restorePrompting(withOptions(off)).prompts(naming);
  const blocks = trainedBy(model, made).filter((p) => p.name.startsWith('surgery'));
  expect(blocks).toHaveLength(12);
  expect(adapter.tensors).toMatchObject(await initParams(blocks, 1));
  const { adapter: on } = await fitted({ ...off, textRatio: 0.1, visionRatio: 0.1 });
  for (const [name, drawn] of Object.entries(await initParams(blocks, 1))) {
    expect(on.tensors[name], name).not.toEqual(drawn);
  }
});

/** The mean of S over the deep soft tokens that an adapter holds. */
function meanNorms({ tensors }: Adapter): { text: number; vision: number } {
  const deep = Array.from({ length: layers - 1 }, (_, l) => l + 1);
  const mapped = (l: number): HostTensor => {
    const [p, w, b] = [`text.${l}`, `coupling.${l}.weight`, `coupling.${l}.bias`].map(
      (name) => tensors[name]!.data as Float32Array,
    );
    const data = Array.from({ length: m * 16 }, (_, i) => {
      const [row, out] = [Math.floor(i / 16), i % 16];
      let sum = b![out]!;
      for (let k = 0; k < width; k++) sum += p![row * width + k]! * w![out * width + k]!;
      return sum;
    });
    return f32(data, [m, 16]);
  };
  const mean = (of: (l: number) => HostTensor) =>
    deep.reduce((sum, l) => sum + gram(of(l), 'columns'), 0) / deep.length;
  return { text: mean((l) => tensors[`text.${l}`]!), vision: mean(mapped) };
}
const ratios = ({ tensors }: Adapter) =>
  ['text', 'vision'].map((tower) => Number(tensors[`ratio.${tower}`]!.data[0]));

test('4: the ratios change once, after epoch ⌊E/3⌋, by the gains times the norms of then', async () => {
  const start = { textRatio: 0.05, visionRatio: 0.2 };
  const at = async (last: number) => (await fitted(start, last)).adapter;
  const [before, then, after, end] = [await at(3), await at(4), await at(5), await at(8)];
  expect(ratios(before)).toEqual([0.05, 0.2].map(Math.fround));
  const { text, vision } = meanNorms(then);
  expect(ratios(then)[0]).toBeCloseTo(0.05 + 0.02 * text, 6);
  expect(ratios(then)[1]).toBeCloseTo(0.2 + 0.005 * vision, 6);
  expect(0.005 * vision).toBeGreaterThan(1e-4);
  expect([ratios(after), ratios(end)]).toEqual([ratios(then), ratios(then)]);

  const { inputs } = await restorePrompting(withOptions()).training!(tinyTask(model));
  const raised = (epochs: number) =>
    Array.from({ length: epochs * 5 }, (_, step) => {
      const t = { step, epoch: Math.floor(step / 5), stepsPerEpoch: 5, totalSteps: epochs * 5 };
      return inputs!.raise!.at(t).data[0] === 1 ? [step] : [];
    }).flat();
  // The last step of the first epoch of one and of two, of the fourth of ten.
  expect([raised(1), raised(2), raised(10)]).toEqual([[4], [4], [19]]);
});

test('4: they are no parameters, and survive saving and loading', async () => {
  const { params, buffers } = await firstStep();
  expect([...buffers.keys()].sort()).toEqual(['norms.text', 'norms.vision', 'ratio.text', 'ratio.vision']);
  const { adapter } = await fitted();
  expect(adapter.parameters).toBe(params.reduce((n, p) => n + sizeOf(p.shape), 0));
  const dir = await mkdtemp(join(tmpdir(), 'attune-restore-'));
  await saveAdapter(dir, { config: {}, tensors: adapter.tensors });
  const { tensors } = await loadAdapter(dir);
  // The ratios are those of the adapter, whatever the options say at test time.
  const loaded = restore.restore({ options: withOptions({ textRatio: 0.9 }), tensors });
  expect(ratios(loaded)).toEqual(ratios(adapter));
  expect(await answers(loaded)).toEqual(await answers(adapter));
  expect(loaded.parameters).toBe(adapter.parameters);
  expect((await answers(loaded, ['cat', 'dog'])).shape).toEqual([10, 2]);
  const { 'ratio.text': _gone, ...without } = tensors;
  await expect(answers(restore.restore({ options: withOptions(), tensors: without }))).rejects.toThrow(
    'missing "ratio.text"',
  );
});

test('4: resumed, it goes on from the norms of the first step and with the raised ratios', async () => {
  const want = await fitted();
  for (const last of [3, 5]) {
    const dir = await mkdtemp(join(tmpdir(), 'attune-restore-'));
    await fitted({}, last, { dir });
    const { adapter, metrics } = await fitted({}, Number.POSITIVE_INFINITY, { dir, resume: true });
    expect(metrics).toEqual(want.metrics.slice(last));
    expect(metrics[0]!.consistency).toBeGreaterThan(0);
    expect(adapter.tensors).toEqual(want.adapter.tensors);
  }
});

test('5: the consistency loss reaches the deep prompts and their maps alone; the loss no weight of CLIP', async () => {
  const { result, params } = await firstStep();
  const reached = params.filter((p) => {
    try {
      return grad(result.consistency!, [p.tensor]);
    } catch {
      return false;
    }
  });
  const deep = [1, 2].flatMap((l) => [`text.${l}`, `coupling.${l}.weight`, `coupling.${l}.bias`]);
  expect(reached.map((p) => p.name).sort()).toEqual(deep.sort());
  expect(params.length).toBe(3 * layers + 12);
  expect(weightGradients(model, result.loss, params)).toEqual([]);
});

test('5: its gradient is what finite differences give', async () => {
  const first = (n: number) => constant({ dtype: 'float64', shape: [2], data: Float64Array.of(n, n + 1) });
  const loss = (p1: Tensor, p2: Tensor, w: Tensor, b: Tensor) => {
    const text = [p1, p2];
    const vision = text.map((p) => p.matmul(w).add(b));
    return consistencyLoss(
      { text: gramNorms(text), vision: gramNorms(vision) },
      { text: first(3), vision: first(7) },
    );
  };
  await checkGradients(loss, [[m, 4], [m, 4], [4, 5], [5]]);
});

test('5: at ViT-B/16 with two tokens in nine layers 7,756,544 numbers are trained', async () => {
  const big: ClipModel = { ...model, config: vitB16, weights: shapesOf(vitB16) };
  const made = await restorePrompting(restore.options.parse({})).prompts({ ...naming, model: big });
  const sizes = trainedBy(big, made).map((p) => sizeOf(p.shape));
  expect(sizes.reduce((a, b) => a + b, 0)).toBe(7_756_544);
});

test('6: the gradient of S is 2 P PᵀP / S', async () => {
  const p = input('p', [m, width]);
  const [g] = grad(gramNorms([p]).sum(), [p]);
  const closed = p
    .matmul(p, { transB: true })
    .matmul(p)
    .mul(2)
    .div(gramNorms([p]).reshape([]));
  const out = await runOnce({ g: g!, closed }, { p: prompts[0]! });
  expect(difference(out.g, out.closed)).toBeLessThan(1e-5);
});

test('the diagnostic: how far each layer and the features move, by what moves them', async () => {
  const { adapter } = await fitted();
  const method = restorePrompting(withOptions());
  const made = await method.prompts(naming);
  const { ids } = leadingWords(model, classNames, withOptions()).layout;
  const pixels = model.images.batch(await Promise.all(pictures(1).examples.map((e) => e.image())));
  const text = await textShift(model, made, adapter.tensors, ids);
  const vision = await visionShift(model, made, adapter.tensors, pixels);
  expect([text.length, vision.length]).toEqual([layers + 1, layers + 1]);
  expect(Math.min(...text, ...vision)).toBeGreaterThan(1e-4);

  const none = input('none', [1, model.config.projection]);
  const values = Object.fromEntries(Object.entries(adapter.tensors).map(([n, v]) => [n, constant(v)]));
  const moved = await textFeatures(model, (s) => made.text(s.bind(values), none));
  const still = await templateFeatures(model, classNames, [naming.template]);
  const rows = classNames.map((_, c) => {
    const row = (t: HostTensor) => Array.from(t.data.subarray(c * 10, c * 10 + 10), Number);
    const [a, b] = [row(moved), row(still)];
    return Math.hypot(...a.map((x, i) => x - b[i]!)) / Math.hypot(...b);
  });
  expect(text.at(-1)).toBeCloseTo(rows.reduce((a, b) => a + b, 0) / rows.length, 4);
  const { image: _left, ...textOnly } = made;
  expect(await visionShift(model, textOnly, adapter.tensors, pixels)).toEqual([0, 0, 0, 0]);
});

test('towers of one layer have nothing to compare', async () => {
  const shallow = await tinyClip();
  await expect(resultOf(restore.fit(tinyTask(shallow), withOptions()))).rejects.toThrow(
    'tiny has 2 and 1 layers. Use maple',
  );
});
