import { concat, constant, equal, i64, type Tensor, where } from '../../graph/index.ts';
import { crossEntropy, type Scope } from '../../nn/index.ts';
import type { KeyValue } from './attention.ts';
import type { DecoderOutput, SequenceInputs } from './decoder.ts';

/** What an encoder reads whose positions are counted from its own text alone. */
export type SourceInputs = Pick<SequenceInputs, 'tokens' | 'mask'>;

/** A language model that reads one sequence and writes another. All are functions of a scope over its weights. */
export interface Seq2SeqModel {
  readonly width: number;
  readonly vocabulary: number;
  readonly layers: number;
  readonly decoderLayers: number;
  /** Heads and width of one layer's keys and values. */
  readonly keyHeads: number;
  readonly headWidth: number;
  /** What the decoder begins with, and what stands for padding. */
  readonly startId: number;
  readonly padId: number;
  /** Soft tokens that an adapter puts before the encoder's text: `encode` gives them too, and no `memoryMask` counts them. */
  readonly memoryBefore?: number;
  /** Positions that an adapter puts before the decoder's text without a past, and into its `present`: a prefix. */
  readonly cacheBefore?: number;
  /** Token embeddings of ids [B, T], of both sides: [B, T, width]. */
  embed(s: Scope, ids: Tensor): Tensor;
  /** Input of the encoder's first layer, then the output of each; `last` is the last one normalised: [B, T, width]. */
  encode(s: Scope, inputs: SourceInputs): { readonly hiddenStates: readonly Tensor[]; readonly last: Tensor };
  /** Keys and values of what the encoder gave [B, S, width], for each layer of the decoder: [B, heads, S, d]. */
  memory(s: Scope, encoded: Tensor): readonly KeyValue[];
  /** @param memoryMask 1 where the decoder may look at the encoder's text: int64 [B, S]. Everywhere by default. */
  decode(s: Scope, inputs: SequenceInputs, memory: readonly KeyValue[], memoryMask?: Tensor): DecoderOutput;
  /** Scores of the next token: [..., vocabulary] from `last` [..., width]. */
  logits(s: Scope, last: Tensor): Tensor;
}

/** What the decoder reads where it should write `labels` [B, T] (int64): those before each, −100 as padding. */
export function shiftRight(
  labels: Tensor,
  { startId, padId }: Pick<Seq2SeqModel, 'startId' | 'padId'>,
): Tensor {
  const [batch, length] = labels.shape as [number, number];
  const start = constant(i64([startId], [1, 1])).expand([batch, 1]);
  const shifted = length > 1 ? concat([start, labels.slice(1, 0, length - 1)], 1) : start;
  return where(equal(shifted, -100), constant(i64([padId], [1, 1])), shifted);
}

/**
 * Logits [B, T, vocabulary] of `labels` [B, T] (int64) given the encoder's text, and their mean cross-entropy without those
 * that are −100, as `transformers` computes it.
 */
export function seq2seqLoss(
  s: Scope,
  model: Seq2SeqModel,
  inputs: SourceInputs,
  labels: Tensor,
): { readonly loss: Tensor; readonly logits: Tensor } {
  const memory = model.memory(s, model.encode(s, inputs).last);
  const { last } = model.decode(s, { tokens: shiftRight(labels, model) }, memory, inputs.mask);
  const logits = model.logits(s, last);
  return { loss: crossEntropy(logits, labels), logits };
}
