import type { Activation } from '../../nn/index.ts';
import { configReader, type Json, requireModelType } from '../config.ts';
import { parseRope, type Rope } from './rope.ts';

/** Decoders of LLaMA's kind; they differ in their defaults, biases and norms. */
export const llamaTypes = ['llama', 'mistral', 'qwen2', 'qwen3'] as const;

export interface LlamaConfig {
  readonly vocabulary: number;
  readonly context: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headWidth: number;
  readonly mlpWidth: number;
  readonly activation: Activation;
  readonly eps: number;
  readonly rope: Rope;
  /** Which matrices have a bias. */
  readonly bias: { readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean };
  /** Whether queries and keys are normalised head by head (Qwen3). */
  readonly headNorm: boolean;
  /** Whether the scores of tokens are products with their embeddings. */
  readonly tied: boolean;
}

interface Defaults {
  vocabulary?: number;
  context?: number;
  mlpWidth?: number;
  keyHeads?: number;
  headWidth?: number;
}
const qwen = { vocabulary: 151936, context: 32768, mlpWidth: 22016, keyHeads: 32 };
const defaults: Record<string, Defaults> = {
  llama: {},
  mistral: { context: 131072, mlpWidth: 14336, keyHeads: 8 },
  qwen2: qwen,
  qwen3: { ...qwen, headWidth: 128 },
};

/**
 * Reads the config.json of a LLaMA, Mistral, Qwen2 or Qwen3 with the defaults of `transformers`. Where attention slides over
 * a window, the context is cut to it: within one window it is ordinary attention. Refuses layers of several kinds.
 */
export function parseLlamaConfig(json: Json): LlamaConfig {
  requireModelType(json, ...llamaTypes);
  const type = String(json.model_type ?? 'llama');
  const own = defaults[type]!;
  const c = configReader(json);
  c.only('pretraining_tp', 1);
  c.only('partial_rotary_factor', 1);
  const kinds = (json.layer_types ?? []) as unknown[];
  if (kinds.some((kind) => kind !== 'full_attention')) {
    throw new Error(`config.json: layer_types must all be "full_attention", not ${JSON.stringify(kinds)}`);
  }
  const width = c.count('hidden_size', 4096);
  const heads = c.count('num_attention_heads', 32);
  const keyHeads = c.count('num_key_value_heads', own.keyHeads ?? heads);
  const headWidth = c.count('head_dim', own.headWidth ?? width / heads);
  if (heads % keyHeads !== 0) {
    throw new Error(
      `config.json: ${heads} attention heads are not a multiple of ${keyHeads} key-value heads`,
    );
  }
  const isQwen = type.startsWith('qwen');
  const slides =
    type === 'mistral' ? json.sliding_window !== null : isQwen && c.flag('use_sliding_window', false);
  const longest = c.count('max_position_embeddings', own.context ?? 2048);
  const biased = type !== 'mistral' && c.flag('attention_bias', false);
  return {
    vocabulary: c.count('vocab_size', own.vocabulary ?? 32000),
    context: slides ? Math.min(longest, c.count('sliding_window', 4096)) : longest,
    width,
    layers: c.count('num_hidden_layers', 32),
    heads,
    keyHeads,
    headWidth,
    mlpWidth: c.count('intermediate_size', own.mlpWidth ?? 11008),
    activation: c.activation('hidden_act', 'silu'),
    eps: c.number('rms_norm_eps', 1e-6),
    rope: parseRope(json, headWidth, longest),
    bias: {
      qkv: type === 'qwen2' || biased,
      output: type !== 'qwen2' && biased,
      mlp: type === 'llama' && c.flag('mlp_bias', false),
    },
    headNorm: type === 'qwen3',
    tied: c.flag('tie_word_embeddings', false),
  };
}
