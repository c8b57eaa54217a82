import { gelu, type Tensor } from '../../src/graph/index.ts';
import {
  causalMask,
  dotProductAttention,
  embedding,
  joinHeads,
  layerNorm,
  linear,
  normalInit,
  type Scope,
  splitHeads,
  zerosInit,
} from '../../src/nn/index.ts';

export interface DecoderConfig {
  readonly vocabulary: number;
  readonly context: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
}

/** Next-token logits [N, L, vocabulary] of a GPT-2 (Radford et al. 2019) for ids [N, L]; the head is the embedding. */
export function decoder(s: Scope, ids: Tensor, c: DecoderConfig): Tensor {
  const project = (at: Scope, x: Tensor, out: number) =>
    linear(at, x, out, { init: normalInit(0.02), biasInit: zerosInit });
  const length = ids.dim(1);
  const places = s.weight('wpe.weight', [c.context, c.width], normalInit(0.02));
  let x = embedding(s.at('wte'), ids, c.vocabulary, c.width, normalInit(0.02)).add(
    places.slice(0, 0, length),
  );
  const mask = causalMask(length);
  for (let i = 0; i < c.layers; i++) {
    const block = s.at('h').at(i);
    const qkv = project(block.at('attn'), layerNorm(block.at('ln_1'), x), 3 * c.width);
    const [q, k, v] = [0, 1, 2].map((j) =>
      splitHeads(qkv.slice(2, j * c.width, (j + 1) * c.width), c.heads),
    ) as [Tensor, Tensor, Tensor];
    x = x.add(project(block.at('proj'), joinHeads(dotProductAttention(q, k, v, mask)), c.width));
    const inner = gelu(project(block.at('fc'), layerNorm(block.at('ln_2'), x), 4 * c.width), 'tanh');
    x = x.add(project(block.at('out'), inner, c.width));
  }
  const head = s.weight('wte.weight', [c.vocabulary, c.width], normalInit(0.02));
  return layerNorm(s.at('ln_f'), x).matmul(head, { transB: true });
}
