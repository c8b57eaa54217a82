import type { Activation } from '../../nn/index.ts';
import { configReader, type Json, requireHeads, requireModelType } from '../config.ts';

/** RoBERTa and those built like it. */
export const robertaTypes = ['roberta', 'xlm-roberta', 'camembert'] as const;
export const bertTypes = ['bert', ...robertaTypes] as const;

export interface BertConfig {
  /** RoBERTa has other heads, and counts positions from behind the padding's id. */
  readonly roberta: boolean;
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly activation: Activation;
  readonly eps: number;
  /** Rows of the position table; of RoBERTa's the first padId + 1 are no positions of tokens. */
  readonly positions: number;
  readonly types: number;
  readonly padId: number;
  /** Names of the classes of the classification head. */
  readonly labels: readonly string[];
  /** Whether the scores of tokens are products with their embeddings. */
  readonly tied: boolean;
}

/** Reads the config.json of a BERT or RoBERTa with the defaults of `transformers`; refuses decoders and relative positions. */
export function parseBertConfig(json: Json): BertConfig {
  requireModelType(json, ...bertTypes);
  const roberta = json.model_type !== undefined && json.model_type !== 'bert';
  const c = configReader(json);
  c.only('is_decoder', false);
  c.only('add_cross_attention', false);
  c.only('position_embedding_type', 'absolute');
  const width = c.count('hidden_size', 768);
  const heads = c.count('num_attention_heads', 12);
  requireHeads(width, heads);
  const labels = Object.values((json.id2label ?? {}) as Record<string, string>);
  return {
    roberta,
    vocabulary: c.count('vocab_size', roberta ? 50265 : 30522),
    width,
    layers: c.count('num_hidden_layers', 12),
    heads,
    mlpWidth: c.count('intermediate_size', 3072),
    activation: c.activation('hidden_act', 'gelu'),
    eps: c.number('layer_norm_eps', 1e-12),
    positions: c.count('max_position_embeddings', 512),
    types: c.count('type_vocab_size', 2),
    padId: c.number('pad_token_id', roberta ? 1 : 0),
    labels: labels.length ? labels : Array.from({ length: c.count('num_labels', 2) }, (_, i) => `LABEL_${i}`),
    tied: c.flag('tie_word_embeddings', true),
  };
}
