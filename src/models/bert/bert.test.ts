import { describe, expect, test } from 'vitest';
import type { Tensor } from '../../graph/index.ts';
import type { EncoderInputs } from '../language/index.ts';
import {
  ends,
  expectGolden,
  expectTaps,
  goldenInputs,
  leftInputs,
  named,
  variant,
} from '../testing/language.ts';
import { parseBertConfig } from './config.ts';

const variants = ['masked', 'old-names', 'classifier', 'roberta-masked', 'roberta-classifier'];

describe.each(variants)('%s equals transformers', (name) => {
  test('every hidden state and the head, padded on either side, with types, soft tokens, a prefix', async () => {
    const v = await variant('encoder', 'bert', name);
    const { model, heads } = v;
    const classifies = name.includes('classifier');
    expect(heads.has(classifies ? 'classify' : 'maskedLogits')).toBe(true);
    expect(heads.has(classifies ? 'maskedLogits' : 'classify')).toBe(false);
    const names = await expectGolden(v, goldenInputs(model.layers, 'types'), (s, feeds) => {
      const run = (prefix: string, inputs: EncoderInputs & { mask: Tensor }) => {
        const { hiddenStates, last } = model.encode(s, inputs);
        const scores: Record<string, Tensor> = classifies
          ? { classes: model.classify(s, model.pool(s, last)) }
          : { logits: model.maskedLogits(s, last) };
        return named(prefix, inputs.mask, hiddenStates, { last, ...scores });
      };
      const { left, soft, past } = leftInputs(feeds, (ids) => model.embed(s, ids));
      return {
        ...run('right', { tokens: feeds['right.ids']!, mask: feeds['right.mask']! }),
        ...run('left', left),
        ...run('typed', { ...left, types: feeds.types! }),
        ...run('soft', soft),
        ...run('past', past),
      };
    });
    expect(names).toHaveLength(5 * (model.layers + 2));
  });
});

test.each([
  ['masked', 'bert'],
  ['roberta-classifier', 'roberta'],
])('taps of %s', async (name, base) => {
  const { weights, model } = await variant('encoder', 'bert', name);
  const self = ['query', 'key', 'value'].map((m) => `.attention.self.${m}`);
  const layer = ['', ...self, '.attention.output.dense', '.intermediate.dense', '.output.dense'];
  const at = `${base}.encoder.layer.*`;
  const patterns = {
    once: [`${base}.embeddings.word_embeddings:out`, `${base}.embeddings:out`],
    layer: [...ends(...layer.map((m) => at + m)), `${at}.attention.self:probabilities`],
  };
  expectTaps(weights, model.layers, patterns, (s, tokens) => model.encode(s, { tokens }));
});

describe('config.json', () => {
  test('keys left out have the values of transformers', () => {
    const both = {
      ...{ width: 768, layers: 12, heads: 12, mlpWidth: 3072, activation: 'gelu', eps: 1e-12 },
      ...{ positions: 512, types: 2, labels: ['LABEL_0', 'LABEL_1'], tied: true },
    };
    expect(parseBertConfig({})).toEqual({ ...both, roberta: false, vocabulary: 30522, padId: 0 });
    expect(parseBertConfig({ model_type: 'xlm-roberta' })).toEqual({
      ...{ ...both, roberta: true, vocabulary: 50265, padId: 1 },
    });
    expect(parseBertConfig({ id2label: { 0: 'no', 1: 'yes', 2: 'maybe' } }).labels).toEqual([
      'no',
      'yes',
      'maybe',
    ]);
  });

  test('what is not computed is refused, with the key', () => {
    expect(() => parseBertConfig({ model_type: 'electra' })).toThrow(
      'describes a "electra" model, not "bert" or',
    );
    expect(() => parseBertConfig({ is_decoder: true })).toThrow(
      'config.json: is_decoder must be false, not true',
    );
    expect(() => parseBertConfig({ position_embedding_type: 'relative_key' })).toThrow(
      'config.json: position_embedding_type must be "absolute", not "relative_key"',
    );
  });
});
