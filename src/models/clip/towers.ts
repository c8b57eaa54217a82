import * as g from '../../graph/index.ts';
import { argMax, concat, equal, gather, type Tensor } from '../../graph/index.ts';
import {
  activations,
  causalMask,
  constantInit,
  dotProductAttention,
  embedding,
  joinHeads,
  LOWEST,
  layerNorm,
  linear,
  normalInit,
  type Scope,
  splitHeads,
  zerosInit,
} from '../../nn/index.ts';
import type { ClipConfig, TowerConfig } from './config.ts';

/** The outputs of one tower. The states of all positions are built when they are asked for. */
export interface TowerOutput {
  /** Input of the first layer, then the output of each layer (as transformers' `hidden_states`): [B, T, width]. */
  hiddenStates(): readonly Tensor[];
  /** Last layer's output; of the text tower after its final LayerNorm: [B, T, width]. */
  lastHiddenState(): Tensor;
  /** The end-of-text or class position, normalised: [B, width]. */
  readonly pooled: Tensor;
  /** Projected into the joint space, not normalised: [B, projection]. */
  readonly features: Tensor;
}

/** Picks the positions that are read, of [B, T, width] or of a mask [B or 1, 1, T, T]. */
type Pick = (x: Tensor) => Tensor;

/**
 * One residual block, for all positions or for those that `pick` leaves: [B, picked, width]. Taps: `PATH:in` before and
 * `PATH:out` after the block. Initial values as transformers draws them.
 */
function block(s: Scope, input: Tensor, c: TowerConfig, mask?: Tensor, pick: Pick = (x) => x): Tensor {
  const inStd = c.width ** -0.5 * (2 * c.layers) ** -0.5;
  const projection = (at: Scope, x: Tensor, out: number, std: number) =>
    linear(at, x, out, { init: normalInit(std), biasInit: zerosInit });

  const x = s.tap('in', input);
  const attention = s.at('self_attn');
  const y = layerNorm(s.at('layer_norm1'), x, c.eps);
  const heads = (name: string, of: Tensor) =>
    splitHeads(projection(attention.at(name), of, c.width, inStd), c.heads);
  const [q, k, v] = [heads('q_proj', pick(y)), heads('k_proj', y), heads('v_proj', y)];
  const mixed = joinHeads(dotProductAttention(q, k, v, mask && pick(mask)));
  const attended = pick(x).add(projection(attention.at('out_proj'), mixed, c.width, c.width ** -0.5));

  const mlp = s.at('mlp');
  const z = layerNorm(s.at('layer_norm2'), attended, c.eps);
  const inner = activations[c.activation](projection(mlp.at('fc1'), z, c.mlpWidth, (2 * c.width) ** -0.5));
  return s.tap('out', attended.add(projection(mlp.at('fc2'), inner, c.width, inStd)));
}

/**
 * All layers. Of the last one only the picked positions are computed, a tenth of the whole work saved, unless its
 * output is tapped: [B, 1, width].
 */
function encoder(s: Scope, x: Tensor, c: TowerConfig, pick: Pick, mask?: Tensor) {
  const states = [x];
  const layers = s.at('layers');
  for (let layer = 0; layer < c.layers - 1; layer++) {
    states.push(block(layers.at(layer), states[layer]!, c, mask));
  }
  const last = layers.at(c.layers - 1);
  const final = (p?: Pick) => block(last, states.at(-1)!, c, mask, p);
  const picked = last.tapped('out') ? pick(final()) : final(pick);
  return { picked, all: () => [...states, final()] };
}

const project = (s: Scope, name: string, x: Tensor, out: number): Tensor =>
  linear(s.at(name), x, out, { bias: false, init: normalInit(x.dim(-1) ** -0.5) });

/**
 * The text tower on token ids [N, L] (int64). L may be shorter than the context: the tower is causal, so cutting
 * behind the longest end token changes nothing before it.
 *
 * Taps: `text_model.embeddings:ids` (where sentences may be fed in place of constants), `text_model.embeddings:tokens`
 * (token embeddings before positions are added, where soft tokens go),
 * `text_model.encoder.layers.*:in` and `:out`.
 *
 * @param attentionMask optional [N, L] of 1 and 0, for padded hidden states equal to transformers'.
 */
export function textTower(s: Scope, tokenIds: Tensor, c: ClipConfig, attentionMask?: Tensor): TowerOutput {
  const model = s.at('text_model');
  const embeddings = model.at('embeddings');
  const ids = embeddings.tap('ids', tokenIds);
  const [n, length] = ids.shape as [number, number];
  const { width, vocabulary, context, eps, eosToken } = c.text;
  if (length > context) {
    throw new Error(`${length} tokens do not fit the text tower's context of ${context}`);
  }
  const tokens = embeddings.tap(
    'tokens',
    embedding(embeddings.at('token_embedding'), ids, vocabulary, width, normalInit(0.02)),
  );
  const positions = embeddings.weight('position_embedding.weight', [context, width], normalInit(0.02));
  let mask = causalMask(length).reshape([1, 1, length, length]);
  if (attentionMask) {
    const hidden = g.sub(1, attentionMask.cast('float32')).mul(LOWEST);
    mask = g.minimum(mask, hidden.reshape([n, 1, 1, length]));
  }
  // Configurations of 2021 name a wrong end token, 2; there the end token is the one with the highest id.
  const end = eosToken === 2 ? argMax(ids.cast('float32')) : argMax(equal(ids, eosToken).cast('float32'));
  const rows = g.constant(g.i64(Array.from({ length: n }, (_, i) => i * length)));
  const atEnd: Pick = (t) =>
    t.rank === 3
      ? gather(t.reshape([n * length, width]), end.add(rows)).reshape([n, 1, width])
      : gather(t.expand([n, 1, length, length]).reshape([n * length, length]), end.add(rows)).reshape([
          n,
          1,
          1,
          length,
        ]);
  const x = tokens.add(positions.slice(0, 0, length));
  const { picked, all } = encoder(model.at('encoder'), x, c.text, atEnd, mask);
  const normal = (t: Tensor) => layerNorm(model.at('final_layer_norm'), t, eps);
  const pooled = normal(picked.reshape([n, width]));
  return {
    hiddenStates: all,
    lastHiddenState: () => normal(all().at(-1)!),
    pooled,
    features: project(s, 'text_projection', pooled, c.projection),
  };
}

/**
 * The vision tower on preprocessed pixels [B, channels, H, W].
 *
 * Taps: `vision_model.embeddings:out` (class and patch tokens with positions, before the first LayerNorm, where
 * visual prompts are appended), `vision_model.encoder.layers.*:in` and `:out`.
 */
export function visionTower(s: Scope, pixels: Tensor, c: ClipConfig): TowerOutput {
  const { width, imageSize, patchSize: p, channels, eps } = c.vision;
  const [batch, ...image] = pixels.shape;
  if (String(image) !== String([channels, imageSize, imageSize])) {
    throw new Error(
      `The vision tower expects [B, ${channels}, ${imageSize}, ${imageSize}], not [${pixels.shape}]`,
    );
  }
  const grid = Math.floor(imageSize / p);
  const model = s.at('vision_model');
  const embeddings = model.at('embeddings');
  // A convolution with stride = kernel is a product with each patch laid flat.
  const patches = pixels
    .slice(2, 0, grid * p)
    .slice(3, 0, grid * p)
    .reshape([batch!, channels, grid, p, grid, p])
    .transpose([0, 2, 4, 1, 3, 5])
    .reshape([batch!, grid * grid, channels * p * p]);
  const kernel = embeddings.weight('patch_embedding.weight', [width, channels, p, p], normalInit(0.02));
  const patchTokens = patches.matmul(kernel.reshape([width, channels * p * p]), { transB: true });
  const classToken = embeddings.weight('class_embedding', [width], normalInit(width ** -0.5));
  const positions = embeddings.weight(
    'position_embedding.weight',
    [grid * grid + 1, width],
    normalInit(0.02),
  );
  const tokens = concat([classToken.expand([batch!, 1, width]), patchTokens], 1).add(positions);
  // The name is misspelt in every checkpoint.
  const x = layerNorm(model.at('pre_layrnorm'), embeddings.tap('out', tokens), eps);
  const { picked, all } = encoder(model.at('encoder'), x, c.vision, (t) => t.slice(1, 0, 1));
  const pooled = layerNorm(model.at('post_layernorm'), picked.reshape([batch!, width]), eps);
  return {
    hiddenStates: all,
    lastHiddenState: () => all().at(-1)!,
    pooled,
    features: project(s, 'visual_projection', pooled, c.projection),
  };
}

/** exp(logit_scale): the temperature that multiplies cosines, about 100 in trained models. A scalar. */
export const logitScale = (s: Scope, c: ClipConfig): Tensor =>
  s.weight('logit_scale', [], constantInit(c.logitScaleInit)).exp();

/** scale · cosine of image features [B, D] with text features [C, D], or [B, C, D] for each image its own: logits [B, C]. */
export function cosineLogits(image: Tensor, text: Tensor, scale: Tensor): Tensor {
  const [x, t] = [g.l2Normalize(image), g.l2Normalize(text)];
  if (t.rank === 2) return x.matmul(t, { transB: true }).mul(scale);
  const [batch, classes, width] = t.shape as [number, number, number];
  return t
    .matmul(x.reshape([batch, width, 1]))
    .reshape([batch, classes])
    .mul(scale);
}
