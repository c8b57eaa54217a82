import { constant, i64, type Tensor } from '../../src/graph/index.ts';
import { adapt, type Order, orders } from '../../src/methods/gram/adapt.ts';
import { regulator } from '../../src/methods/gram/regulator.ts';
import {
  cosineLogits,
  logitScale,
  parseClipConfig,
  placeTokens,
  textTower,
} from '../../src/models/clip/index.ts';
import { adam, chain, clipByGlobalNorm, crossEntropy, normalInit, type Scope } from '../../src/nn/index.ts';
import { type Benchmark, training } from '../benchmark.ts';
import { noise, sentenceIds } from '../data.ts';

const config = parseClipConfig({ vision_config: { patch_size: 16 } });
const [tasks, ways, shots, queries, length, tokens] = [2, 5, 2, 5, 77, 4];
const slots = Array.from({ length: ways }, () => Array.from({ length: tokens }, (_, j) => 1 + j));
const labelsOf = (each: number) =>
  constant(i64(Array.from({ length: ways * each }, (_, i) => Math.floor(i / each))));
const of = (x: Tensor, task: number) => x.slice(0, task, task + 1).reshape(x.shape.slice(1));

function lossOf(s: Scope, ids: Tensor, features: Tensor, each: number): Tensor {
  const context = s.param('context', [tokens, config.text.width], normalInit(0.02));
  const prompted = s.intercept({
    tap: { 'text_model.embeddings:tokens': (x: Tensor) => placeTokens(x, context, slots) },
  });
  const text = textTower(prompted, ids, config).features;
  return crossEntropy(cosineLogits(features, text, logitScale(s, config)), labelsOf(each));
}

function metaStep(order: Order): Benchmark {
  const benchmark = training({
    name: `gram-${order}`,
    about: `GRAM's meta-training step over CoOp at CLIP ViT-B/16 size, ${order} order: ${tasks} tasks of ${ways} classes of ${length} tokens, M = ${tokens}, ${shots} support and ${queries} query features a class, regulator B, Adam`,
    torch: { script: 'gram', settings: { order } },
    frozen: true,
    batch() {
      return {
        ids: { ...sentenceIds(tasks * ways, length), shape: [tasks, ways, length] },
        support: noise('support', [tasks, ways * shots, config.projection]),
        query: noise('query', [tasks, ways * queries, config.projection]),
      };
    },
    build(s, batch) {
      const theta = { context: s.param('context', [tokens, config.text.width], normalInit(0.02)) };
      const regulate = regulator(s.at('regulator'), 'conditioned');
      const losses = Array.from({ length: tasks }, (_, t) => {
        const [ids, support, query] = [batch.ids!, batch.support!, batch.query!].map((x) => of(x, t));
        const inner = { innerSteps: 1, innerRate: 0.05, order };
        const adapted = adapt(theta, (v) => lossOf(s.bind(v), ids!, support!, shots), regulate, inner);
        return lossOf(s.bind(adapted), ids!, query!, queries);
      });
      return { loss: losses.reduce((a, b) => a.add(b)).div(tasks) };
    },
    optimizer: chain(clipByGlobalNorm(1), adam({ lr: 1e-3 })),
  });
  return {
    ...benchmark,
    async prepare() {
      const { weights, batch } = await benchmark.prepare();
      // The regulator begins as the identity, of which half the gradients are zero.
      const name = 'regulator.context.out.weight';
      const { shape } = weights[name]!;
      const data = noise(name, shape).data.map((v) => 0.1 * v);
      return { batch, weights: { ...weights, [name]: { dtype: 'float32', shape, data } } };
    },
  };
}

export const gramBenchmarks: readonly Benchmark[] = orders.map(metaStep);
