import { describe, expect, test } from 'vitest';
import { decoderStates, ends, expectGolden, expectTaps, goldenInputs, variant } from '../testing/language.ts';
import { llamaTypes, parseLlamaConfig } from './config.ts';

const variants = ['llama3', 'old-linear', 'mistral', 'qwen2', 'qwen3-yarn'];

describe.each(variants)('%s equals transformers', (name) => {
  test('every hidden state and the logits, padded on either side, with soft tokens, behind a prefix', async () => {
    const v = await variant('causal', 'llama', name);
    const { model } = v;
    const names = await expectGolden(v, goldenInputs(model.layers, 'left.positions'), (s, feeds) =>
      decoderStates(s, model, feeds),
    );
    expect(names).toHaveLength(4 * (model.layers + 2));
  });
});

test('taps', async () => {
  const { weights, model } = await variant('causal', 'llama', 'mistral');
  const matrices = ['q', 'k', 'v', 'o'].map((m) => `.self_attn.${m}_proj`);
  const layer = ['', ...matrices, ...['gate', 'up', 'down'].map((m) => `.mlp.${m}_proj`)];
  const patterns = {
    once: ['model.embed_tokens:out'],
    layer: [...ends(...layer.map((m) => `model.layers.*${m}`)), 'model.layers.*.self_attn:probabilities'],
  };
  expectTaps(weights, model.layers, patterns, (s, tokens) => model.decode(s, { tokens }));
});

describe('config.json', () => {
  test.each(llamaTypes)('keys that a %s leaves out have the values of transformers', (type) => {
    const { rope, ...config } = parseLlamaConfig({ model_type: type });
    expect(rope).toMatchObject({ factor: 1, frequencies: { length: config.headWidth / 2 } });
    expect(rope.frequencies.at(-1)).toBeCloseTo(1e4 ** (2 / config.headWidth - 1), 12);
    const qwen = { vocabulary: 151936, context: 32768, mlpWidth: 22016 };
    const own = {
      llama: {},
      mistral: { context: 4096, mlpWidth: 14336, keyHeads: 8 },
      qwen2: { ...qwen, bias: { qkv: true, output: false, mlp: false } },
      qwen3: { ...qwen, headNorm: true },
    }[type];
    expect(config).toEqual({
      ...{ vocabulary: 32000, context: 2048, width: 4096, layers: 32, heads: 32, keyHeads: 32 },
      ...{ headWidth: 128, mlpWidth: 11008, activation: 'silu', eps: 1e-6, headNorm: false, tied: false },
      bias: { qkv: false, output: false, mlp: false },
      ...own,
    });
  });

  test('what is not computed is refused, with the key', () => {
    const fails = (json: Record<string, unknown>) => expect(() => parseLlamaConfig(json));
    fails({ model_type: 'gemma' }).toThrow('describes a "gemma" model, not "llama" or "mistral"');
    fails({ rope_scaling: { type: 'dynamic', factor: 2 } }).toThrow(
      'rope_scaling.rope_type must be "default" or "linear" or "llama3" or "yarn", not "dynamic"',
    );
    fails({ rope_parameters: { rope_type: 'llama3', factor: 8 } }).toThrow(
      'config.json: rope_parameters.low_freq_factor must be a number, not undefined',
    );
    fails({ num_key_value_heads: 5 }).toThrow('32 attention heads are not a multiple of 5 key-value heads');
    fails({ model_type: 'qwen2', layer_types: ['full_attention', 'sliding_attention'] }).toThrow(
      'config.json: layer_types must all be "full_attention"',
    );
  });
});
