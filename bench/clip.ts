import { input, type Tensor, toFloat32 } from '../src/graph/index.ts';
import {
  cosineLogits,
  logitScale,
  parseClipConfig,
  placeTokens,
  textTower,
  visionTower,
} from '../src/models/clip/index.ts';
import { crossEntropy, normalInit, type Scope, sgd, type Tree, trace } from '../src/nn/index.ts';
import { compile } from '../src/runtime/index.ts';
import { type Benchmark, freshWeights, inputsOf, training } from './benchmark.ts';
import { integers, noise, sentenceIds } from './data.ts';

const config = parseClipConfig({ vision_config: { patch_size: 16 } });
const [classes, length, tokens] = [20, 77, 16];
const slots = Array.from({ length: classes }, () => Array.from({ length: tokens }, (_, j) => 1 + j));

const coopStep = training({
  name: 'coop-step',
  about: `CoOp at CLIP ViT-B/16 size: ${classes} classes of ${length} tokens, M = ${tokens}, 32 image features, SGD with momentum (in use, prompts are cut after the longest end token, which makes it cheaper)`,
  torch: { script: 'clip', settings: { part: 'text' } },
  frozen: true,
  batch: () => ({
    ids: sentenceIds(classes, length),
    features: noise('features', [32, 512]),
    labels: integers('labels', [32], classes),
  }),
  build(s, { ids, features, labels }) {
    const context = s.param('context', [tokens, 512], normalInit(0.02));
    const prompted = s.intercept({
      tap: { 'text_model.embeddings:tokens': (x: Tensor) => placeTokens(x, context, slots) },
    });
    const text = textTower(prompted, ids!, config).features;
    return { loss: crossEntropy(cosineLogits(features!, text, logitScale(s, config)), labels!) };
  },
  optimizer: sgd({ lr: 0.002, momentum: 0.9, weightDecay: 5e-4 }),
});

const encode = (s: Scope, { pixels }: Tree) => visionTower(s, pixels!, config).features;
const images: Benchmark = {
  name: 'clip-images',
  about: '8 images of 224×224 encoded by CLIP ViT-B/16',
  torch: { script: 'clip', settings: { part: 'vision' } },
  async prepare() {
    const batch = { pixels: noise('pixels', [8, 3, 224, 224]) };
    return { batch, weights: await freshWeights((s) => encode(s, inputsOf(batch))) };
  },
  graph: (source, batch) => [trace(source, (s) => encode(s, inputsOf(batch))).result],
  async start(source, batch, options) {
    const pixels = input('pixels', batch.pixels!.shape);
    const { result } = trace(source, (s) => encode(s, { pixels }));
    const program = await compile({ features: result }, options);
    let features = noise('unused', [0]) as typeof batch.pixels;
    return {
      async step() {
        ({ features } = await program.run({ pixels: batch.pixels! }));
        const { data } = toFloat32(features!);
        return data.reduce((sum, x) => sum + Math.abs(x), 0) / data.length;
      },
      results: () => ({ features: features! }),
      release: () => program.release(),
    };
  },
};

export const clipBenchmarks = [coopStep, images];
