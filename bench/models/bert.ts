import { concat, gelu, type Tensor, tanh } from '../../src/graph/index.ts';
import {
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

/** bert-base-uncased. */
const [width, heads, layers, vocabulary, positions, eps] = [768, 12, 12, 30522, 512, 1e-12];

const project = (s: Scope, x: Tensor, out: number): Tensor =>
  linear(s, x, out, { init: normalInit(0.02), biasInit: zerosInit });

export interface BertOptions {
  /** Soft tokens [count, width] before the sentence. */
  readonly prompt?: Tensor;
  /** What replaces the output y of a query's or value's projection of x. */
  readonly adapt?: (s: Scope, x: Tensor, y: Tensor) => Tensor;
}

/** Logits of a classifier over BERT's pooled first token (Devlin et al. 2019), for ids [N, L]. */
export function bertClassifier(s: Scope, ids: Tensor, classes: number, options: BertOptions = {}): Tensor {
  const { prompt, adapt = (_s, _x, y) => y } = options;
  const bert = s.at('bert');
  const e = bert.at('embeddings');
  let x = embedding(e.at('word_embeddings'), ids, vocabulary, width, normalInit(0.02));
  if (prompt) x = concat([prompt.expand([x.dim(0), prompt.dim(0), width]), x], 1);
  const places = e.weight('position_embeddings.weight', [positions, width], normalInit(0.02));
  const kinds = e.weight('token_type_embeddings.weight', [2, width], normalInit(0.02));
  x = x.add(places.slice(0, 0, x.dim(1))).add(kinds.slice(0, 0, 1));
  x = layerNorm(e.at('LayerNorm'), x, eps);
  for (let i = 0; i < layers; i++) {
    const layer = bert.at('encoder.layer').at(i);
    const self = layer.at('attention.self');
    const adapted = (name: string) => adapt(self.at(name), x, project(self.at(name), x, width));
    const [q, k, v] = [adapted('query'), project(self.at('key'), x, width), adapted('value')];
    const mixed = joinHeads(
      dotProductAttention(splitHeads(q, heads), splitHeads(k, heads), splitHeads(v, heads)),
    );
    const out = layer.at('attention.output');
    x = layerNorm(out.at('LayerNorm'), project(out.at('dense'), mixed, width).add(x), eps);
    const inner = gelu(project(layer.at('intermediate.dense'), x, 4 * width));
    const mlp = layer.at('output');
    x = layerNorm(mlp.at('LayerNorm'), project(mlp.at('dense'), inner, width).add(x), eps);
  }
  const first = x.slice(1, 0, 1).reshape([x.dim(0), width]);
  return project(s.at('classifier'), tanh(project(bert.at('pooler.dense'), first, width)), classes);
}
