import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { concat, constant, type HostTensor, i64, type Tensor, toFloat32 } from '../../graph/index.ts';
import { type LanguageModel, loadAdapter, readLanguageModel, readSafetensors } from '../../hub/index.ts';
import { shiftRight } from '../../models/language/index.ts';
import { difference, shown } from '../../models/testing/language.ts';
import { trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { patterned } from '../lm-baselines/lora.ts';
import { type TinyFamily, tinyLanguage } from '../testing/tiny-language.ts';
import { attach } from './adapter.ts';
import { copied, fromPeft, toPeft } from './peft.ts';

/** What tools/reference/peft_adapters.py wrote. */
const root = join(import.meta.dirname, 'testdata/peft');
const folder = (name: string) => join(root, name);
const t5v11 = async (): Promise<LanguageModel> => ({
  ...(await readLanguageModel(join(import.meta.dirname, '../../models/t5/testdata/v1.1'))),
  spec: 't5v1.1',
  tokenizer: (await tinyLanguage('t5')).tokenizer,
});
const read = async (name: string) => {
  const [base] = name.split('-') as [string];
  const model = base === 't5v1.1' ? await t5v11() : await tinyLanguage(base as TinyFamily);
  return { model, files: await loadAdapter(folder(name)) };
};
const given = (value: HostTensor): Tensor => constant(i64(Array.from(value.data, Number), value.shape));

describe.each(readdirSync(root))('%s', (name) => {
  test('says what it says in Python', async () => {
    const { model, files } = await read(name);
    const warnings: string[] = [];
    const adapter = await fromPeft(model, files, name, { onWarning: (text) => warnings.push(text) });
    expect(warnings).toEqual([]);
    const golden = await readSafetensors(join(folder(name), 'golden.safetensors'));
    const value = (key: string) => golden.get(key)!.load();
    const [ids, mask] = [given(await value('input_ids')), given(await value('attention_mask'))];
    const labels = golden.get('labels') && given(await value('labels'));
    const attached = await attach(model, adapter);
    const { result } = trace(model.weights, (outer) => {
      const s = attached.adapt(outer);
      if (attached.kind === 'encoder') {
        const { last } = attached.model.encode(s, { tokens: ids, mask });
        return attached.model.classify(s.trained(), attached.model.pool(s, last), 3);
      }
      if (attached.kind === 'causal') {
        const logits = attached.model.logits(s, attached.model.decode(s, { tokens: ids, mask }).last);
        const soft = logits.dim(1) - mask.dim(1);
        const before = constant(i64(Array<number>(2 * soft).fill(1), [2, soft]));
        return shown(logits, soft ? concat([before, mask], 1) : mask);
      }
      const memory = attached.model.memory(s, attached.model.encode(s, { tokens: ids, mask }).last);
      const tokens = shiftRight(labels!, attached.model);
      return attached.model.logits(s, attached.model.decode(s, { tokens }, memory, mask).last);
    });
    const { y } = await runOnce({ y: result }, {});
    expect(difference(y, await value('logits'))).toBeLessThan(1e-4);
  });

  test('is written again as it was', async () => {
    const { model, files } = await read(name);
    const again = toPeft(model, await fromPeft(model, files, name))!;
    const stored = Object.entries(files.tensors).filter(([key]) => !copied.test(key));
    expect(Object.keys(again.tensors).sort()).toEqual(stored.map(([key]) => key).sort());
    for (const [key, value] of stored) {
      const { shape, data } = toFloat32(value);
      // Rows for the decoder, which peft does not read, are left out.
      const rows = name === 't5-prompt-both' ? 3 : shape[0]!;
      expect(again.tensors[key]!.shape, key).toEqual([rows, ...shape.slice(1)]);
      expect(again.tensors[key]!.data, key).toEqual(data.slice(0, (data.length / shape[0]!) * rows));
    }
    for (const key of [
      'peft_type',
      'r',
      'lora_alpha',
      'num_virtual_tokens',
      'token_dim',
      'bias',
      'use_dora',
      'rank_pattern',
    ]) {
      expect(again.config[key], key).toEqual(files.config[key]);
    }
  });
});

describe('what cannot be read is named', () => {
  const changed = async (
    change: (config: Record<string, unknown>, tensors: Record<string, HostTensor>) => void,
  ) => {
    const { model, files } = await read('bert-lora');
    const [config, tensors] = [{ ...files.config }, { ...files.tensors }];
    change(config, tensors);
    const warnings: string[] = [];
    const adapter = fromPeft(model, { config, tensors }, 'there', {
      onWarning: (text) => warnings.push(text),
    });
    return { adapter, warnings };
  };
  const first = 'base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight';
  test.each([
    [
      'an unknown kind',
      (c: Record<string, unknown>) => (c.peft_type = 'LOHA'),
      'peft_type "LOHA" is not supported',
    ],
    [
      'a key that is not here',
      (c: Record<string, unknown>) => (c.layers_to_transform = [1]),
      'layers_to_transform is set',
    ],
    ['a wrong value', (c: Record<string, unknown>) => (c.r = 'two'), 'adapter_config.json: r: '],
    [
      'targets that match nothing',
      (c: Record<string, unknown>) => (c.target_modules = ['nowhere']),
      '"nowhere" names no matrix',
    ],
    [
      'a regular expression of Python',
      (c: Record<string, unknown>) => (c.target_modules = '(?P<any>.*)query'),
      '"(?P<any>.*)query" is no regular expression of JavaScript',
    ],
    [
      'a missing tensor',
      (_c: unknown, t: Record<string, HostTensor>) => delete t[first],
      'missing "bert.encoder.layer.0.attention.self.query.lora_A"',
    ],
    [
      'a foreign tensor',
      (_c: unknown, t: Record<string, HostTensor>) => (t.other = t[first]!),
      'unknown "other"',
    ],
    ['another rank', (c: Record<string, unknown>) => (c.r = 5), 'but bert needs [5,16]'],
  ])('%s', async (_what, change, message) => {
    await expect((await changed(change as never)).adapter).rejects.toThrow(message);
  });
  test('a target that the model has not is a warning beside others that it has', async () => {
    const { adapter, warnings } = await changed((c) => (c.target_modules = ['value', 'q_proj', 'query']));
    expect((await adapter).options.targets).toEqual(['value', 'query']);
    expect(warnings).toEqual(['there: target_modules: "q_proj" names no matrix of bert and is left out']);
  });
  test('a pattern of ranks begins at a segment of the path', () => {
    const path = 'transformer.h.1.attn.c_proj';
    expect(patterned({ proj: 1 }, path)).toBeUndefined();
    expect(patterned({ proj: 1, 'attn.c_proj': 2 }, path)).toBe(2);
    expect(patterned({ 'h\\.[12].*': 3 }, path)).toBe(3);
  });
  test('an unknown key is a warning', async () => {
    const { adapter, warnings } = await changed((c) => (c.lora_alfa = 7));
    await adapter;
    expect(warnings).toEqual([
      'there: adapter_config.json: unknown key "lora_alfa" (did you mean "lora_alpha"?) is left out',
    ]);
  });
});

test.each([[], ['wo']])(
  '(IA)³ without a feed-forward part is read: feedforward_modules %j',
  async (...feedForward) => {
    const { model, files } = await read('t5-ia3');
    const config = { ...files.config, target_modules: ['k', 'v'], feedforward_modules: feedForward };
    const own = Object.entries(files.tensors).filter(([name]) => !name.includes('.wo.'));
    const adapter = await fromPeft(model, { config, tensors: Object.fromEntries(own) }, 'there');
    const again = toPeft(model, adapter)!;
    expect(Object.keys(again.tensors).sort()).toEqual(own.map(([name]) => name).sort());
    expect(again.config).toMatchObject({ target_modules: ['k', 'v'], feedforward_modules: feedForward });
  },
);
