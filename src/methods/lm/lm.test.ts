import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { toFloat32 } from '../../graph/index.ts';
import { Generator } from '../../models/generation/index.ts';
import type { Values } from '../../train/index.ts';
import { drained } from '../testing/patches.ts';
import { tinyClasses, tinyFamilies, tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { attach, injectionOf } from './adapter.ts';
import { fitLanguage, type LanguageFit } from './fit.ts';
import { findLanguageMethod, languageMethods } from './list.ts';
import { TextScorer } from './scorer.ts';
import { encodeText, endsOf, promptIds, promptOf, shapeOf } from './texts.ts';

const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
/** Options under which a method learns the tiny task in a second. */
const small: Record<string, object> = {
  'full-fine-tuning': { learningRate: 0.01 },
  bitfit: { learningRate: 0.03 },
  lora: { learningRate: 0.03 },
  adapters: { learningRate: 0.03, bottleneck: 8 },
  ia3: { learningRate: 0.03 },
  'prompt-tuning': { length: 4, learningRate: 0.06 },
  'p-tuning': { length: 4, learningRate: 0.03, encoderWidth: 8 },
  'prefix-tuning': { length: 4, learningRate: 0.1 },
  attempt: { length: 4, learningRate: 0.06, width: 8 },
  mpt: { length: 4, learningRate: 0.06 },
  panda: { length: 4, learningRate: 0.1 },
  dept: { length: 2, rank: 3, init: 'vocabulary', learningRate: 0.03, offsetRate: 0.03 },
  ept: { length: 4, rank: 3, budget: 6, learningRate: 0.06, offsetRate: 0.01 },
};
const kindOf = {
  bert: 'encoder',
  roberta: 'encoder',
  t5: 'seq2seq',
  gpt2: 'causal',
  llama: 'causal',
} as const;
const fitOf = async (family: (typeof tinyFamilies)[number], name: string, more: Partial<LanguageFit> = {}) =>
  ({
    model: await tinyLanguage(family),
    method: findLanguageMethod(name),
    options: { steps: 100, batch: 16, maxLength: 10, evaluations: 3, ...small[name] },
    task,
    train: tinyTexts(64, 1),
    val: tinyTexts(32, 2),
    seed: 1,
    ...more,
  }) satisfies LanguageFit;

describe.each(languageMethods.map((m) => [m.name, m.kinds] as const))('%s', (name, kinds) => {
  const families = tinyFamilies.filter((family) => !kinds || kinds.includes(kindOf[family]));
  test.each(families)('%s learns, and its adapter says what training said', async (family) => {
    const fit = await fitOf(family, name);
    let first: number | undefined;
    let last = 0;
    const run = fitLanguage(fit);
    let next = await run.next();
    for (; !next.done; next = await run.next()) {
      if (next.value.type !== 'step') continue;
      first ??= next.value.metrics.loss!;
      last = next.value.metrics.loss!;
    }
    expect(last).toBeLessThan(first! - 0.15);
    const { adapter } = next.value;
    const { model } = fit;
    const texts = fit.val.map((e) => encodeText(model, task, e, 10));
    const shape = shapeOf(texts, 32);
    const scorer = await TextScorer.compile(model, await injectionOf(model, adapter), task, shape);
    const { score, right } = await scorer.score(adapter.tensors, texts);
    await scorer.release();
    if (model.kind === 'encoder') return expect(score).toBeGreaterThan(0.5);
    // Greedy decoding writes the target where the scorer says so, and only there.
    const attached = await attach(model, adapter);
    if (attached.kind === 'encoder') throw new Error('it writes');
    const generator = new Generator(attached, { adapt: attached.adapt });
    const eosIds = endsOf(model);
    const ids = fit.val.map((e) => model.tokenizer.encode(promptOf(model.kind, e)));
    const out = await generator.generate({ ids, eosIds }, { maxNewTokens: shape.targetLength });
    await generator.release();
    expect(out.ids.map((own, i) => String(own) === String(texts[i]!.target))).toEqual(right);
  });
});

test('a text too long is cut alike in training and in prediction', async () => {
  const [long] = tinyTexts(1, 1).map((e) => ({
    ...e,
    parts: { text: 'zero one two red green blue dog cat' },
  }));
  for (const [family, kept] of [
    ['t5', 'text: zero one two'],
    ['gpt2', 'blue dog cat answer:'],
  ] as const) {
    const model = await tinyLanguage(family);
    const { ids, target } = encodeText(model, task, long!, 6);
    const most = family === 't5' ? 6 : 6 - target.length;
    const read = promptIds(model, long!, most);
    expect(read).toHaveLength(most);
    expect(ids.slice(0, most)).toEqual(read);
    expect(model.tokenizer.decode(read.filter((id) => id > 2))).toBe(kept);
  }
});

test('stopped and resumed, it ends with the same parameters', async () => {
  const fit = await fitOf('t5', 'lora');
  const { adapter } = await drained(fitLanguage(fit));
  const dir = await mkdtemp(join(tmpdir(), 'attune-lm-'));
  const stop = new AbortController();
  const run = fitLanguage({ ...fit, dir, signal: stop.signal });
  for await (const e of run) if (e.type === 'step' && e.step === 70) stop.abort();
  const resumed = await drained(fitLanguage({ ...fit, dir, resume: true }));
  expect(plain(resumed.adapter.tensors)).toEqual(plain(adapter.tensors));
});
const plain = (values: Values) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [...toFloat32(value).data]]));
