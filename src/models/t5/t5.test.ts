import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { concat, constant, f32, i64, input, type Tensor } from '../../graph/index.ts';
import { readLanguageModel } from '../../hub/language.ts';
import { writeSafetensors } from '../../hub/safetensors.ts';
import { trace } from '../../nn/index.ts';
import { seq2seqLoss, shiftRight } from '../language/index.ts';
import { ends, expectGolden, expectTaps, leftInputs, named, variant } from '../testing/language.ts';
import { parseT5Config } from './config.ts';
import { bucketOf } from './relative.ts';

describe.each(['v1.0', 'v1.1', 'mt5'])('%s equals transformers', (name) => {
  test('states of both stacks, logits and losses, padded on either side, with soft tokens, behind a prefix', async () => {
    const v = await variant('seq2seq', 't5', name);
    const { model } = v;
    const past = Array.from({ length: model.decoderLayers }, (_, i) => [`key.${i}`, `value.${i}`]).flat();
    const sides = ['right.ids', 'right.mask', 'left.ids', 'left.mask', 'soft', 'target.ids', 'target.mask'];
    const names = await expectGolden(v, ['labels', ...sides, ...past], (s, feeds) => {
      const { left, soft, past } = leftInputs(feeds, (ids) => model.embed(s, ids));
      const labels = feeds.labels!;
      const seen = labels.add(100).cast('bool').cast('int64');
      const run = (prefix: string, source: { tokens: Tensor; mask: Tensor }) => {
        const encoded = model.encode(s, source);
        const memory = model.memory(s, encoded.last);
        const decoded = model.decode(s, { tokens: shiftRight(labels, model) }, memory, source.mask);
        const { loss, logits } = seq2seqLoss(s, model, source, labels);
        return {
          ...named(`${prefix}.encoder`, source.mask, encoded.hiddenStates, { last: encoded.last }),
          ...named(`${prefix}.decoder`, seen, decoded.hiddenStates, { last: decoded.last, logits }),
          [`${prefix}.loss`]: loss,
        };
      };
      const mask = concat([constant(i64([1, 1, 1], [1, 3])).expand([3, 3]), feeds['target.mask']!], 1);
      const memory = model.memory(s, model.encode(s, left).last);
      const inputs = { tokens: feeds['target.ids']!, mask, past: past.past };
      const behind = model.decode(s, inputs, memory, left.mask);
      const rest = { last: behind.last, logits: model.logits(s, behind.last) };
      return {
        ...run('right', { tokens: feeds['right.ids']!, mask: feeds['right.mask']! }),
        ...run('left', left),
        ...run('soft', soft),
        ...named('past.decoder', mask, behind.hiddenStates, rest),
      };
    });
    expect(names).toHaveLength(3 * (model.layers + 1 + model.decoderLayers + 3) + model.decoderLayers + 2);
  });

  test('distances fall into the buckets of transformers', async () => {
    const { golden, folder } = await variant('seq2seq', 't5', name);
    const c = parseT5Config(JSON.parse(await readFile(`${folder}/config.json`, 'utf8')));
    for (const bidirectional of [true, false]) {
      const want = (await golden(`buckets.${bidirectional ? 'encoder' : 'decoder'}`)).data;
      const kinds = { count: c.buckets, maxDistance: c.maxDistance, bidirectional };
      expect(Array.from({ length: 601 }, (_, i) => bucketOf(i - 300, kinds))).toEqual(
        Array.from(want, Number),
      );
    }
  });
});

test('taps', async () => {
  const { weights, model } = await variant('seq2seq', 't5', 'v1.1');
  const matrices = (at: string) => ['q', 'k', 'v', 'o'].map((m) => `${at}.${m}`);
  const block = (stack: string, feedForward: number) => {
    const at = `${stack}.block.*`;
    const inner = ['wi_0', 'wi_1', 'wo'].map((m) => `${at}.layer.${feedForward}.DenseReluDense.${m}`);
    const self = `${at}.layer.0.SelfAttention`;
    return [...ends(at, ...matrices(self), ...inner), `${self}:probabilities`];
  };
  const across = 'decoder.block.*.layer.1.EncDecAttention';
  const layer = [
    ...block('encoder', 1),
    ...block('decoder', 2),
    ...ends(...matrices(across)),
    `${across}:probabilities`,
  ];
  expectTaps(weights, model.layers, { once: [], layer }, (s, tokens) => {
    const memory = model.memory(s, model.encode(s, { tokens }).last);
    model.decode(s, { tokens }, memory);
  });
  // Both sides read the same table.
  let reads = 0;
  const count = (x: Tensor) => {
    reads++;
    return x;
  };
  trace(weights, (s) =>
    model.embed(s.intercept({ tap: { 'shared:out': count } }), input('ids', [1, 2], 'int64')),
  );
  expect(reads).toBe(1);
});

test('a file may hold the table under the name of a copy, and unused biases', async () => {
  const { folder, weights } = await variant('seq2seq', 't5', 'v1.0');
  const copy = await mkdtemp(join(tmpdir(), 't5-'));
  try {
    await cp(join(folder, 'config.json'), join(copy, 'config.json'));
    const tensors = await Promise.all(
      weights.names().map(async (name) => [name, await weights.get(name)!.load()] as const),
    );
    const { 'shared.weight': table, ...rest } = Object.fromEntries(tensors);
    const across = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight';
    const unused = { [across]: f32([0]), 'decoder.embed_tokens.weight': table! };
    await writeSafetensors(join(copy, 'model.safetensors'), {
      ...rest,
      ...unused,
      'encoder.embed_tokens.weight': table!,
    });
    const read = await readLanguageModel(copy);
    expect(await read.weights.get('shared.weight')!.load()).toEqual(table);
  } finally {
    await rm(copy, { recursive: true });
  }
});

describe('config.json', () => {
  test('keys left out have the values of transformers', () => {
    const both = {
      ...{ width: 512, headWidth: 64, buckets: 32, maxDistance: 128, eps: 1e-6 },
      ...{ startId: 0, padId: 0, tied: true },
    };
    expect(parseT5Config({})).toEqual({
      ...{ ...both, vocabulary: 32128, mlpWidth: 2048, layers: 6, decoderLayers: 6, heads: 8 },
      ...{ activation: 'relu', gated: false, scaleScores: true },
    });
    expect(parseT5Config({ model_type: 'mt5' })).toEqual({
      ...{ ...both, vocabulary: 250112, mlpWidth: 1024, layers: 8, decoderLayers: 8, heads: 6 },
      ...{ activation: 'gelu_new', gated: true, scaleScores: false },
    });
    expect(
      parseT5Config({ tie_word_embeddings: false, feed_forward_proj: 'gated-silu' }, true),
    ).toMatchObject({
      ...{ activation: 'silu', gated: true, scaleScores: false, tied: false },
    });
  });

  test('what is not computed is refused, with the key', () => {
    expect(() => parseT5Config({ model_type: 'umt5' })).toThrow(
      'describes a "umt5" model, not "t5" or "mt5"',
    );
    expect(() => parseT5Config({ feed_forward_proj: 'gated-glu' })).toThrow(
      'activation feed_forward_proj "glu"',
    );
    expect(() => parseT5Config({ is_encoder_decoder: false })).toThrow(
      'config.json: is_encoder_decoder must be true, not false',
    );
  });
});
