import type { Tensor } from '../../graph/index.ts';
import type { Scope } from '../../nn/index.ts';
import type { SequenceInputs } from './decoder.ts';

export interface EncoderInputs extends SequenceInputs {
  /** Which of two sentences a token belongs to: int64 [B, T]. All to the first by default. */
  readonly types?: Tensor | undefined;
  /** The one position whose last state is wanted, where it is one: the last layer is then computed for it alone. */
  readonly readAt?: number | undefined;
}

/** A language model that reads a text from both sides. All are functions of a scope over its weights. */
export interface EncoderModel {
  readonly width: number;
  readonly vocabulary: number;
  /** Heads and width of one layer's keys and values. */
  readonly layers: number;
  readonly keyHeads: number;
  readonly headWidth: number;
  /** Most tokens that it has positions for, a past included. */
  readonly context: number;
  /** Kinds of sentences that it tells apart. */
  readonly types: number;
  /** Names of the classes that `classify` scores. */
  readonly labels: readonly string[];
  /** Token embeddings of ids [B, T] alone: [B, T, width]. */
  embed(s: Scope, ids: Tensor): Tensor;
  /**
   * Input of the first layer, then the output of each layer, the last of which is `last`: [B, T, width]. With `readAt` the last
   * layer's is not among them, and `last` is [B, 1, width].
   */
  encode(
    s: Scope,
    inputs: EncoderInputs,
  ): { readonly hiddenStates: readonly Tensor[]; readonly last: Tensor };
  /** Scores of the token at each position: [..., vocabulary] from `last` [..., width]. */
  maskedLogits(s: Scope, last: Tensor): Tensor;
  /** What is read of a text, at the first of the positions that are given: [B, width] from `last` [B, T, width]. */
  pool(s: Scope, last: Tensor): Tensor;
  /**
   * Scores of classes: [B, classes] from what `pool` gives. For a head that the file lacks, pass `s.trained()` and the
   * number of classes (`labels` by default).
   */
  classify(s: Scope, pooled: Tensor, classes?: number): Tensor;
}
