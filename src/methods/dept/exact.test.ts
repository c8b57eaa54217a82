import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { constant, f32, i64, toFloat32 } from '../../graph/index.ts';
import { trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { fitLanguage } from '../lm/fit.ts';
import { inject } from '../lm/injection.ts';
import { findLanguageMethod } from '../lm/list.ts';
import { loadLanguageAdapter, saveLanguageAdapter } from '../lm/saved.ts';
import { promptTuning } from '../lm-baselines/prompt-tuning.ts';
import { drained } from '../testing/patches.ts';
import { textStep } from '../testing/text-step.ts';
import { tinyClasses, tinyFamilies, tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { dept, offsetByPosition, offsetNames, rankOf } from './method.ts';

const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
const texts = tinyTexts(6, 1);
const { a: A, b: B } = offsetNames;
const options = (more: object = {}) =>
  dept.options.parse({ length: 3, rank: 2, init: 'vocabulary', maxLength: 16, ...more });
const ramp = (shape: number[], scale: number) =>
  f32(
    Float32Array.from({ length: shape.reduce((x, y) => x * y) }, (_, i) => scale * Math.sin(i + 1)),
    shape,
  );

test.each(tinyFamilies)(
  '1. %s: at first it is prompt tuning with the same prompt, to the bit',
  async (name) => {
    const model = await tinyLanguage(name);
    const own = await textStep(model, await dept.inject({ model, task }, options()), task, texts);
    const plain = promptTuning.options.parse({ length: 3 });
    const other = await textStep(model, await promptTuning.inject({ model, task }, plain), task, texts);
    expect(own.logits).toEqual(other.logits);
    expect(own.values.prompt_embeddings).toEqual(other.values.prompt_embeddings);
  },
);

test('2. without a prompt it is an offset of the embeddings alone', async () => {
  const model = await tinyLanguage('t5');
  const injection = await dept.inject({ model, task }, options({ length: 0 }));
  expect(injection.soft).toBeUndefined();
  const own = await textStep(model, injection, task, texts);
  // A frozen model has no parameters to take gradients by: one that changes nothing is added.
  const bare = await textStep(
    model,
    { text: (s, x) => x.add(s.param('nothing', [1], ([n]) => new Float32Array(n!))) },
    task,
    texts,
  );
  expect(own.logits).toEqual(bare.logits);
  expect(own.params.map((p) => p.name)).toEqual([A, B]);
});

test('3. counts: m·d + (s + d)·r, and the budgets of the paper', async () => {
  const model = await tinyLanguage('t5');
  const { count } = await textStep(model, await dept.inject({ model, task }, options()), task, texts);
  expect(count).toBe(3 * 16 + (16 + 16) * 2);
  for (const [length, rank, s] of [
    [80, 15, 256],
    [60, 30, 256],
    [40, 45, 256],
    [20, 60, 256],
    [60, 24, 512],
  ] as const) {
    expect(rankOf(options({ length, rank: 0, maxLength: s }), 768, s)).toBe(rank);
    expect(length * 768 + (s + 768) * rank).toBe(76_800);
  }
  expect(() => rankOf(options({ length: 100, rank: 0 }), 768, 256)).toThrow(
    'shorten the prompt, or give a rank',
  );
});

describe('4. the first step', () => {
  test('∂L/∂B = c·AᵀG and ∂L/∂A = 0, with G the gradient by the offset', async () => {
    const model = await tinyLanguage('t5');
    const injection = await dept.inject({ model, task }, options());
    const own = await textStep(model, injection, task, texts);
    expect(own.gradient(A).every((x) => x === 0)).toBe(true);
    // G by the method itself, with r = 16 and the identity for A.
    const wide = await dept.inject({ model, task }, options({ rank: 16, scale: 'paper' }));
    const eye = f32(
      Float32Array.from({ length: 256 }, (_, i) => Number(i % 17 === 0)),
      [16, 16],
    );
    const params = { prompt_embeddings: own.values.prompt_embeddings!, [A]: eye };
    const g = (await textStep(model, wide, task, texts, { params })).gradient(B);
    const a = toFloat32(own.values[A]!).data;
    const c = 8 / Math.sqrt(2);
    own.gradient(B).forEach((x, at) => {
      const [k, j] = [Math.floor(at / 16), at % 16];
      const sum = Array.from({ length: 16 }, (_, i) => a[i * 2 + k]! * g[i * 16 + j]!).reduce(
        (p, q) => p + q,
      );
      expect(x).toBeCloseTo(c * sum, 5);
    });
    expect(Math.max(...own.gradient(B).map(Math.abs))).toBeGreaterThan(1e-4);
  });

  test('moves the prompt and B, and leaves A', async () => {
    const model = await tinyLanguage('t5');
    const given = options({ steps: 1, warmup: 0, learningRate: 0.1, batch: 6 });
    const method = findLanguageMethod('dept');
    const fit = { model, method, options: given, task, train: texts, val: [], seed: 1 };
    const { adapter } = await drained(fitLanguage(fit));
    const before = (await textStep(model, await dept.inject({ model, task }, given), task, texts)).values;
    for (const [name, moved] of [
      ['prompt_embeddings', true],
      [A, false],
      [B, true],
    ] as const) {
      expect(String(adapter.tensors[name]!.data) !== String(before[name]!.data), name).toBe(moved);
    }
  });
});

test('5. the offset depends on the position alone, and padding gets none of the gradient', async () => {
  const model = await tinyLanguage('t5');
  const injection = await dept.inject({ model, task }, options());
  const params = { [A]: ramp([16, 2], 0.5), [B]: ramp([2, 16], 0.5) };
  const twice = [{ ...texts[0]!, parts: { text: 'dog dog dog' } }];
  const plain = await textStep(model, injection, task, twice);
  const own = await textStep(model, injection, task, twice, { params });
  expect(own.logits).not.toEqual(plain.logits);
  // The text has six tokens of eight: begin, text:, dog, dog, dog, end.
  const rows = own.gradient(A);
  expect(rows.slice(6 * 2).every((x) => x === 0)).toBe(true);
  for (let i = 0; i < 6; i++) expect(Math.abs(rows[2 * i]!)).toBeGreaterThan(0);
  // What lies under padding changes nothing.
  const far = ramp([16, 2], 0.5);
  far.data.fill(7, 6 * 2);
  const other = await textStep(model, injection, task, twice, { params: { ...params, [A]: far } });
  expect(other.logits).toEqual(own.logits);
});

test('5. each row of a batch gets the same offset, by its own positions; behind the last there is none', async () => {
  const offset = ramp([4, 2], 1);
  const text = offsetByPosition(() => constant(offset));
  const rowsOf = async (length: number, positions?: number[]) => {
    const zero = constant(f32(new Float32Array(2 * length * 2), [2, length, 2]));
    const own = positions && constant(i64(positions, [2, length]));
    const { y } = await runOnce(trace('scratch', (s) => ({ y: text(s, zero, own) })).result, {});
    const data = Array.from(y.data as Float32Array);
    return Array.from({ length: 2 * length }, (_, i) => data.slice(2 * i, 2 * i + 2));
  };
  const [a, b, c, d] = Array.from({ length: 4 }, (_, i) => Array.from(offset.data.slice(2 * i, 2 * i + 2)));
  expect(await rowsOf(3)).toEqual([a, b, c, a, b, c]);
  expect(await rowsOf(5)).toEqual([a, b, c, d, [0, 0], a, b, c, d, [0, 0]]);
  // Of the second text two tokens are padding.
  expect(await rowsOf(3, [1, 2, 3, 0, 0, 5])).toEqual([b, c, d, a, a, [0, 0]]);
});

test('6. two learning rates: with 0 for the pair it never moves; shared, it moves as fast as the prompt', async () => {
  const model = await tinyLanguage('t5');
  const moved = async (more: object) => {
    const given = options({ steps: 4, learningRate: 0.01, batch: 6, warmup: 0, ...more });
    const method = findLanguageMethod('dept');
    const fit = { model, method, options: given, task, train: texts, val: [], seed: 1 };
    const { tensors } = (await drained(fitLanguage(fit))).adapter;
    const { values } = await textStep(model, await dept.inject({ model, task }, given), task, texts);
    const distance = (name: string) => {
      const [now, then] = [tensors, values].map((of) => of[name]!.data as Float32Array);
      return Math.max(...Array.from(now!, (x, i) => Math.abs(x - then![i]!)));
    };
    return { a: distance(A), b: distance(B), prompt: distance('prompt_embeddings') };
  };
  expect(await moved({ offsetRate: 0 })).toMatchObject({ a: 0, b: 0 });
  const own = await moved({ offsetRate: 0.001 });
  const shared = await moved({ sharedRate: true });
  // Adam's steps are as long as its rate in the beginning.
  expect(own.prompt / own.b).toBeGreaterThan(5);
  expect(shared.prompt / shared.b).toBeLessThan(2);
});

test('7. saved and read again, it is the same', async () => {
  const model = await tinyLanguage('t5');
  const given = options();
  const { values } = await textStep(model, await dept.inject({ model, task }, given), task, texts);
  const dir = await mkdtemp(join(tmpdir(), 'attune-dept-'));
  const tensors: Values = { ...values, [B]: ramp([2, 16], 1) };
  await saveLanguageAdapter(dir, model, { method: 'dept', options: given, task, tensors });
  const read = await loadLanguageAdapter(dir, model);
  expect(read.options).toEqual(given);
  for (const [name, shape] of [
    ['prompt_embeddings', [3, 16]],
    [A, [16, 2]],
    [B, [2, 16]],
  ] as const) {
    expect(read.tensors[name]!.shape).toEqual(shape);
    expect([...read.tensors[name]!.data]).toEqual([...tensors[name]!.data]);
  }
  await rm(dir, { recursive: true });
});

test('8. the encoder reads m + s tokens: 0.79 of the attention scores of PT with l = 100', async () => {
  const model = await tinyLanguage('t5');
  const injected = inject(model, await dept.inject({ model, task }, options()));
  if (injected.kind !== 'seq2seq') throw new Error('T5 reads and writes');
  const { last } = trace(model.weights, (s) =>
    injected.model.encode(s, { tokens: constant(i64(Array(16).fill(3), [1, 16])) }),
  ).result;
  expect(last.dim(1)).toBe(3 + 16);
  expect((60 + 256) ** 2 / (100 + 256) ** 2).toBeCloseTo(0.79, 2);
});
