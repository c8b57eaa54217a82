import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { constant, f32, i64, input, type Tensor } from '../../graph/index.ts';
import { type LanguageModel, loadAdapter } from '../../hub/index.ts';
import { trace, valueInit } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { initParams } from '../../train/index.ts';
import type { TextTensors } from '../lm/score.ts';
import { batchTypes, batchValues, encodeText, shapeOf } from '../lm/texts.ts';
import { drained } from '../testing/patches.ts';
import { tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { mpt } from './mpt.ts';
import {
  distilled,
  mptSourceOptions,
  type SourceTask,
  studentPrompts,
  trainMptSources,
} from './mpt-sources.ts';

const writing = { kind: 'text', classes: [], parts: [] } as const;
const rows = (n: number, of: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => of(i));

test('the prompts of a batch are P* ⊙ (u_k v_kᵀ) of the tasks of its texts; P* where u = v = 1', async () => {
  const shared = rows(6, (i) => i + 1);
  const { result, params } = trace('scratch', (s) =>
    studentPrompts(s, constant(i64([1, 0])), 2, [2, 3], valueInit(f32(shared, [2, 3]))),
  );
  expect(params.map(({ name, shape }) => [name, shape])).toEqual([
    ['prompt_embeddings', [2, 3]],
    ['factors.u', [2, 2, 1]],
    ['factors.v', [2, 1, 3]],
  ]);
  const values = await initParams(params, 1);
  const run = async (more: object) => {
    const feeds = Object.entries({ ...values, ...more }).map(([name, v]) => [`param/${name}`, v]);
    return Array.from((await runOnce({ p: result }, Object.fromEntries(feeds))).p.data, Number);
  };
  expect(await run({})).toEqual([...shared, ...shared]);
  const u = f32([1, 2, 3, 4], [2, 2, 1]);
  const v = f32([1, 10, 100, 1, 1, 2], [2, 1, 3]);
  expect(await run({ 'factors.u': u, 'factors.v': v })).toEqual([
    ...[3, 6, 18, 16, 20, 48],
    ...[1, 20, 300, 8, 100, 1200],
  ]);
});

describe.each(['t5', 'gpt2'] as const)('%s', (family) => {
  const length = 2;
  /** Loss and its parts for prompts [2, m, width] of two texts. */
  async function losses(
    model: LanguageModel,
    prompts: readonly [Float32Array, Float32Array],
    lambda: number,
  ) {
    const texts = tinyTexts(2, 1).map((e) => encodeText(model, writing, e, 16));
    const sizes = shapeOf(texts, 2);
    const types = batchTypes(model, writing, sizes);
    const batch = Object.fromEntries(
      Object.entries(types).map(([name, { shape, dtype }]) => [name, input(name, shape, dtype)]),
    ) as TextTensors;
    const [student, teacher] = prompts.map((data) => constant(f32(data, [2, length, model.model.width])));
    const { result } = trace(model.weights, (s) =>
      distilled(s, model, { student: student!, teacher: teacher!, batch }, lambda),
    );
    const out = await runOnce(result, batchValues(model, writing, sizes, texts));
    return Object.fromEntries(Object.entries(out).map(([name, v]) => [name, Number(v.data[0])]));
  }
  const prompt = (model: LanguageModel, seed: number) =>
    rows(2 * length * model.model.width, (i) => Math.sin(i * 1.3 + seed));

  test('a student that is its teacher has nothing to learn of it, another has, by λ', async () => {
    const model = await tinyLanguage(family);
    const [one, other] = [prompt(model, 1), prompt(model, 2)];
    const same = await losses(model, [one, one], 0.9);
    expect([same.logits, same.states]).toEqual([0, 0]);
    expect(same.loss).toBe(same.taskLoss);
    const differs = await losses(model, [one, other], 0.9);
    expect(differs.taskLoss).toBe(same.taskLoss);
    expect(Math.min(differs.logits!, differs.states!)).toBeGreaterThan(1e-6);
    expect(differs.loss).toBeCloseTo(differs.taskLoss! + 0.9 * (differs.logits! + differs.states!), 5);
  });

  test('the source stage leaves a prompt, of which the target stage begins', async () => {
    const model = await tinyLanguage(family);
    const { width } = model.model;
    const sources = [1, 2, 3].map(
      (seed): SourceTask => ({
        name: `task ${seed}`,
        prompt: f32(
          rows(length * width, (i) => Math.cos(i * seed)),
          [length, width],
        ),
        texts: tinyTexts(20, seed),
      }),
    );
    const options = mptSourceOptions.parse({ steps: 8, batch: 6, maxLength: 16, learningRate: 0.05 });
    const dir = await mkdtemp(join(tmpdir(), 'attune-mpt-'));
    const of: number[] = [];
    const stage = trainMptSources({ model, sources, options, dir });
    for await (const e of stage) if (e.type === 'step') of.push(e.metrics.loss!);
    expect(of).toHaveLength(8);
    expect(of.every(Number.isFinite)).toBe(true);
    const { tensors, config } = await loadAdapter(dir);
    expect(config).toMatchObject({ mpt_sources: { tasks: ['task 1', 'task 2', 'task 3'] } });
    // m·d + t·(m + d)
    const count = Object.values(tensors).reduce((n, { data }) => n + data.length, 0);
    expect(count).toBe(length * width + 3 * (length + width));
    expect([...tensors['factors.u']!.data].some((x) => x !== 1)).toBe(true);

    const target = await mpt.inject({ model, task: writing }, mpt.options.parse({ length, source: dir }));
    const embeddings: Tensor = input('x', [1, 1, width]);
    const { params } = trace('scratch', (s) => target.soft!.tokens(s, embeddings));
    const begun = await initParams(params, 1);
    expect([...begun.prompt_embeddings!.data]).toEqual([...tensors.prompt_embeddings!.data]);
    const u = tensors['factors.u']!.data;
    begun['factors.u']!.data.forEach((x, i) => {
      expect(Number(x)).toBeCloseTo(
        [0, 1, 2].reduce((sum, k) => sum + Number(u[k * length + i]) / 3, 0),
        6,
      );
    });
  });
});

test('what cannot be a source stage is refused', async () => {
  const options = mptSourceOptions.parse({ steps: 1 });
  const tried = async (family: 't5' | 'bert', sources: SourceTask[]) =>
    drained(trainMptSources({ model: await tinyLanguage(family), sources, options, dir: '/nowhere' }));
  const source = (name: string, shape: number[]): SourceTask => ({
    name,
    prompt: f32(
      rows(shape[0]! * shape[1]!, () => 1),
      shape,
    ),
    texts: tinyTexts(3, 1),
  });
  await expect(tried('bert', [source('a', [2, 16]), source('b', [2, 16])])).rejects.toThrow(
    'models that write',
  );
  await expect(tried('t5', [source('a', [2, 16])])).rejects.toThrow('at least two tasks, not 1');
  await expect(tried('t5', [source('a', [2, 16]), source('b', [3, 16])])).rejects.toThrow(
    'the prompt of b is [3,16], but [2, 16] is wanted of all',
  );
});
