/** Exported models, run by transformers.js, say what they say here. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AutoModelForCausalLM,
  AutoModelForSeq2SeqLM,
  AutoModelForSequenceClassification,
  Tensor,
} from '@huggingface/transformers';
import { expect, test } from 'vitest';
import { Generator } from '../../models/generation/index.ts';
import type { Values } from '../../train/index.ts';
import { textStep } from '../testing/text-step.ts';
import { tinyClasses, tinyFamilies, tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { attach, injectionOf } from './adapter.ts';
import { findLanguageMethod } from './list.ts';
import { exportLanguage } from './onnx.ts';
import { TextScorer } from './scorer.ts';
import { encodeText, shapeOf } from './texts.ts';

const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
const texts = tinyTexts(5, 1);

/** An adapter of values that do something. */
async function adapted(family: (typeof tinyFamilies)[number], name: string, options: object) {
  const model = await tinyLanguage(family);
  const method = findLanguageMethod(name);
  const parsed = method.options.parse(options);
  const folded = await method.folded?.({ model, task }, parsed);
  const injection = folded?.injection ?? (await method.inject({ model, task }, parsed));
  const { values } = await textStep(model, injection, task, texts);
  const tensors: Values = Object.fromEntries(
    Object.entries(values).map(([key, v]) => [
      key,
      { ...v, data: Float32Array.from(v.data as Float32Array, (x, i) => x + 0.3 * Math.sin(i + key.length)) },
    ]),
  );
  const adapter = { method: name, options: options as never, task, tensors };
  const dir = await mkdtemp(join(tmpdir(), 'attune-onnx-'));
  await exportLanguage(dir, model, adapter);
  return { model, adapter, dir };
}

/** Rows of one length, 0 as padding, and their mask. */
function padded(rows: readonly (readonly number[])[], side: 'left' | 'right') {
  const length = Math.max(...rows.map((r) => r.length));
  const fill = (row: readonly number[], rest: number[]) =>
    side === 'left' ? [...rest, ...row] : [...row, ...rest];
  const tensor = (of: (row: readonly number[]) => readonly number[]) =>
    new Tensor(
      'int64',
      BigInt64Array.from(rows.flatMap((r) => fill(of(r), Array(length - r.length).fill(0))).map(BigInt)),
      [rows.length, length],
    );
  return { input_ids: tensor((r) => r), attention_mask: tensor((r) => r.map(() => 1)) };
}

const load = { dtype: 'fp32', local_files_only: true } as const;
const methods: [name: string, options: object][] = [
  ['lora', { rank: 2 }],
  ['prompt-tuning', { length: 2 }],
  ['prompt-tuning', { length: 3, readAt: 'text' }],
  ['prefix-tuning', { length: 2 }],
  ['adapters', { bottleneck: 2 }],
  ['dept', { length: 2, rank: 1, init: 'vocabulary' }],
  ['p-tuning', { length: 2 }],
  ['attempt', { length: 2 }],
  ['bitfit', {}],
  ['full-fine-tuning', {}],
];
const cases = tinyFamilies.flatMap((family) =>
  methods
    .filter(([name]) => name !== 'attempt' || !['gpt2', 'llama'].includes(family))
    .map((method) => [family, ...method] as const),
);
const encoders = cases.filter(([family]) => family === 'bert' || family === 'roberta');
const writers = cases.filter(([family]) => family !== 'bert' && family !== 'roberta');

test.each(encoders)('%s with %s %j: classes', async (family, name, options) => {
  const { model, adapter, dir } = await adapted(family, name, options);
  const own = texts.map((e, i) =>
    encodeText(
      model,
      task,
      {
        ...e,
        parts: {
          text: e.parts
            .text!.split(' ')
            .slice(i % 2)
            .join(' '),
        },
      },
      16,
    ),
  );
  const scorer = await TextScorer.compile(
    model,
    await injectionOf(model, adapter),
    task,
    shapeOf(own, own.length),
  );
  const { logits } = await scorer.score(adapter.tensors, own);
  const there = await AutoModelForSequenceClassification.from_pretrained(dir, load);
  const { logits: got } = await there(
    padded(
      own.map(({ ids }) => ids),
      'right',
    ),
  );
  const wanted = logits.flatMap((row) => Array.from(row));
  expect(got.dims).toEqual([own.length, tinyClasses.length]);
  Array.from(got.data as Float32Array).forEach((x, i) => {
    expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-4);
  });
  await there.dispose();
  await scorer.release();
});

test.each(writers)('%s with %s %j: what is written', async (family, name, options) => {
  const { model, adapter, dir } = await adapted(family, name, options);
  const attached = await attach(model, adapter);
  if (attached.kind === 'encoder') throw new Error('not a writer');
  const generator = new Generator(attached, { adapt: attached.adapt });
  const causal = model.kind === 'causal';
  const AutoModel = causal ? AutoModelForCausalLM : AutoModelForSeq2SeqLM;
  const there = await AutoModel.from_pretrained(dir, load);
  for (const ids of [
    [[3, 8, 5, 4]],
    [
      [9, 4],
      [3, 11, 7, 6, 12],
    ],
  ]) {
    const { ids: wanted } = await generator.generate({ ids, eosIds: [] }, { maxNewTokens: 6 });
    const given = { ...padded(ids, causal ? 'left' : 'right'), max_new_tokens: 6, eos_token_id: null };
    const out = (await there.generate(given as never)) as Tensor;
    const written = (out.tolist() as bigint[][]).map((row) => row.slice(-6).map(Number));
    expect(written).toEqual(wanted.map((row) => Array.from(row)));
  }
  await there.dispose();
  await generator.release();
});
