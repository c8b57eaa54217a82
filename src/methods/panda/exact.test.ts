import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { concat, constant, f32, grad, i64, input, tanh } from '../../graph/index.ts';
import type { EncoderModel } from '../../models/language/index.ts';
import { linear, mapTree, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { initParams } from '../../train/index.ts';
import { attach } from '../lm/adapter.ts';
import { fitLanguage, type LanguageFit } from '../lm/fit.ts';
import { inject, injectScope, prefixWidth } from '../lm/injection.ts';
import { findLanguageMethod } from '../lm/list.ts';
import { promptName } from '../lm/prompts.ts';
import { loadLanguageAdapter, saveLanguageAdapter } from '../lm/saved.ts';
import { scoreOf, type TextTensors } from '../lm/score.ts';
import { batchTypes, batchValues, encodeText, shapeOf } from '../lm/texts.ts';
import { prefixTuning } from '../lm-baselines/prefix-tuning.ts';
import { drained } from '../testing/patches.ts';
import { textStep } from '../testing/text-step.ts';
import { tinyClasses, tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { distillation, panda } from './method.ts';
import { cosine, rankSources, transferability } from './transferability.ts';

const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
const texts = tinyTexts(32, 1);
const quick = { length: 3, steps: 30, batch: 8, maxLength: 10, learningRate: 0.05 };
async function fitted(method: string, options: object, more: Partial<LanguageFit> = {}) {
  const model = await tinyLanguage('bert');
  const fit = {
    ...{ model, method: findLanguageMethod(method), options: { ...quick, ...options }, task },
    ...{ train: texts, val: [], seed: 1, ...more },
  };
  const { adapter } = await drained(fitLanguage(fit));
  const dir = await mkdtemp(join(tmpdir(), 'attune-panda-'));
  await saveLanguageAdapter(dir, model, adapter);
  return { model, adapter, dir };
}

test('1. the counts of the paper: 2·n·L·d', () => {
  for (const [layers, width, count] of [
    [24, 1024, 983_040],
    [12, 768, 368_640],
    [8, 512, 163_840],
    [4, 512, 81_920],
    [2, 128, 10_240],
  ] as const) {
    const model = { layers, keyHeads: width / 64, headWidth: 64 } as EncoderModel;
    expect(20 * prefixWidth({ kind: 'encoder', model })).toBe(count);
  }
});

/** The loss and its distillation of a student that begins as `start`, beside the teacher of a run. */
async function taughtBy(dir: string, start: Partial<Awaited<ReturnType<typeof initParams>>>) {
  const model = await tinyLanguage('bert');
  const o = panda.options.parse({ ...quick, teacher: dir, beta: 1 });
  const injection = await panda.inject({ model, task }, o);
  const objective = await panda.objective!({ model, task }, o);
  const encoded = texts.slice(0, 4).map((e) => encodeText(model, task, e, quick.maxLength));
  const shape = shapeOf(encoded, 4);
  const values = batchValues(model, task, shape, encoded);
  const batch = mapTree(batchTypes(model, task, shape), (_, name) => constant(values[name]!)) as TextTensors;
  const { result, params } = trace(model.weights, (s) => {
    const scope = injectScope(s, injection);
    const own = scoreOf(scope, inject(model, injection), model.heads, task, batch);
    return { own: own.loss, ...objective(scope, { ...own, batch }) };
  });
  const begun = { ...(await initParams(params, 1)), ...start };
  const feeds = Object.fromEntries(params.map(({ name }) => [`param/${name}`, begun[name]!]));
  const out: Record<string, { data: ArrayLike<unknown> }> = await runOnce(result, feeds);
  const value = (name: string) => Number(out[name]!.data[0]);
  return {
    names: params.map((p) => p.name).sort(),
    ...{ own: value('own'), loss: value('loss'), distillation: value('distillation') },
  };
}

test('1. and 3. only the prefix and the head are trained; a student that is the teacher learns nothing from it', async () => {
  const { adapter, dir } = await fitted('prefix-tuning', {});
  const scratch = await taughtBy(dir, {});
  expect(scratch.names).toEqual(['classifier.bias', 'classifier.weight', promptName].sort());
  expect(scratch.distillation).toBeGreaterThan(1e-4);
  expect(scratch.loss).toBeCloseTo(scratch.own + scratch.distillation, 6);
  const copy = await taughtBy(dir, adapter.tensors);
  expect(copy.distillation).toBe(0);
  expect(copy.loss).toBe(copy.own);
});

test('2. and 3. with β = 0 it trains as prefix tuning, bit for bit; a teacher is no part of what was trained', async () => {
  const teacher = await fitted('prefix-tuning', {}, { seed: 2 });
  const plain = await fitted('prefix-tuning', {});
  const own = await fitted('panda', { teacher: teacher.dir, beta: 0 });
  expect(own.adapter.tensors).toEqual(plain.adapter.tensors);
  const taught = await fitted('panda', { teacher: teacher.dir, beta: 100, distillation: 'mean' });
  expect(taught.adapter.tensors).not.toEqual(plain.adapter.tensors);
  expect(Object.keys(taught.adapter.tensors).sort()).toEqual(Object.keys(plain.adapter.tensors).sort());
});

test('what was trained from other runs is opened without them', async () => {
  const source = await fitted('prefix-tuning', {});
  const transferred = await fitted('prefix-tuning', { source: source.dir, steps: 2 });
  await rm(source.dir, { recursive: true });
  const student = await fitted('panda', { teacher: transferred.dir, steps: 2 });
  await rm(transferred.dir, { recursive: true });
  const { model } = student;
  const opened = await attach(model, await loadLanguageAdapter(student.dir, model, { task }));
  expect(opened.task).toEqual(task);
});

test('3. and 4. ∂L_KD/∂z_S = 2·0.1·β·(z_S − z_T)/(B·C·B); of a teacher that says the same nothing', async () => {
  const [student, teacher] = [input('student', [4, 3]), input('teacher', [4, 3])];
  const o = { beta: 0.7, distillation: 'code' } as const;
  const loss = distillation(student, teacher, o);
  const [g] = grad(loss, [student]);
  const z = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i));
  const t = Float32Array.from({ length: 12 }, (_, i) => Math.cos(3 * i));
  const at = async (s: Float32Array, own: Float32Array) =>
    runOnce({ loss, g: g! }, { student: f32(s, [4, 3]), teacher: f32(own, [4, 3]) });
  const out = await at(z, t);
  z.forEach((x, i) => {
    expect(Number(out.g.data[i])).toBeCloseTo((2 * 0.1 * 0.7 * (x - t[i]!)) / (4 * 3 * 4), 7);
  });
  const same = await at(z, z);
  expect([same.loss.data[0], ...same.g.data]).toEqual(Array(13).fill(0));
});

test('4. every text twice: the term halves as in the code, and stays with a plain mean', async () => {
  const [student, teacher] = [
    constant(f32([1, 2, 3, 5, 8, 13], [2, 3])),
    constant(f32([0, 1, 0, 1, 0, 1], [2, 3])),
  ];
  const twice = (x: typeof student) => concat([x, x], 0);
  const of = (distillationMode: 'code' | 'mean') => {
    const o = { beta: 1, distillation: distillationMode };
    return [distillation(student, teacher, o), distillation(twice(student), twice(teacher), o)] as const;
  };
  const [[a, b], [c, d]] = [of('code'), of('mean')];
  const out = await runOnce({ a, b, c, d }, {});
  const value = (name: keyof typeof out) => Number(out[name].data[0]);
  expect(value('b')).toBeCloseTo(value('a') / 2, 5);
  expect(value('d')).toBeCloseTo(value('c'), 5);
});

test('5. a transferred prefix begins as its source, with a head of its own; a student knows nothing of it', async () => {
  const source = await fitted('prefix-tuning', {}, { seed: 3 });
  const { model } = source;
  const begin = async (options: object) => {
    const o = prefixTuning.options.parse({ ...quick, ...options });
    return (await textStep(model, await prefixTuning.inject({ model, task }, o), task, texts.slice(0, 4)))
      .values;
  };
  const transferred = await begin({ source: source.dir });
  const scratch = await begin({});
  expect([...transferred[promptName]!.data]).toEqual([...source.adapter.tensors[promptName]!.data]);
  expect(transferred['classifier.weight']).toEqual(scratch['classifier.weight']);
  const o = panda.options.parse({ ...quick, teacher: source.dir });
  const student = await textStep(model, await panda.inject({ model, task }, o), task, texts.slice(0, 4));
  expect(student.values[promptName]).toEqual(scratch[promptName]);
  await expect(begin({ source: source.dir, length: 4 })).rejects.toThrow('a prompt of [4,');
});

test('6. with the prefix hidden the model is the bare one at shifted positions; slot 2i is a key, 2i + 1 a value', async () => {
  const loaded = await tinyLanguage('bert');
  if (loaded.kind !== 'encoder') throw new Error('no encoder');
  const { model, weights } = loaded;
  const n = 3;
  const width = prefixWidth(loaded);
  const table = input('table', [n, width]);
  const functions = inject(loaded, { prefix: { length: n, table: () => table } });
  if (functions.kind !== 'encoder') throw new Error('no encoder');
  const tokens = constant(i64([2, 5, 9, 1], [1, 4]));
  const hidden = constant(i64([0, 0, 0, 1, 1, 1, 1], [1, 7]));
  const { result } = trace(weights, (s) => {
    const past = functions.model.encode(s, { tokens }).last;
    // The mask of the text is extended by ones: this one hides the prefix instead.
    const read = { tokens, mask: hidden, past: keyValuesOf(table) };
    const masked = model.encode(s, read).last;
    const positions = constant(i64([3, 4, 5, 6], [1, 4]));
    return { past, masked, bare: model.encode(s, { tokens, positions }).last };
  });
  function keyValuesOf(t: typeof table) {
    const heads = t.reshape([n, 2 * model.layers, model.keyHeads, model.headWidth]).transpose([1, 2, 0, 3]);
    return Array.from({ length: model.layers }, (_, i) => ({
      key: heads.slice(0, 2 * i, 2 * i + 1),
      value: heads.slice(0, 2 * i + 1, 2 * i + 2),
    }));
  }
  const values = f32(
    Float32Array.from({ length: n * width }, (_, i) => Math.sin(i)),
    [n, width],
  );
  const out = await runOnce(result, { table: values });
  out.masked.data.forEach((x, i) => {
    expect(Number(x)).toBeCloseTo(Number(out.bare.data[i]), 5);
  });
  // Not hidden, it counts, as the same keys and values given by hand do.
  const seen = trace(weights, (s) => ({ y: model.encode(s, { tokens, past: keyValuesOf(table) }).last }));
  const { y } = await runOnce(seen.result, { table: values });
  y.data.forEach((x, i) => {
    expect(Number(x)).toBeCloseTo(Number(out.past.data[i]), 5);
  });
  expect([...y.data]).not.toEqual([...out.bare.data]);
});

test('6. without a prefix it is a linear probe on the frozen pooler', async () => {
  const loaded = await tinyLanguage('bert');
  if (loaded.kind !== 'encoder') throw new Error('no encoder');
  const some = texts.slice(0, 4);
  const probe = await textStep(loaded, {}, task, some);
  expect(probe.params.map((p) => p.name).sort()).toEqual(['classifier.bias', 'classifier.weight']);
  const encoded = some.map((e) => encodeText(loaded, task, e, quick.maxLength));
  const values = batchValues(loaded, task, shapeOf(encoded, 4), encoded);
  const { result } = trace(loaded.weights, (s) => {
    const given = (name: string) => constant(values[name]!);
    const { last } = loaded.model.encode(s, {
      tokens: given('ids'),
      mask: given('mask'),
      types: given('types'),
    });
    const first = last.slice(1, 0, 1).reshape([4, loaded.model.width]);
    const pooled = tanh(linear(s.at('bert.pooler.dense'), first, loaded.model.width));
    const head = constant(probe.values['classifier.weight']!).transpose([1, 0]);
    return { logits: pooled.matmul(head).add(constant(probe.values['classifier.bias']!)) };
  });
  const { logits } = await runOnce(result, {});
  probe.logits.forEach((x, i) => {
    expect(x).toBeCloseTo(Number(logits.data[i]), 5);
  });
});

test('7. a task is as transferable as can be to itself, and likeness is symmetric', async () => {
  const [a, b] = [await fitted('prefix-tuning', {}), await fitted('prefix-tuning', {}, { seed: 5 })];
  const some = texts.slice(0, 8);
  const self = await transferability(a.model, a.adapter, a.adapter, some);
  for (const value of Object.values(self)) expect(value).toBeCloseTo(1, 5);
  const there = await transferability(a.model, a.adapter, b.adapter, some);
  const back = await transferability(a.model, b.adapter, a.adapter, some);
  for (const [name, value] of Object.entries(there)) {
    expect(value, name).toBeCloseTo(back[name as 'sim'], 6);
    expect(Math.abs(value)).toBeLessThanOrEqual(1);
  }
  expect(there.sim).toBeLessThan(1);
  expect(cosine([1, 0], [-1, 0])).toBe(-1);
  const bank = await mkdtemp(join(tmpdir(), 'attune-bank-'));
  await saveLanguageAdapter(join(bank, 'a'), a.model, a.adapter);
  await saveLanguageAdapter(join(bank, 'b'), a.model, b.adapter);
  const ranked = await rankSources(bank, a.model, a.adapter, some);
  expect(ranked.map((r) => r.run)).toEqual([join(bank, 'a'), join(bank, 'b')]);
});
