import { arange, type Tensor } from '../../graph/index.ts';
import type { Scope } from '../../nn/index.ts';
import type { KeyValue } from './attention.ts';

/** What a stack of layers reads. */
export interface SequenceInputs {
  /** Token ids, int64 [B, T], or embeddings, float32 [B, T, width], among which soft tokens may stand. */
  readonly tokens: Tensor;
  /** 1 where a position may be looked at, 0 for padding: int64 [B, P + T]. All may by default. */
  readonly mask?: Tensor | undefined;
  /** int64 [B or 1, T]. By default the text goes on behind the past, padding or not: P, P + 1, … */
  readonly positions?: Tensor | undefined;
  /** Keys and values of P earlier positions for each layer: a cache, or a trained prefix. */
  readonly past?: readonly KeyValue[] | undefined;
}

export interface DecoderOutput {
  /** Input of the first layer, then the output of each layer: [B, T, width]. */
  readonly hiddenStates: readonly Tensor[];
  /** The last layer's output after the final normalisation: [B, T, width]. */
  readonly last: Tensor;
  /** Keys and values of the T positions for each layer. */
  readonly present: readonly KeyValue[];
}

/** A language model that reads and writes one sequence. All are functions of a scope over its weights. */
export interface CausalModel {
  readonly width: number;
  readonly vocabulary: number;
  /** Heads and width of one layer's keys and values. */
  readonly layers: number;
  readonly keyHeads: number;
  readonly headWidth: number;
  /** Most positions that it has, where they are counted. */
  readonly context: number;
  /** Positions that an adapter puts before a text without a past, and into its `present`: soft tokens, a prefix. None by default. */
  readonly cacheBefore?: number;
  /** Token embeddings of ids [B, T], without positions: [B, T, width]. */
  embed(s: Scope, ids: Tensor): Tensor;
  decode(s: Scope, inputs: SequenceInputs): DecoderOutput;
  /** Scores of the next token: [..., vocabulary] from `last` [..., width]. */
  logits(s: Scope, last: Tensor): Tensor;
}

/** Number of positions in the past. */
export const pastLength = ({ past }: SequenceInputs): number => past?.[0]?.key.dim(2) ?? 0;

/** The positions [B or 1, T] of the T tokens; the default ones, shifted by `offset`, must be below `context`. */
export function positionsOf(inputs: SequenceInputs, context: number, offset = 0): Tensor {
  if (inputs.positions) return inputs.positions;
  const [length, past] = [inputs.tokens.dim(1), pastLength(inputs)];
  if (past + offset + length > context) {
    const before = past ? ` behind ${past} others` : '';
    throw new Error(`${length} tokens${before} do not fit the model's context of ${context - offset}`);
  }
  return arange(length, past + offset).reshape([1, length]);
}
