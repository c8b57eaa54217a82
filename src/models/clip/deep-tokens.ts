import type { Tensor } from '../../graph/index.ts';
import type { Scope } from '../../nn/index.ts';
import { appendTokens, placeTokens, replaceTokens, type Slots } from './soft-tokens.ts';

/** The soft tokens of each layer from the first on: [m, width], or [N, m, width] for one set a sentence or image. */
export type LayerTokens = readonly Tensor[];

/**
 * `scope` with soft tokens in the text tower: those of layer 0 in place of token embeddings (positions are still
 * added), those of layer l at the same positions of that layer's input. Later layers carry on what they get.
 */
export const deepText = (scope: Scope, tokens: LayerTokens, slots: Slots): Scope =>
  scope.intercept({
    tap: {
      'text_model.embeddings:tokens': (x) => placeTokens(x, tokens[0]!, slots),
      ...below('text_model', tokens, (x, soft) => placeTokens(x, soft, slots)),
    },
  });

/**
 * `scope` with soft tokens in the vision tower: those of layer 0 behind the patches (without positions, before the
 * first LayerNorm), those of layer l in place of the last m of that layer's input.
 */
export const deepVision = (scope: Scope, tokens: LayerTokens): Scope =>
  scope.intercept({
    tap: {
      'vision_model.embeddings:out': (x) => appendTokens(x, tokens[0]!),
      ...below('vision_model', tokens, (x, soft) => replaceTokens(x, soft, x.dim(1) - soft.dim(-2))),
    },
  });

/** Taps of the layers behind the first: one pattern each, so that a layer that the tower lacks is an error. */
const below = (tower: string, tokens: LayerTokens, place: (x: Tensor, soft: Tensor) => Tensor) =>
  Object.fromEntries(
    tokens.slice(1).map((soft, l) => [`${tower}.encoder.layers.${l + 1}:in`, (x: Tensor) => place(x, soft)]),
  );
