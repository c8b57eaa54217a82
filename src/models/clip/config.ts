import { didYouMean } from '../../graph/nearest.ts';
import { type Activation, activations } from '../../nn/index.ts';

/** One transformer tower. */
export interface TowerConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly activation: Activation;
  readonly eps: number;
}
export interface ClipConfig {
  /** Dimension of the joint space. */
  readonly projection: number;
  readonly logitScaleInit: number;
  readonly text: TowerConfig & {
    readonly vocabulary: number;
    readonly context: number;
    readonly eosToken: number;
  };
  readonly vision: TowerConfig & {
    readonly imageSize: number;
    readonly patchSize: number;
    readonly channels: number;
  };
}

type Json = Record<string, unknown>;

/**
 * Reads the config.json of a Hugging Face CLIP. Keys that old files leave out have the values that `transformers`
 * gives them. Throws on another model type, an unknown activation, or sizes that do not fit.
 */
export function parseClipConfig(json: Json): ClipConfig {
  if (json.model_type !== undefined && json.model_type !== 'clip') {
    throw new Error(`config.json describes a "${json.model_type}" model, not "clip"`);
  }
  // Files of 2021 keep the towers under *_config_dict. transformers lets it override *_config altogether: what it
  // leaves out has its default, whatever *_config says.
  const part = (name: string): Json => (json[`${name}_config_dict`] ?? json[`${name}_config`] ?? {}) as Json;
  const text = part('text');
  const vision = part('vision');
  const number = (from: Json, where: string, key: string, fallback: number): number => {
    const value = from[key] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw new Error(`config.json: ${where}.${key} must be a number, not ${JSON.stringify(value)}`);
    }
    return value;
  };
  const count = (from: Json, where: string, key: string, fallback: number): number => {
    const value = number(from, where, key, fallback);
    if (!Number.isInteger(value) || value < 1) {
      throw new Error(`config.json: ${where}.${key} must be a positive whole number, not ${value}`);
    }
    return value;
  };
  const tower = (from: Json, where: string, width: number, heads: number, mlp: number): TowerConfig => {
    const activation = String(from.hidden_act ?? 'quick_gelu');
    if (!Object.hasOwn(activations, activation)) {
      const near = didYouMean(activation, Object.keys(activations));
      throw new Error(`config.json: unknown activation ${where}.hidden_act "${activation}"${near}`);
    }
    const tower = {
      width: count(from, where, 'hidden_size', width),
      layers: count(from, where, 'num_hidden_layers', 12),
      heads: count(from, where, 'num_attention_heads', heads),
      mlpWidth: count(from, where, 'intermediate_size', mlp),
      activation: activation as Activation,
      eps: number(from, where, 'layer_norm_eps', 1e-5),
    };
    if (tower.width % tower.heads !== 0) {
      throw new Error(
        `config.json: ${where} width ${tower.width} is not a multiple of its ${tower.heads} heads`,
      );
    }
    return tower;
  };
  return {
    projection: count(json, 'config', 'projection_dim', 512),
    logitScaleInit: number(json, 'config', 'logit_scale_init_value', 2.6592),
    text: {
      ...tower(text, 'text_config', 512, 8, 2048),
      vocabulary: count(text, 'text_config', 'vocab_size', 49408),
      context: count(text, 'text_config', 'max_position_embeddings', 77),
      eosToken: number(text, 'text_config', 'eos_token_id', 49407),
    },
    vision: {
      ...tower(vision, 'vision_config', 768, 12, 3072),
      imageSize: count(vision, 'vision_config', 'image_size', 224),
      patchSize: count(vision, 'vision_config', 'patch_size', 32),
      channels: count(vision, 'vision_config', 'num_channels', 3),
    },
  };
}

/** The config.json that `transformers` reads for this configuration. */
export function writeClipConfig(c: ClipConfig, tokens: { bos: number; eos: number; pad: number }): Json {
  const tower = (t: TowerConfig): Json => ({
    hidden_size: t.width,
    num_hidden_layers: t.layers,
    num_attention_heads: t.heads,
    intermediate_size: t.mlpWidth,
    hidden_act: t.activation,
    layer_norm_eps: t.eps,
    projection_dim: c.projection,
  });
  return {
    architectures: ['CLIPModel'],
    model_type: 'clip',
    projection_dim: c.projection,
    logit_scale_init_value: c.logitScaleInit,
    text_config: {
      model_type: 'clip_text_model',
      ...tower(c.text),
      vocab_size: c.text.vocabulary,
      max_position_embeddings: c.text.context,
      bos_token_id: tokens.bos,
      eos_token_id: tokens.eos,
      pad_token_id: tokens.pad,
    },
    vision_config: {
      model_type: 'clip_vision_model',
      ...tower(c.vision),
      image_size: c.vision.imageSize,
      patch_size: c.vision.patchSize,
      num_channels: c.vision.channels,
    },
  };
}
