import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLanguageModel } from '../../hub/index.ts';
import type { Values } from '../../train/index.ts';
import { textStep } from '../testing/text-step.ts';
import { tinyClasses, tinyFamilies, tinyLanguage, tinyTexts } from '../testing/tiny-language.ts';
import { foldWeights, saveFolded } from './fold.ts';
import { findLanguageMethod } from './list.ts';

const task = { kind: 'classification', classes: tinyClasses, parts: ['text'] } as const;
const texts = tinyTexts(5, 1);

/** An adapter of values that do something, and what the model says with it. */
async function adapted(family: (typeof tinyFamilies)[number], name: string, options: object) {
  const model = await tinyLanguage(family);
  const method = findLanguageMethod(name);
  const injection = await method.inject({ model, task }, method.options.parse(options));
  const { values } = await textStep(model, injection, task, texts);
  const tensors: Values = Object.fromEntries(
    Object.entries(values).map(([key, v]) => [
      key,
      { ...v, data: Float32Array.from(v.data as Float32Array, (x, i) => x + 0.1 * Math.sin(i + key.length)) },
    ]),
  );
  const { logits } = await textStep(model, injection, task, texts, { params: tensors });
  return { model, adapter: { method: name, options: options as never, task, tensors }, logits };
}

const kinds: [name: string, options: object][] = [
  ['lora', { rank: 2 }],
  ['lora', { rank: 2, dora: true }],
  ['ia3', {}],
  ['full-fine-tuning', {}],
];
test.each(tinyFamilies.flatMap((family) => kinds.map((kind) => [family, ...kind] as const)))(
  '%s with %s %j in its weights says what it says with the adapter',
  async (family, name, options) => {
    const { model, adapter, logits } = await adapted(family, name, options);
    const dir = await mkdtemp(join(tmpdir(), 'attune-fold-'));
    await saveFolded(dir, model, adapter);
    const plain = { ...model, ...(await readLanguageModel(dir)) };
    const head = Object.entries(adapter.tensors).filter(([key]) => key.startsWith('classifier'));
    // Gradients need parameters: the folded weights themselves, as they are.
    const whole = await findLanguageMethod('full-fine-tuning').inject({ model: plain, task }, {} as never);
    const own = await textStep(plain, whole, task, texts, { params: Object.fromEntries(head) });
    const scale = Math.max(1, ...logits.map(Math.abs));
    own.logits.forEach((x, i) => {
      expect(Math.abs(x - logits[i]!) / scale).toBeLessThan(2e-5);
    });
  },
);

test.each([
  ['prompt-tuning', { length: 2 }, 'soft tokens cannot be folded'],
  ['prefix-tuning', { length: 2 }, 'a prefix cannot be folded'],
  ['adapters', { bottleneck: 2 }, 'changes of activations cannot be folded'],
])('%s is refused', async (name, options, message) => {
  const { model, adapter } = await adapted('t5', name, options);
  await expect(foldWeights(model, adapter)).rejects.toThrow(message);
});

test('biases fold where the model has a place for them', async () => {
  const bert = await adapted('bert', 'bitfit', {});
  const folded = await foldWeights(bert.model, bert.adapter);
  const name = 'bert.encoder.layer.0.attention.self.query.bias';
  expect([...folded[name]!.data]).toEqual([...bert.adapter.tensors[name]!.data]);
  const t5 = await adapted('t5', 'bitfit', {});
  await expect(foldWeights(t5.model, t5.adapter)).rejects.toThrow('changes of activations');
});
