import { z } from 'zod';
import { fillTemplate } from '../../data/index.ts';
import { sizeOf } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { type Initializer, normalInit } from '../../nn/index.ts';
import { layoutPrompts, layoutSentences, type PromptLayout, wordEmbeddings, wordIds } from './prompts.ts';

/** How many soft tokens there are, and what they start from. */
export interface ContextOptions {
  readonly contextLength: number;
  readonly contextInit: string;
}

/** Options of methods that start from words, as CoOp's successors do. */
export const contextOptions = {
  contextLength: z
    .int()
    .min(0)
    .max(64)
    .default(0)
    .describe('soft tokens; 0: as many as contextInit has, the paper: 4'),
  contextInit: z
    .string()
    .default('a photo of a')
    .describe('words whose embeddings the soft tokens start from; "": random numbers'),
};

/** Soft tokens [..., M, width] drawn from N(0, 0.02²), or copies of the embeddings of `contextInit`. */
export function contextOf(
  model: ClipModel,
  { contextLength, contextInit }: ContextOptions,
): { length: number; init: Initializer } {
  const words = wordIds(model, contextInit).length;
  const length = contextLength || words;
  if (length === 0) throw new Error('There are no soft tokens: set contextLength or contextInit');
  if (words === 0) return { length, init: normalInit(0.02) };
  if (words !== length) {
    throw new Error(
      `"${contextInit}" is ${words} tokens, but contextLength is ${contextLength}; make them equal`,
    );
  }
  return { length, init: wordsInit(model, contextInit) };
}

/**
 * Sentences "a photo of a name." whose first `contextLength` tokens are soft and start from their words; the other
 * words stay (MaPLe). Without `contextInit`, placeholders that start from random numbers.
 */
export function leadingWords(
  model: ClipModel,
  classes: readonly string[],
  { contextLength, contextInit }: ContextOptions,
): { layout: PromptLayout; init: Initializer } {
  if (contextInit === '')
    return { layout: layoutPrompts(model, classes, contextLength), init: normalInit(0.02) };
  const words = wordIds(model, contextInit).length;
  if (words < contextLength) {
    throw new Error(
      `"${contextInit}" is ${words} tokens, fewer than the ${contextLength} soft ones; give more words, or none ("")`,
    );
  }
  const sentences = classes.map((c) => fillTemplate(`${contextInit} {}.`, c));
  return { layout: layoutSentences(model, sentences, contextLength), init: wordsInit(model, contextInit) };
}

/** Copies of the embeddings of the first words of `text`, as many as the shape [..., n, width] has. */
export const wordsInit =
  (model: ClipModel, text: string): Initializer =>
  async (shape) => {
    const { data } = await wordEmbeddings(model, text);
    const each = sizeOf(shape.slice(-2));
    const out = new Float32Array(sizeOf(shape));
    for (let i = 0; i < out.length; i += each) out.set(data.subarray(0, each), i);
    return out;
  };
