import type { Activation } from '../../nn/index.ts';
import { type ConfigReader, configReader, type Json, requireHeads, requireModelType } from '../config.ts';

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

/**
 * Reads the config.json of a Hugging Face CLIP. Keys that old files leave out have the values that `transformers`
 * gives them. Throws on another model type, an unknown activation, or sizes that do not fit.
 */
export function parseClipConfig(json: Json): ClipConfig {
  requireModelType(json, 'clip');
  // Files of 2021 keep the towers under *_config_dict. transformers lets it override *_config altogether: what it
  // leaves out has its default, whatever *_config says.
  const part = (name: string) => configReader((json[`${name}_dict`] ?? json[name] ?? {}) as Json, name);
  const tower = (
    from: ConfigReader,
    where: string,
    width: number,
    heads: number,
    mlp: number,
  ): TowerConfig => {
    const tower = {
      width: from.count('hidden_size', width),
      layers: from.count('num_hidden_layers', 12),
      heads: from.count('num_attention_heads', heads),
      mlpWidth: from.count('intermediate_size', mlp),
      activation: from.activation('hidden_act', 'quick_gelu'),
      eps: from.number('layer_norm_eps', 1e-5),
    };
    requireHeads(tower.width, tower.heads, where);
    return tower;
  };
  const [top, text, vision] = [configReader(json), part('text_config'), part('vision_config')];
  return {
    projection: top.count('projection_dim', 512),
    logitScaleInit: top.number('logit_scale_init_value', 2.6592),
    text: {
      ...tower(text, 'text_config', 512, 8, 2048),
      vocabulary: text.count('vocab_size', 49408),
      context: text.count('max_position_embeddings', 77),
      eosToken: text.number('eos_token_id', 49407),
    },
    vision: {
      ...tower(vision, 'vision_config', 768, 12, 3072),
      imageSize: vision.count('image_size', 224),
      patchSize: vision.count('patch_size', 32),
      channels: vision.count('num_channels', 3),
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
