import { arange, concat, constant, i64, type Tensor } from '../../graph/index.ts';
import type { LanguageFunctions } from '../../hub/index.ts';
import type {
  CausalModel,
  EncoderInputs,
  EncoderModel,
  KeyValue,
  Seq2SeqModel,
  SequenceInputs,
} from '../../models/language/index.ts';
import type { Interceptors, Scope } from '../../nn/index.ts';

/** What a method puts into a language model: functions of a scope, whose `param`s are what it trains. */
export interface Injection {
  /** Around weights and activations, by the names of the family. */
  readonly intercept?: Interceptors;
  /** Tokens before the text that the model reads: of an encoder with a decoder the encoder's text. */
  readonly soft?: SoftTokens;
  /**
   * Other embeddings [B, T, width] of the text's tokens. `positions` int64 [B, T] count the tokens of a text where they are
   * not 0 … T − 1, because padding stands before them.
   */
  readonly text?: (s: Scope, embeddings: Tensor, positions?: Tensor) => Tensor;
  /** Keys and values before those of the text in each layer: of a model of pairs in its decoder. */
  readonly prefix?: Prefix;
}

export interface SoftTokens {
  readonly length: number;
  /** [length, width], or [B, length, width] where they depend on the text's embeddings [B, T, width], of which `mask` [B, T] is 0 at padding. */
  tokens(s: Scope, embeddings: Tensor, mask?: Tensor): Tensor;
  /** What an encoder's classification reads: the first soft token, as in `peft` (default), or the first of the text. */
  readonly readAt?: 'prompt' | 'text';
}

export interface Prefix {
  readonly length: number;
  /** [length, slots · keyHeads · headWidth], two slots a layer, in the layout of `keyValues`. */
  table(s: Scope): Tensor;
}

/** Columns of a prefix table. */
export const prefixWidth = ({ model: { layers, keyHeads, headWidth } }: LanguageFunctions): number =>
  2 * layers * keyHeads * headWidth;

/**
 * Keys and values of each layer from a table [n, 2 · layers · keyHeads · headWidth] (Liu et al. 2022; `peft`): slot 2i is the key of
 * layer i, 2i + 1 its value. In a model of pairs layer i of the decoder reads slots 4i and 4i + 1, modulo their number: so does
 * `peft`, whose list is twice as long, for keys and values of the encoder's text that T5 then discards.
 */
export function keyValues({ kind, model }: LanguageFunctions, table: Tensor, batch: number): KeyValue[] {
  const slots = 2 * model.layers;
  const bySlot = table
    .reshape([table.dim(0), slots, model.keyHeads, model.headWidth])
    .transpose([1, 2, 0, 3]);
  const slot = (i: number) =>
    bySlot
      .slice(0, i % slots, (i % slots) + 1)
      .expand([batch, model.keyHeads, table.dim(0), model.headWidth]);
  const [count, stride] = kind === 'seq2seq' ? [model.decoderLayers, 4] : [model.layers, 2];
  return Array.from({ length: count }, (_, i) => ({ key: slot(stride * i), value: slot(stride * i + 1) }));
}

/** The model with the tokens, embeddings and prefix of an injection in its functions. Interceptors go around the scope: `injectScope`. */
export function inject(functions: LanguageFunctions, injection: Injection): LanguageFunctions {
  if (!injection.soft && !injection.text && !injection.prefix) return functions;
  const { kind, model } = functions;
  if (kind === 'encoder') return { kind, model: injectEncoder(model, injection) };
  if (kind === 'seq2seq') return { kind, model: injectPairs(model, injection) };
  return { kind, model: injectCausal(model, injection) };
}

/** The scope with an injection's interceptors; values of `params` are constants in it. */
export const injectScope = (
  s: Scope,
  { intercept }: Injection,
  params: Readonly<Record<string, Tensor>> = {},
): Scope => {
  const bound = s.bind(params);
  return intercept ? bound.intercept(intercept) : bound;
};

const ones = (batch: number, length: number): Tensor =>
  constant(i64(Array<number>(length).fill(1), [1, length])).expand([batch, length]);
const zeroTypes = (batch: number, length: number): Tensor =>
  constant(i64(Array<number>(length).fill(0), [1, length])).expand([batch, length]);

/** A mask [B, T] with `length` ones before it. */
export const extended = <Mask extends Tensor | undefined>(mask: Mask, length: number): Mask =>
  mask && length ? (concat([ones(mask.dim(0), length), mask], 1) as Mask) : mask;

/** The text behind the soft tokens: embeddings, or its ids where nothing is before or added to them. */
export function behindSoft(
  s: Scope,
  embed: (s: Scope, ids: Tensor) => Tensor,
  { soft, text }: Injection,
  { tokens, positions, mask }: Pick<SequenceInputs, 'tokens' | 'positions' | 'mask'>,
): Tensor {
  // RoBERTa counts positions by ids where it has them.
  if (!soft && !text) return tokens;
  const own = tokens.rank === 3 ? tokens : embed(s, tokens);
  const changed = text ? text(s, own, positions) : own;
  if (!soft) return changed;
  const before = soft.tokens(s, own, mask);
  return concat([before.expand([own.dim(0), soft.length, own.dim(2)]), changed], 1);
}

/** Inputs of a stack that reads a text from its beginning, with all that an injection puts before it. */
function readInputs<Inputs extends EncoderInputs>(
  s: Scope,
  functions: LanguageFunctions,
  injection: Injection,
  inputs: Inputs,
): Inputs {
  const { tokens, mask, types, positions } = inputs;
  const batch = tokens.dim(0);
  const [soft, prefix] = [injection.soft?.length ?? 0, injection.prefix?.length ?? 0];
  const counted = positions?.add(soft + prefix).expand([batch, tokens.dim(1)]);
  return {
    ...inputs,
    tokens: behindSoft(s, functions.model.embed, injection, inputs),
    mask: extended(mask, soft + prefix),
    types: types && soft ? concat([zeroTypes(batch, soft), types], 1) : types,
    positions: counted && soft ? concat([arange(soft, prefix).expand([batch, soft]), counted], 1) : counted,
    past: injection.prefix ? keyValues(functions, injection.prefix.table(s), batch) : inputs.past,
  };
}

export function injectEncoder(model: EncoderModel, injection: Injection): EncoderModel {
  const { soft } = injection;
  return {
    ...model,
    encode(s, inputs) {
      const before = soft?.readAt === 'text' ? soft.length : 0;
      const readAt = inputs.readAt === undefined ? undefined : inputs.readAt + before;
      const read = readInputs(s, { kind: 'encoder', model }, injection, inputs);
      const out = model.encode(s, { ...read, readAt });
      const ofText = (x: Tensor) => (before ? x.slice(1, before) : x);
      const last = readAt === undefined ? ofText(out.last) : out.last;
      return { hiddenStates: out.hiddenStates.map(ofText), last };
    },
  };
}

function injectCausal(model: CausalModel, injection: Injection): CausalModel {
  const functions = { kind: 'causal', model } as const;
  return {
    ...model,
    cacheBefore: (injection.soft?.length ?? 0) + (injection.prefix?.length ?? 0),
    decode(s, inputs) {
      if (inputs.past) return model.decode(s, written(s, model, injection, inputs));
      const read = readInputs<SequenceInputs>(s, functions, injection, inputs);
      return withPrefix(model.decode(s, read), read.past);
    },
  };
}

/** Tokens that were written: an offset by position goes on behind the text, as it did when the target was read in training. */
function written(
  s: Scope,
  model: CausalModel,
  { text, soft, prefix }: Injection,
  inputs: SequenceInputs,
): SequenceInputs {
  const { tokens, positions } = inputs;
  if (!text || tokens.rank === 3 || !positions) return inputs;
  const before = (soft?.length ?? 0) + (prefix?.length ?? 0);
  return { ...inputs, tokens: text(s, model.embed(s, tokens), positions.sub(before)) };
}

export function injectPairs(model: Seq2SeqModel, injection: Injection): Seq2SeqModel {
  const functions = { kind: 'seq2seq', model } as const;
  const { soft, prefix } = injection;
  return {
    ...model,
    memoryBefore: soft?.length ?? 0,
    cacheBefore: prefix?.length ?? 0,
    encode: (s, { tokens, mask }) =>
      model.encode(s, {
        tokens: behindSoft(s, model.embed, injection, { tokens, mask }),
        mask: extended(mask, soft?.length ?? 0),
      }),
    decode(s, inputs, memory, memoryMask) {
      const seen = extended(memoryMask, soft?.length ?? 0);
      if (inputs.past || !prefix) return model.decode(s, inputs, memory, seen);
      const past = keyValues(functions, prefix.table(s), inputs.tokens.dim(0));
      const read = { ...inputs, past, mask: extended(inputs.mask, prefix.length) };
      return withPrefix(model.decode(s, read, memory, seen), past);
    },
  };
}

/** What a decoder gave, with its prefix among the keys and values that later tokens look at. */
const withPrefix = <Output extends { readonly present: readonly KeyValue[] }>(
  output: Output,
  past: readonly KeyValue[] | undefined,
): Output =>
  past
    ? {
        ...output,
        present: output.present.map(({ key, value }, i) => ({
          key: concat([past[i]!.key, key], 2),
          value: concat([past[i]!.value, value], 2),
        })),
      }
    : output;
