import type { Activation } from '../../nn/index.ts';
import { configReader, type Json, requireModelType } from '../config.ts';

export const t5Types = ['t5', 'mt5'] as const;

export interface T5Config {
  readonly vocabulary: number;
  readonly width: number;
  readonly headWidth: number;
  readonly mlpWidth: number;
  readonly layers: number;
  readonly decoderLayers: number;
  readonly heads: number;
  /** Buckets of distances, and the distance from which all share the last one. */
  readonly buckets: number;
  readonly maxDistance: number;
  readonly eps: number;
  readonly activation: Activation;
  /** Whether the activated half multiplies another (v1.1, mT5). */
  readonly gated: boolean;
  /** Whether scores of tokens are divided by √width (v1.0). */
  readonly scaleScores: boolean;
  readonly startId: number;
  readonly padId: number;
  /** Whether the scores of tokens are products with their embeddings. */
  readonly tied: boolean;
}

/**
 * Reads the config.json of a T5 or mT5 with the defaults of `transformers`. As there, `tie_word_embeddings: false` marks v1.1,
 * whose scores are not scaled, while the weights say whether a head of its own is there (`hasHead`).
 */
export function parseT5Config(json: Json, hasHead = false): T5Config {
  requireModelType(json, ...t5Types);
  const multilingual = json.model_type === 'mt5';
  const c = configReader(json);
  c.only('is_encoder_decoder', true);
  const layers = c.count('num_layers', multilingual ? 8 : 6);
  const buckets = c.count('relative_attention_num_buckets', 32);
  if (buckets % 4 !== 0) {
    throw new Error(`config.json: relative_attention_num_buckets must be a multiple of 4, not ${buckets}`);
  }
  const feedForward = String(json.feed_forward_proj ?? (multilingual ? 'gated-gelu' : 'relu'));
  const gated = feedForward.startsWith('gated-');
  const act = feedForward === 'gated-gelu' ? 'gelu_new' : feedForward.replace(/^gated-/, '');
  const activation = configReader({ feed_forward_proj: act }).activation('feed_forward_proj', 'relu');
  const v1 = c.flag('tie_word_embeddings', true);
  const padId = c.number('pad_token_id', 0);
  return {
    vocabulary: c.count('vocab_size', multilingual ? 250112 : 32128),
    width: c.count('d_model', 512),
    headWidth: c.count('d_kv', 64),
    mlpWidth: c.count('d_ff', multilingual ? 1024 : 2048),
    layers,
    decoderLayers: c.count('num_decoder_layers', layers),
    heads: c.count('num_heads', multilingual ? 6 : 8),
    buckets,
    maxDistance: c.count('relative_attention_max_distance', 128),
    eps: c.number('layer_norm_epsilon', 1e-6),
    activation,
    gated,
    scaleScores: !multilingual && c.flag('scale_decoder_outputs', v1),
    startId: c.number('decoder_start_token_id', padId),
    padId,
    tied: !hasHead,
  };
}
