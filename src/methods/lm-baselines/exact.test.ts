import { describe, expect, test } from 'vitest';
import { add, concat, constant, f32, i64, input, type Tensor } from '../../graph/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import { bert, parseBertConfig } from '../../models/bert/index.ts';
import { parseT5Config, t5 } from '../../models/t5/index.ts';
import { mapTree, splitHeads, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { initParams } from '../../train/index.ts';
import { fitLanguage } from '../lm/fit.ts';
import { inject, injectScope } from '../lm/injection.ts';
import { findLanguageMethod } from '../lm/list.ts';
import { scoreOf, type TextTensors } from '../lm/score.ts';
import { batchTypes } from '../lm/texts.ts';
import { drained } from '../testing/patches.ts';
import { textStep } from '../testing/text-step.ts';
import { tinyClasses, tinyFamilies, tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { attempt, mixed } from './attempt.ts';

const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
const texts = tinyTexts(5, 1);
const injectionOf = async (model: LanguageModel, name: string, options: object = {}) => {
  const method = findLanguageMethod(name);
  return method.inject({ model, task }, method.options.parse(options));
};
const stepOf = async (model: LanguageModel, name: string, options: object = {}) =>
  textStep(model, await injectionOf(model, name, options), task, texts);

describe.each(tinyFamilies)('%s', (family) => {
  test.each([
    ['lora', {}],
    ['lora', { rankStabilized: true }],
    ['lora', { dora: true }],
    ['ia3', {}],
    ['bitfit', {}],
    ['adapters', {}],
    ['adapters', { placement: 'pfeiffer' }],
  ])('%s %j begins as the bare model', async (name, options) => {
    const model = await tinyLanguage(family);
    const [own, bare] = [await stepOf(model, name, options), await stepOf(model, 'full-fine-tuning')];
    own.logits.forEach((x, i) => {
      expect(x).toBeCloseTo(bare.logits[i]!, 5);
    });
  });

  test.each([
    ['prompt-tuning', { length: 2 }],
    ['prefix-tuning', { length: 2 }],
  ])('%s %j does not', async (name, options) => {
    const model = await tinyLanguage(family);
    const [own, bare] = [await stepOf(model, name, options), await stepOf(model, 'full-fine-tuning')];
    expect(own.logits).not.toEqual(bare.logits);
  });

  test.each(['lora', 'ia3', 'adapters', 'prompt-tuning', 'p-tuning', 'prefix-tuning'])(
    'of %s nothing of the model is among what is trained, but for normalisations that are asked for, and the head',
    async (name) => {
      const model = await tinyLanguage(family);
      const { params } = await stepOf(model, name, name.endsWith('tuning') ? { length: 2 } : {});
      const frozen = new Set(model.weights.names());
      const own = params.filter((p) => frozen.has(p.name) && !/norm|Norm|\.ln_|^classifier/.test(p.name));
      expect(own).toEqual([]);
    },
  );
});

test('a model is bit for bit what it was after training with an adapter', async () => {
  const model = await tinyLanguage('t5');
  const read = async () =>
    Promise.all(model.weights.names().map(async (name) => [...(await model.weights.get(name)!.load()).data]));
  const before = await read();
  const options = { steps: 5, batch: 4, maxLength: 10 };
  const fit = { model, method: findLanguageMethod('lora'), options, task, train: texts, val: [], seed: 1 };
  await drained(fitLanguage(fit));
  expect(await read()).toEqual(before);
});

test('T5 with its soft tokens masked out is the bare model', async () => {
  const loaded = await tinyLanguage('t5');
  if (loaded.kind !== 'seq2seq') throw new Error('no pairs');
  const { model } = loaded;
  const ids = constant(i64([2, 9, 14, 1], [1, 4]));
  const soft = constant(
    f32(
      Float32Array.from({ length: 3 * 16 }, (_, i) => Math.sin(i)),
      [1, 3, 16],
    ),
  );
  const target = constant(i64([0, 6], [1, 2]));
  const { result } = trace(loaded.weights, (s) => {
    const tokens = concat([soft, model.embed(s, ids)], 1);
    const hidden = constant(i64([0, 0, 0, 1, 1, 1, 1], [1, 7]));
    const say = (encoded: Tensor, mask?: Tensor) =>
      model.logits(s, model.decode(s, { tokens: target }, model.memory(s, encoded), mask).last);
    return {
      masked: say(model.encode(s, { tokens, mask: hidden }).last, hidden),
      bare: say(model.encode(s, { tokens: ids }).last),
    };
  });
  const out = await runOnce(result, {});
  out.masked.data.forEach((x, i) => {
    expect(Number(x)).toBeCloseTo(Number(out.bare.data[i]), 5);
  });
});

test('a prefix of K = P·W_K + b and V = P·W_V + b in one layer is P before the layer’s input, its outputs dropped', async () => {
  const loaded = await tinyLanguage('bert');
  if (loaded.kind !== 'encoder') throw new Error('no encoder');
  const { model, weights } = loaded;
  const ids = constant(i64([2, 9, 14, 1], [1, 4]));
  const p = constant(
    f32(
      Float32Array.from({ length: 3 * 16 }, (_, i) => Math.cos(i)),
      [1, 3, 16],
    ),
  );
  const positions = constant(i64([3, 4, 5, 6], [1, 4]));
  const layer = 'bert.encoder.layer.0';
  const { result } = trace(weights, (s) => {
    const self = s.at(`${layer}.attention.self`);
    const of = (name: string) => {
      const at = self.at(name);
      const y = add(p.matmul(at.weight('weight', [16, 16]), { transB: true }), at.weight('bias', [16]));
      return splitHeads(y, model.keyHeads);
    };
    const first = { key: of('key'), value: of('value') };
    // The first layer's output, whatever stands before the input of the second.
    const states = (inner: typeof s, past?: (typeof first)[]) =>
      model.encode(inner, { tokens: ids, positions, past }).hiddenStates[1]!;
    const prefixed = states(s, [first, ...Array(model.layers - 1).fill(first)]);
    const grown = s.intercept({
      tap: {
        [`${layer}:in`]: (x) => concat([p, x], 1),
        [`${layer}:out`]: (x) => x.slice(1, 3),
      },
    });
    return { prefixed, grown: states(grown) };
  });
  const out = await runOnce(result, {});
  out.prefixed.data.forEach((x, i) => {
    expect(Number(x)).toBeCloseTo(Number(out.grown.data[i]), 5);
  });
});

describe('attempt', () => {
  const sources = [1, 2].map((k) =>
    f32(
      Float32Array.from({ length: 32 }, (_, i) => Math.sin(k * i)),
      [2, 16],
    ),
  );
  const subjectOf = async () => ({ model: await tinyLanguage('t5'), task });
  const mixedBy = async (more: object, mask?: Tensor) => {
    const o = attempt.options.parse({ length: 2, ...more });
    const subject = await subjectOf();
    const embeddings = constant(
      f32(
        Float32Array.from({ length: 3 * 4 * 16 }, (_, i) => Math.cos(i)),
        [3, 4, 16],
      ),
    );
    const { result, params } = trace('scratch', (s) => mixed(s, subject, o, sources, embeddings, mask));
    const values = await initParams(params, 1);
    return runOnce(
      { ...result },
      Object.fromEntries(params.map((p) => [`param/${p.name}`, values[p.name]!])),
    );
  };
  test('shares sum to one, depend on the text, and are uniform where the temperature is high', async () => {
    const { shares } = await mixedBy({ temperature: 1 });
    const rows = [0, 1, 2].map((b) => Array.from(shares.data as Float32Array).slice(3 * b, 3 * b + 3));
    for (const row of rows) expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    expect(rows[0]).not.toEqual(rows[1]);
    for (const share of (await mixedBy({ temperature: 1e9 })).shares.data)
      expect(Number(share)).toBeCloseTo(1 / 3, 6);
  });
  test('padding does not count', async () => {
    const mask = constant(i64([1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0], [3, 4]));
    const [all, own] = [await mixedBy({ temperature: 1 }), await mixedBy({ temperature: 1 }, mask)];
    const row = (out: typeof all, b: number) =>
      Array.from(out.shares.data as Float32Array).slice(3 * b, 3 * b + 3);
    expect(row(own, 0)).toEqual(row(all, 0));
    expect(row(own, 1)).not.toEqual(row(all, 1));
  });
});

test('MPT begins as the prompt that tasks share', async () => {
  const model = await tinyLanguage('t5');
  const [own, plain] = [
    await stepOf(model, 'mpt', { length: 2 }),
    await stepOf(model, 'prompt-tuning', { length: 2 }),
  ];
  expect(own.logits).toEqual(plain.logits);
});

describe('counts at the sizes of the papers', () => {
  /** A model of a configuration whose weights nobody reads. */
  function sized(
    functions: Pick<LanguageModel, 'kind' | 'model'>,
    modelType: string,
    tiny: LanguageModel,
  ): LanguageModel {
    const model = {
      ...tiny,
      ...functions,
      modelType,
      heads: new Set(functions.kind === 'encoder' ? ['pool'] : []),
    } as LanguageModel;
    const tokens = constant(i64([0], [1, 1]));
    const { params } = trace('scratch', (s) => {
      if (model.kind === 'encoder') return model.model.pool(s, model.model.encode(s, { tokens }).last);
      if (model.kind !== 'seq2seq') throw new Error('no such model here');
      const memory = model.model.memory(s, model.model.encode(s, { tokens }).last);
      return model.model.logits(s, model.model.decode(s, { tokens }, memory).last);
    });
    const shapes = new Map(params.map((p) => [p.name, p.shape]));
    const get = (name: string) => {
      const shape = shapes.get(name);
      const load = () => Promise.reject(new Error('there are no values'));
      return shape && ({ name, shape, dtype: 'float32', load } as never);
    };
    return { ...model, weights: { label: 'sizes', names: () => [...shapes.keys()], get } };
  }
  async function count(model: LanguageModel, name: string, options: object = {}): Promise<number> {
    const injection = await injectionOf(model, name, options);
    const types = batchTypes(model, task, { batch: 1, length: 8, targetLength: 2 });
    const batch = mapTree(types, ({ shape, dtype }, key) => input(key, shape, dtype)) as TextTensors;
    const { params } = trace(model.weights, (s) =>
      scoreOf(injectScope(s, injection), inject(model, injection), model.heads, task, batch),
    );
    return params.reduce((n, p) => n + (p.name.startsWith('classifier') ? 0 : p.tensor.size), 0);
  }

  test.each([
    ['prompt-tuning', { length: 100 }, 76_800],
    ['ia3', {}, 129_024],
    // Queries and values of 12 encoder and 24 decoder attentions.
    ['lora', { rank: 8 }, 36 * 2 * 8 * (768 + 768)],
    // The paper's 280,000 have a bias of the scores (32,128) too.
    ['bitfit', {}, 250_368],
    ['adapters', { bottleneck: 24, trainNorms: false }, 24 * 2 * (2 * 768 * 24 + 24 + 768)],
    ['prefix-tuning', { length: 10 }, 10 * 2 * 12 * 768],
    ['attempt', { length: 100 }, 231_936],
    ['mpt', { length: 100 }, 77_668],
    ['full-fine-tuning', {}, 222_903_552],
  ])('T5-base, %s %j: %d', async (name, options, wanted) => {
    const config = { model_type: 't5', d_model: 768, d_ff: 3072, num_layers: 12, num_heads: 12 };
    const model = sized(
      { kind: 'seq2seq', model: t5(parseT5Config(config)) },
      't5',
      await tinyLanguage('t5'),
    );
    expect(await count(model, name, options)).toBe(wanted);
  });

  test.each([
    ['prompt-tuning', { length: 20 }, 20 * 768],
    ['prefix-tuning', { length: 20 }, 368_640],
    ['lora', { rank: 8 }, 12 * 2 * 8 * (768 + 768)],
    ['adapters', { bottleneck: 64, trainNorms: false }, 12 * 2 * (2 * 768 * 64 + 64 + 768)],
  ])('BERT-base, %s %j: %d', async (name, options, wanted) => {
    const functions = { kind: 'encoder', model: bert(parseBertConfig({ model_type: 'bert' })) } as const;
    const model = sized(functions, 'bert', await tinyLanguage('bert'));
    expect(await count(model, name, options)).toBe(wanted);
  });
});
