import { describe, expect, test } from 'vitest';
import { constant, type HostTensor, type Tensor } from '../../graph/index.ts';
import { expectClose } from '../../graph/testing/golden.ts';
import { trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
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
        const one = () => model.encode(s, { ...inputs, readAt: 0 }).last;
        const scores: Record<string, Tensor> = classifies
          ? { classes: model.classify(s, model.pool(s, one())) }
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

test('the state at one position is that among all, whether or not the layer is tapped', async () => {
  const { weights, model, golden } = await variant('encoder', 'bert', 'masked');
  const tokens = constant(await golden('right.ids'));
  const mask = constant(await golden('right.mask'));
  const states = (readAt?: number, tap = '') => {
    const shapes: string[] = [];
    const note = (x: Tensor) => {
      shapes.push(String(x.shape));
      return x;
    };
    const { result } = trace(weights, (s) =>
      model.encode(tap ? s.intercept({ tap: { [tap]: note } }) : s, { tokens, mask, readAt }),
    );
    return { ...result, shapes };
  };
  const last = `bert.encoder.layer.${model.layers - 1}`;
  const [batch, length] = tokens.shape as [number, number];
  const whole = String([batch, length, model.width]);
  const [all, one, tapped] = [states(), states(2, `${last}.output.dense:out`), states(2, `${last}:out`)];
  expect(one.shapes).toEqual([String([batch, 1, model.width])]);
  expect(tapped.shapes).toEqual([whole]);
  for (const { hiddenStates } of [one, tapped]) {
    expect(hiddenStates.map((h) => String(h.shape))).toEqual(Array(model.layers).fill(whole));
  }
  const numbers = ({ data }: HostTensor) => Array.from(data, Number);
  const values = await runOnce({ all: all.last.slice(1, 2, 3), one: one.last, tapped: tapped.last }, {});
  for (const name of ['one', 'tapped'] as const) {
    expectClose(numbers(values[name]!), numbers(values.all!), name, 1e-5);
  }
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
