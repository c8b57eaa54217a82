import { expect, test } from 'vitest';
import { constant, f32, toFloat32 } from '../../graph/index.ts';
import { type Tree, trace } from '../../nn/index.ts';
import { Random, runOnce } from '../../runtime/index.ts';
import { initParams, type Values } from '../../train/index.ts';
import { dept } from '../dept/method.ts';
import { promptTuning } from '../lm-baselines/prompt-tuning.ts';
import { textStep } from '../testing/text-step.ts';
import { tinyClasses, tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { ept, eptRank, rebuilt, startOf, truncatedSvd } from './method.ts';

const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
const texts = tinyTexts(6, 1);
const options = (more: object = {}) =>
  ept.options.parse({ length: 4, rank: 3, budget: 8, maxLength: 16, ...more });
type Options = ReturnType<typeof options>;
const stepOf = async (o: Options, params?: Values) => {
  const model = await tinyLanguage('t5');
  return textStep(model, await ept.inject({ model, task }, o), task, texts, { ...(params && { params }) });
};

/** What the prompt is made of, at initial values or given ones. */
async function parts(o: Options, given: Values = {}) {
  const subject = { model: await tinyLanguage('t5'), task };
  const init = startOf(subject, o);
  const { result, params } = trace('scratch', (s) => rebuilt(s, subject, o, init));
  const values: Values = { ...(await initParams(params, 1)), ...given };
  const { prompt, attention, gate } = result;
  const outputs: Tree = { prompt };
  if (attention) outputs.attention = attention;
  if (gate) outputs.gate = gate;
  const out: Values = await runOnce(
    outputs,
    Object.fromEntries(params.map((p) => [`param/${p.name}`, values[p.name]!])),
  );
  return { values, of: (name: string) => Array.from(out[name]!.data as Float32Array) };
}
const data = (values: Values, name: string) => toFloat32(values[name]!).data;
const filled = (shape: number[], of: (i: number) => number) =>
  f32(
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => of(i)),
    shape,
  );
const rows = (list: readonly number[], width: number) =>
  Array.from({ length: list.length / width }, (_, i) => list.slice(i * width, (i + 1) * width));

test('1. the prompt is [m, d] whatever is in it, and counts are m·d + (n + d)·r and the modules', async () => {
  for (const more of [{}, { spaces: 1, spaceWidth: 3 }, { fusion: false }, { budget: 20, rank: 5 }]) {
    const o = options(more);
    const { params, count } = await stepOf(o);
    expect(params.find((p) => p.name === 'prompt_embeddings')!.shape).toEqual([4, 16]);
    const modules = (o.fusion ? 1 : 0) + o.spaces * (2 * 16 * o.spaceWidth + 16 + 1);
    // The product is read by the fusion alone.
    const memory = o.fusion ? (o.budget + 16) * o.rank : 0;
    expect(count).toBe(4 * 16 + memory + modules);
  }
  const o = ept.options.parse({});
  const rank = eptRank(o, 768);
  expect(60 * 768 + (100 + 768) * rank + 1 + 4 * (2 * 768 * 2 + 768 + 1)).toBeLessThanOrEqual(76_800);
});

test('2. without its modules it is prompt tuning, with the offset DePT, and with γ = 0 and no step its short prompt', async () => {
  const model = await tinyLanguage('t5');
  const off = { fusion: false, spaces: 0 };
  const plain = await textStep(
    model,
    await promptTuning.inject({ model, task }, promptTuning.options.parse({ length: 4 })),
    task,
    texts,
  );
  const own = await stepOf(options(off), { prompt_embeddings: plain.values.prompt_embeddings! });
  expect(own.logits).toEqual(plain.logits);

  const o = { length: 4, rank: 3, maxLength: 16, init: 'vocabulary' };
  const other = await textStep(model, await dept.inject({ model, task }, dept.options.parse(o)), task, texts);
  const ramp = { 'prompt_encoder.lora_embedding_B': filled([3, 16], Math.sin) };
  const values = { ...other.values, ...ramp };
  const offset = await stepOf(options({ ...off, inputOffset: true }), values);
  const wanted = await textStep(
    model,
    await dept.inject({ model, task }, dept.options.parse(o)),
    task,
    texts,
    { params: values },
  );
  expect(offset.logits).toEqual(wanted.logits);
  expect(offset.params.map((p) => p.name)).toEqual(wanted.params.map((p) => p.name));

  const still = await parts(options({ fusionStart: 0 }));
  expect(still.of('prompt')).toEqual([...data(still.values, 'prompt_embeddings')]);
});

test('3. the gate is a distribution, uniform at first; one space has no gate to learn; equal spaces do not depend on it', async () => {
  const { of } = await parts(options());
  expect(of('gate')).toEqual([0.25, 0.25, 0.25, 0.25]);
  const drawn = await parts(options(), { 'prompt_encoder.gate.weight': filled([16, 4], Math.sin) });
  const gate = drawn.of('gate');
  expect(Math.min(...gate)).toBeGreaterThan(0);
  expect(gate.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
  expect(new Set(gate).size).toBe(4);

  const up = { 'prompt_encoder.spaces.0.up': filled([16, 2], Math.cos) };
  const single = await stepOf(options({ spaces: 1 }), up);
  expect(single.gradient('prompt_encoder.gate.weight').every((x) => x === 0)).toBe(true);
  expect(single.gradient('prompt_encoder.spaces.0.down').some((x) => x !== 0)).toBe(true);

  const same = Object.fromEntries(
    [0, 1].flatMap((k) => [
      [`prompt_encoder.spaces.${k}.down`, filled([2, 16], Math.sin)],
      [`prompt_encoder.spaces.${k}.up`, filled([16, 2], Math.cos)],
    ]),
  );
  const two = options({ spaces: 2, fusion: false });
  const uniform = await parts(two, same);
  const tilted = await parts(two, { ...same, 'prompt_encoder.gate.bias': f32(Float32Array.of(3, -1)) });
  uniform.of('prompt').forEach((x, i) => {
    expect(x).toBeCloseTo(tilted.of('prompt')[i]!, 5);
  });
});

test('4. attention: rows sum to one, memory has no order, and without a product it is that over the prompt and rows of zero', async () => {
  const o = options({ spaces: 0 });
  const own = await parts(o);
  for (const row of rows(own.of('attention'), 4 + 8)) {
    expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
  }
  const a = data(own.values, 'prompt_encoder.lora_embedding_A');
  const reversed = f32(
    Float32Array.from(
      rows([...a], 3)
        .reverse()
        .flat(),
    ),
    [8, 3],
  );
  const turned = await parts(o, { ...own.values, 'prompt_encoder.lora_embedding_A': reversed });
  own.of('prompt').forEach((x, i) => {
    expect(x).toBeCloseTo(turned.of('prompt')[i]!, 5);
  });

  const none = { ...own.values, 'prompt_encoder.lora_embedding_B': filled([3, 16], () => 0) };
  const empty = await parts(o, none);
  const short = rows([...data(own.values, 'prompt_embeddings')], 16);
  const unit = short.map((r) => {
    const rms = Math.sqrt(r.reduce((sum, x) => sum + x * x, 0) / 16 + 1e-6);
    return r.map((x) => x / rms);
  });
  rows(empty.of('prompt'), 16).forEach((got, i) => {
    const scores = unit.map((k) => k.reduce((sum, x, j) => sum + x * unit[i]![j]!, 0) / 4);
    const powers = [...scores, ...Array<number>(8).fill(0)].map(Math.exp);
    const total = powers.reduce((p, q) => p + q);
    got.forEach((x, j) => {
      const mixed = short.reduce((sum, r, k) => sum + (powers[k]! / total) * r[j]!, 0);
      expect(x).toBeCloseTo(short[i]![j]! + mixed, 4);
    });
  });
});

test('5. the pair begins as the best approximation of its rank, with balanced factors', () => {
  const random = new Random(1, 'svd');
  const matrix = f32(
    random.fill(7 * 5, (r) => r.normal()),
    [7, 5],
  );
  const all = truncatedSvd(matrix, 5);
  const product = ({ a, b }: typeof all, rank: number) =>
    Array.from({ length: 35 }, (_, at) => {
      const [i, j] = [Math.floor(at / 5), at % 5];
      return Array.from({ length: rank }, (_, k) => a.data[i * rank + k]! * b.data[k * 5 + j]!).reduce(
        (p, q) => p + q,
      );
    });
  product(all, 5).forEach((x, i) => {
    expect(x).toBeCloseTo(matrix.data[i]!, 5);
  });
  const gram = (
    list: Float32Array,
    count: number,
    at: (i: number, k: number) => number,
    k: number,
    l: number,
  ) => Array.from({ length: count }, (_, i) => list[at(i, k)]! * list[at(i, l)]!).reduce((p, q) => p + q);
  const sigma = Array.from({ length: 5 }, (_, k) => gram(all.a.data, 7, (i, c) => i * 5 + c, k, k));
  for (let k = 0; k < 5; k++) {
    for (let l = 0; l < 5; l++) {
      const [left, right] = [
        gram(all.a.data, 7, (i, c) => i * 5 + c, k, l),
        gram(all.b.data, 5, (j, c) => c * 5 + j, k, l),
      ];
      expect(left).toBeCloseTo(k === l ? sigma[k]! : 0, 4);
      expect(right).toBeCloseTo(left, 4);
    }
  }
  const error = product(truncatedSvd(matrix, 2), 2).reduce(
    (sum, x, i) => sum + (x - matrix.data[i]!) ** 2,
    0,
  );
  expect(error).toBeCloseTo(
    sigma.slice(2).reduce((sum, s) => sum + s * s, 0),
    4,
  );
});

test('6. it folds to a plain prompt, with which the model says the same', async () => {
  const model = await tinyLanguage('t5');
  for (const inputOffset of [false, true]) {
    const o = options({ inputOffset });
    const own = await stepOf(o);
    const folded = (await ept.folded!({ model, task }, o))!;
    const values = Object.fromEntries(Object.entries(own.values).map(([n, v]) => [n, constant(v)]));
    const tensors: Values = await runOnce(trace('scratch', (s) => folded.tensors(s.bind(values))).result, {});
    expect(Object.keys(tensors)).toHaveLength(inputOffset ? 3 : 1);
    const plain = await textStep(model, folded.injection, task, texts, { params: tensors });
    plain.logits.forEach((x, i) => {
      expect(x).toBeCloseTo(own.logits[i]!, 5);
    });
  }
});

test('7. after the first step gradients reach everything; at first not what is behind W↑ = 0', async () => {
  const first = await stepOf(options());
  const zero = (name: string) => first.gradient(name).every((x) => x === 0);
  expect(zero('prompt_encoder.spaces.0.down')).toBe(true);
  expect(zero('prompt_encoder.gate.weight')).toBe(true);
  const ups = Object.fromEntries(
    [0, 1, 2, 3].map((k) => [`prompt_encoder.spaces.${k}.up`, filled([16, 2], (i) => Math.cos(i + k))]),
  );
  const next = await stepOf(options(), ups);
  for (const { name } of next.params)
    expect(
      next.gradient(name).some((x) => x !== 0),
      name,
    ).toBe(true);
});
