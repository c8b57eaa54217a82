import type { Activation } from '../../nn/index.ts';
import { configReader, type Json, requireHeads, requireModelType } from '../config.ts';

export interface Gpt2Config {
  readonly vocabulary: number;
  readonly context: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly activation: Activation;
  readonly eps: number;
  /** Whether scores are divided by √d, and by the number of the layer (from 1). */
  readonly scaleScores: boolean;
  readonly scaleByLayer: boolean;
  /** Whether the scores of tokens are products with their embeddings. */
  readonly tied: boolean;
}

/** Reads the config.json of a GPT-2 with the defaults of `transformers`; refuses cross-attention. */
export function parseGpt2Config(json: Json): Gpt2Config {
  requireModelType(json, 'gpt2');
  const c = configReader(json);
  c.only('add_cross_attention', false);
  const width = c.count('n_embd', 768);
  const heads = c.count('n_head', 12);
  requireHeads(width, heads);
  return {
    vocabulary: c.count('vocab_size', 50257),
    context: c.count('n_positions', 1024),
    width,
    layers: c.count('n_layer', 12),
    heads,
    mlpWidth: c.count('n_inner', 4 * width),
    activation: c.activation('activation_function', 'gelu_new'),
    eps: c.number('layer_norm_epsilon', 1e-5),
    scaleScores: c.flag('scale_attn_weights', true),
    scaleByLayer: c.flag('scale_attn_by_inverse_layer_idx', false),
    tied: c.flag('tie_word_embeddings', true),
  };
}
