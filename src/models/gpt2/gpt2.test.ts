import { describe, expect, test } from 'vitest';
import { decoderStates, ends, expectGolden, expectTaps, goldenInputs, variant } from '../testing/language.ts';
import { parseGpt2Config } from './config.ts';

describe.each(['tied', 'base-names', 'untied-scaled'])('%s equals transformers', (name) => {
  test('every hidden state and the logits, padded on either side, with soft tokens, behind a prefix', async () => {
    const v = await variant('causal', 'gpt2', name);
    const { model } = v;
    const names = await expectGolden(v, goldenInputs(model.layers, 'left.positions'), (s, feeds) =>
      decoderStates(s, model, feeds),
    );
    expect(names).toHaveLength(4 * (model.layers + 2));
  });
});

test('taps', async () => {
  const { weights, model } = await variant('causal', 'gpt2', 'tied');
  const layer = ['', '.attn.c_attn', '.attn.c_proj', '.mlp.c_fc', '.mlp.c_proj'].map(
    (m) => `transformer.h.*${m}`,
  );
  const patterns = {
    once: ['transformer.wte:out'],
    layer: [...ends(...layer), 'transformer.h.*.attn:probabilities'],
  };
  expectTaps(weights, model.layers, patterns, (s, tokens) => model.decode(s, { tokens }));
});

describe('config.json', () => {
  test('keys left out have the values of transformers', () => {
    expect(parseGpt2Config({ n_inner: null })).toEqual({
      ...{ vocabulary: 50257, context: 1024, width: 768, layers: 12, heads: 12, mlpWidth: 3072 },
      ...{ activation: 'gelu_new', eps: 1e-5, scaleScores: true, scaleByLayer: false, tied: true },
    });
  });

  test('what is not computed is refused, with the key', () => {
    expect(() => parseGpt2Config({ model_type: 'gptj' })).toThrow('describes a "gptj" model, not "gpt2"');
    expect(() => parseGpt2Config({ add_cross_attention: true })).toThrow(
      'config.json: add_cross_attention must be false, not true',
    );
    expect(() => parseGpt2Config({ n_head: 7 })).toThrow('the width 768 is not a multiple of its 7 heads');
  });
});
