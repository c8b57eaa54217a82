/** Tip-Adapter held to its equations, and Tip-Adapter-F to its. */
import { expect, test } from 'vitest';
import { f32, type HostTensor, i64 } from '../../graph/index.ts';
import { difference } from '../testing/compare.ts';
import { classNames, pictures, resultOf, tinyClip, tinyTask } from '../testing/tiny-clip.ts';
import { score, scoreFeatures } from '../vlm/classify.ts';
import { labelsOf } from '../vlm/loop.ts';
import type { Adapter } from '../vlm/task.ts';
import { tipAdapter } from './tip-adapter.ts';
import { zeroShot } from './zero-shot.ts';

const model = await tinyClip();
const task = tinyTask(model);
const tuned = async (given: object, changed: Partial<typeof task> = {}) =>
  (await resultOf(tipAdapter.fit({ ...task, ...changed }, tipAdapter.options.parse(given)))).adapter;
const logits = async (adapter: Adapter, features: HostTensor<'float32'>, classes = classNames) =>
  scoreFeatures(model, await adapter.classifier(model, classes, task.template), features);
const untuned = zeroShot.restore({ options: { ensemble: false }, tensors: {} });

const rows = ({ data, shape }: HostTensor) =>
  Array.from({ length: shape[0]! }, (_, i) =>
    Array.from(data.slice(i * shape[1]!, (i + 1) * shape[1]!), Number),
  );
const unit = (v: number[]) => v.map((x) => x / Math.hypot(...v));
const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

test('zero-shot logits plus α Σ_i exp(−β(1 − f̂·k_i)) [label i = c]; nothing is trained', async () => {
  const adapter = await tuned({ alpha: 0.7, beta: 3, search: false });
  const keys = rows(await task.features.of(task.train)).map(unit);
  expect(difference(adapter.tensors.keys!, f32(keys.flat(), [20, 10]))).toBeLessThan(1e-6);
  const test = await task.features.of(pictures(2, classNames, 'test'));
  const base = rows(await logits(untuned, test));
  const labels = labelsOf(task.train);
  const want = rows(test).map((x, row) =>
    classNames.map((_, c) => {
      const near = keys.map((k, i) => (labels[i] === c ? Math.exp(-3 * (1 - dot(unit(x), k))) : 0));
      return base[row]![c]! + 0.7 * near.reduce((a, b) => a + b, 0);
    }),
  );
  expect(difference(await logits(adapter, test), f32(want.flat(), [10, 5]))).toBeLessThan(1e-5);
  expect([adapter.parameters, adapter.fixedClasses]).toEqual([0, true]);
  const off = await tuned({ alpha: 0, search: false });
  expect(difference(await logits(off, test), await logits(untuned, test))).toBeLessThan(1e-6);
});

test('the search takes what is best on the validation images', async () => {
  const found = await tuned({});
  const x = await task.features.of(task.val);
  const accuracy = async (a: Adapter) => score(await logits(a, x), labelsOf(task.val)).accuracy;
  const best = await accuracy(found);
  for (const [alpha, beta] of [
    [1, 5.5],
    [0.1, 0.1],
    [2.9, 6],
    [0.5, 1],
  ]) {
    const other = { ...found.tensors, alpha: f32([alpha!], []), beta: f32([beta!], []) };
    const restored = tipAdapter.restore({ options: tipAdapter.options.parse({}), tensors: other });
    expect(await accuracy(restored)).toBeLessThanOrEqual(best);
  }
  const none = { ...task.val, examples: [] };
  const { alpha, beta } = (await tuned({}, { val: none })).tensors;
  expect([alpha!.data[0], beta!.data[0]]).toEqual([1, 5.5]);
});

test('Tip-Adapter-F starts from the cache and lowers its loss; only keys are trained', async () => {
  const o = tipAdapter.options.parse({ finetune: true, search: false, learningRate: 0.01 });
  const losses: number[] = [];
  for await (const e of tipAdapter.fit(task, o)) if (e.type === 'step') losses.push(e.metrics.loss!);
  expect(losses).toHaveLength(20);
  expect(losses.at(-1)!).toBeLessThan(losses[0]!);
  const still = await tuned({ search: false });
  const start = await tuned({ ...o, learningRate: 1e-12 });
  expect(difference(start.tensors.keys!, still.tensors.keys!)).toBeLessThan(1e-6);
  const { parameters, tensors } = await tuned(o);
  expect(parameters).toBe(20 * 10);
  const restored = tipAdapter.restore({ options: o, tensors });
  const x = await task.features.of(task.val);
  expect(await logits(restored, x)).toEqual(await logits(await tuned(o), x));
});

test('keys are averages over random views', async () => {
  const [plain, two] = [await tuned({ search: false }), await tuned({ search: false, views: 2 })];
  expect(rows(two.tensors.keys!).every((k) => Math.abs(Math.hypot(...k) - 1) < 1e-5)).toBe(true);
  expect(difference(two.tensors.keys!, plain.tensors.keys!)).toBeGreaterThan(1e-3);
});

test('the order of cached images does not matter; a cache of other classes is refused', async () => {
  const adapter = await tuned({ search: false });
  const [keys, labels] = [rows(adapter.tensors.keys!), Array.from(adapter.tensors.labels!.data, Number)];
  const reversed = tipAdapter.restore({
    options: tipAdapter.options.parse({}),
    tensors: {
      ...adapter.tensors,
      keys: f32(keys.reverse().flat(), [20, 10]),
      labels: i64(labels.reverse()),
    },
  });
  const x = await task.features.of(task.val);
  expect(difference(await logits(reversed, x), await logits(adapter, x))).toBeLessThan(1e-6);
  await expect(logits(adapter, x, ['cat'])).rejects.toThrow(
    'The cache holds 5 classes in 10 dimensions, but there are 1',
  );
  const { alpha: _, ...rest } = adapter.tensors;
  expect(() => tipAdapter.restore({ options: tipAdapter.options.parse({}), tensors: rest })).toThrow(
    '"alpha"',
  );
});
