import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  arange,
  concat,
  cumSum,
  encodeFree,
  type FreeSize,
  gather,
  input,
  maximum,
  memoryWeights,
  type Tensor,
  type WeightSource,
  weight,
} from '../../graph/index.ts';
import { type LanguageModel, writeAtomic } from '../../hub/index.ts';
import type { CausalModel, EncoderModel, KeyValue, Seq2SeqModel } from '../../models/language/index.ts';
import { mapTree, type Scope, trace } from '../../nn/index.ts';
import { injectionOf, type LanguageAdapter } from './adapter.ts';
import { foldWeights, notFoldable, saveDescription } from './fold.ts';
import {
  behindSoft,
  extended,
  type Injection,
  injectEncoder,
  injectPairs,
  injectScope,
  keyValues,
} from './injection.ts';

type Sizes = Readonly<Record<string, number>>;
interface Graph {
  readonly sizes: Readonly<Record<string, FreeSize>>;
  readonly outputs: (s: Scope, sizes: Sizes) => Record<string, Tensor>;
}

/**
 * Writes the model with the adapter as ONNX in the layout that transformers.js reads: `config.json` and the tokenizer, and in
 * `onnx/` a `model.onnx` (encoders and decoders), or `encoder_model.onnx` and `decoder_model_merged.onnx`. The adapter is in the
 * weights where it can be folded; prompts, prefixes and bottlenecks are part of the graph. Batch and lengths are free. Weights keep the
 * precision of their file, but for those that the adapter changes. Returns the paths of the ONNX files.
 */
export async function exportLanguage(
  dir: string,
  model: LanguageModel,
  adapter: LanguageAdapter,
): Promise<string[]> {
  const foldable = (await notFoldable(model, adapter)) === undefined;
  const injection = foldable ? {} : await injectionOf(model, adapter);
  const weights = foldable
    ? overlaid(model.weights, memoryWeights(await foldWeights(model, adapter)))
    : model.weights;
  const tensors = memoryWeights(adapter.tensors);
  const values = mapTree(adapter.tensors, (_, name): Tensor => weight(tensors.get(name)!));
  await mkdir(join(dir, 'onnx'), { recursive: true });
  const files: string[] = [];
  for (const [name, { sizes, outputs }] of Object.entries(graphsOf(model, adapter, injection))) {
    const { bytes } = await encodeFree(
      sizes,
      (own) =>
        trace(weights, (s) => outputs(injectScope(s, injection, values), own), { partial: true }).result,
      { weights: 'inline' },
    );
    const file = join(dir, 'onnx', name);
    await writeAtomic(file, [bytes]);
    files.push(file);
  }
  await saveDescription(dir, model, adapter);
  return files;
}

/** Weights of which some are others. */
const overlaid = (below: WeightSource, above: WeightSource): WeightSource => ({
  label: below.label,
  names: () => [...new Set([...below.names(), ...above.names()])],
  get: (name) => above.get(name) ?? below.get(name),
});

function graphsOf(
  model: LanguageModel,
  adapter: LanguageAdapter,
  injection: Injection,
): Record<string, Graph> {
  switch (model.kind) {
    case 'encoder':
      return { 'model.onnx': classifier(model.model, model.heads, adapter, injection) };
    case 'causal':
      return { 'model.onnx': decoder(model.model, injection) };
    case 'seq2seq':
      return {
        'encoder_model.onnx': sourceEncoder(model.model, injection),
        'decoder_model_merged.onnx': targetDecoder(model.model, injection),
      };
  }
}

const ids = (name: string, shape: readonly number[]): Tensor => input(name, shape, 'int64');

/** An injection whose `text` is always told the positions, which it need not know in training. */
const counted = (injection: Injection): Injection => {
  const { text } = injection;
  if (!text) return injection;
  const inOrder = (length: number) => arange(length).reshape([1, length]);
  return { ...injection, text: (s, x, positions = inOrder(x.dim(1))) => text(s, x, positions) };
};

function classifier(
  model: EncoderModel,
  heads: ReadonlySet<string>,
  { task }: LanguageAdapter,
  injection: Injection,
): Graph {
  const encoder = injectEncoder(model, counted(injection));
  const before = (injection.soft?.length ?? 0) + (injection.prefix?.length ?? 0);
  return {
    sizes: {
      batch_size: { input: 'input_ids', axis: 0 },
      sequence_length: { input: 'input_ids', axis: 1, below: model.context - before },
    },
    outputs(s, { batch_size: batch, sequence_length: length }) {
      const shape = [batch!, length!];
      const types = model.types > 1 ? ids('token_type_ids', shape) : undefined;
      const inputs = {
        tokens: ids('input_ids', shape),
        mask: ids('attention_mask', shape),
        types,
        readAt: 0,
      };
      const pooled = encoder.pool(heads.has('pool') ? s : s.trained(), encoder.encode(s, inputs).last);
      const classes = task.kind === 'regression' ? 1 : task.classes.length;
      return { logits: encoder.classify(s.trained(), pooled, classes) };
    },
  };
}

/** Names of one layer's keys and values, as Optimum has them. */
const cacheName = (what: 'past_key_values' | 'present', layer: number, of: string): string =>
  `${what}.${layer}.${of}`;
type Cached = Pick<CausalModel, 'keyHeads' | 'headWidth'>;

const pasts = (
  layers: number,
  { keyHeads, headWidth }: Cached,
  batch: number,
  length: number,
  side = '',
): KeyValue[] =>
  Array.from({ length: layers }, (_, i) => {
    const at = (of: string) =>
      input(cacheName('past_key_values', i, side + of), [batch, keyHeads, length, headWidth]);
    return { key: at('key'), value: at('value') };
  });

const presents = (all: readonly KeyValue[], side = ''): Record<string, Tensor> =>
  Object.fromEntries(
    all.flatMap(({ key, value }, i) => [
      [cacheName('present', i, `${side}key`), key],
      [cacheName('present', i, `${side}value`), value],
    ]),
  );

const joined = (...parts: (readonly KeyValue[])[]): KeyValue[] =>
  parts[0]!.map((_, i) => ({
    key: concat(
      parts.map((p) => p[i]!.key),
      2,
    ),
    value: concat(
      parts.map((p) => p[i]!.value),
      2,
    ),
  }));

/** What stands before a text is read with its beginning alone, when there is no past: its length is free, 0 or all. */
const first = 'first_length';
const firstSize = (length: number): Record<string, FreeSize> =>
  length ? { [first]: { length, where: 'past_sequence_length' } } : {};
/** The first rows of axis −2; there need not be so many while it is traced. */
const firstRows = (x: Tensor, count: number): Tensor => gather(x, arange(count), x.rank - 2);

/** A decoder with a cache: `input_ids` [B, T] behind the past, `attention_mask` of all tokens but those of the adapter. */
function decoder(model: CausalModel, injection: Injection): Graph {
  const { soft, prefix } = injection;
  const before = soft?.length ?? prefix?.length ?? 0;
  if (soft && prefix) throw new Error('An adapter of soft tokens and a prefix cannot be exported as ONNX');
  return {
    sizes: {
      batch_size: { input: 'input_ids', axis: 0 },
      sequence_length: { input: 'input_ids', axis: 1 },
      past_sequence_length: { input: cacheName('past_key_values', 0, 'key'), axis: 2 },
      ...firstSize(before),
    },
    outputs(s, { batch_size, sequence_length, past_sequence_length, [first]: start = 0 }) {
      const [batch, length, past] = [batch_size!, sequence_length!, past_sequence_length!];
      const keys = past + start + length;
      const tokens = ids('input_ids', [batch, length]);
      const mask = extended(ids('attention_mask', [batch, keys - before]), before);
      const positions = maximum(cumSum(mask, 1).sub(1), 0);
      const ofText = positions.slice(1, past + start).sub(before);
      const own = {
        ...injection,
        ...(soft && {
          soft: { length: start, tokens: (s: Scope, x: Tensor) => firstRows(soft.tokens(s, x), start) },
        }),
      };
      const x = behindSoft(s, model.embed, own, { tokens, positions: ofText });
      const cached = pasts(model.layers, model, batch, past);
      const table = prefix && firstRows(prefix.table(s), start);
      const all = table ? joined(keyValues({ kind: 'causal', model }, table, batch), cached) : cached;
      const read = {
        tokens: x,
        mask,
        positions: positions.slice(1, prefix ? past + start : past),
        past: all,
      };
      const { last, present } = model.decode(s, read);
      const said = soft ? last.slice(1, start) : last;
      return { logits: model.logits(s, said), ...presents(joined(all, present)) };
    },
  };
}

function sourceEncoder(model: Seq2SeqModel, injection: Injection): Graph {
  const encoder = injectPairs(model, counted(injection));
  return {
    sizes: {
      batch_size: { input: 'input_ids', axis: 0 },
      encoder_sequence_length: { input: 'input_ids', axis: 1 },
    },
    outputs(s, { batch_size: batch, encoder_sequence_length: length }) {
      const shape = [batch!, length!];
      const inputs = { tokens: ids('input_ids', shape), mask: ids('attention_mask', shape) };
      return { last_hidden_state: encoder.encode(s, inputs).last };
    },
  };
}

/**
 * A decoder with caches of its own text and of the encoder's: the latter is computed of those of the encoder's states that it lacks,
 * which are all of them at first and none later.
 */
function targetDecoder(model: Seq2SeqModel, { soft, prefix }: Injection): Graph {
  const { decoderLayers: layers } = model;
  const before = soft?.length ?? 0;
  return {
    sizes: {
      batch_size: { input: 'input_ids', axis: 0 },
      sequence_length: { input: 'input_ids', axis: 1 },
      past_sequence_length: { input: cacheName('past_key_values', 0, 'decoder.key'), axis: 2 },
      // No longer than the encoder's text, and so before it: samples grow.
      past_encoder_length: { input: cacheName('past_key_values', 0, 'encoder.key'), axis: 2 },
      encoder_sequence_length: { input: 'encoder_attention_mask', axis: 1 },
      ...firstSize(prefix?.length ?? 0),
    },
    outputs(s, sizes) {
      const { batch_size, past_encoder_length, encoder_sequence_length, [first]: start = 0 } = sizes;
      const [batch, known, source] = [batch_size!, past_encoder_length!, encoder_sequence_length!];
      const past = sizes.past_sequence_length!;
      const tokens = ids('input_ids', [batch, sizes.sequence_length!]);
      const mask = extended(ids('encoder_attention_mask', [batch, source]), before);
      const encoded = input('encoder_hidden_states', [batch, before + source, model.width]);
      const memory = joined(
        pasts(layers, model, batch, known, 'encoder.'),
        model.memory(s, encoded.slice(1, known)),
      );
      const cached = pasts(layers, model, batch, past, 'decoder.');
      const table = prefix && firstRows(prefix.table(s), start);
      const all = table ? joined(keyValues({ kind: 'seq2seq', model }, table, batch), cached) : cached;
      const { last, present } = model.decode(s, { tokens, past: all }, memory, mask);
      return {
        logits: model.logits(s, last),
        ...presents(joined(all, present), 'decoder.'),
        ...presents(memory, 'encoder.'),
      };
    },
  };
}
