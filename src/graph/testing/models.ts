/** Loss and gradients of typical models, to look at, to count and to compile. */

import type { ClassifierOutput, ConvNetConfig } from '../../models/classifiers/index.ts';
import * as networks from '../../models/classifiers/index.ts';
import {
  batchNormByBatch,
  causalMask,
  crossEntropy,
  dotProductAttention,
  embedding,
  type Intercept,
  joinHeads,
  layerNorm,
  linear,
  normalInit,
  type Scope,
  splitHeads,
  trace,
  zerosInit,
} from '../../nn/index.ts';
import { concat, gelu, grad, input, memoryWeights, type Tensor, type WeightSource, zeros } from '../index.ts';

export type Graph = Record<string, Tensor>;

/** Loss and gradients of all that `build` trains. */
export function step(source: WeightSource | 'scratch', build: (s: Scope) => Tensor): Graph {
  const { result: loss, params } = trace(source, build);
  const gradients = grad(
    loss,
    params.map((p) => p.tensor),
  );
  return { loss, ...Object.fromEntries(params.map((p, i) => [`grad ${p.name}`, gradients[i]!])) };
}

/** The weights that `build` reads, all zero: a source of frozen ones. */
export const frozen = (build: (s: Scope) => unknown): WeightSource =>
  memoryWeights(Object.fromEntries(trace('scratch', build).params.map((p) => [p.name, zeros(p.shape)])));

const labels = (n: number): Tensor => input('labels', [n], 'int64');

export interface TransformerSizes {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly batch: number;
  readonly length: number;
  readonly vocabulary: number;
}

/** Blocks as in GPT-2 (norm first, causal) or in BERT (norm after). */
function blocks(s: Scope, input: Tensor, c: TransformerSizes, causal: boolean): Tensor {
  const mask = causal ? causalMask(input.dim(1)) : undefined;
  const attend = (at: Scope, x: Tensor) => {
    const heads = (name: string) => splitHeads(linear(at.at(name), x, c.width), c.heads);
    const mixed = dotProductAttention(heads('query'), heads('key'), heads('value'), mask);
    return linear(at.at('out'), joinHeads(mixed), c.width);
  };
  const feed = (at: Scope, x: Tensor) =>
    linear(at.at('fc2'), gelu(linear(at.at('fc1'), x, 4 * c.width), causal ? 'tanh' : 'none'), c.width);
  let x = input;
  for (let i = 0; i < c.layers; i++) {
    const at = s.at('layers').at(i);
    if (causal) {
      x = x.add(attend(at, layerNorm(at.at('norm1'), x)));
      x = x.add(feed(at, layerNorm(at.at('norm2'), x)));
    } else {
      x = layerNorm(at.at('norm1'), x.add(attend(at, x)));
      x = layerNorm(at.at('norm2'), x.add(feed(at, x)));
    }
  }
  return x;
}

const classify = (s: Scope, x: Tensor, c: TransformerSizes): Tensor =>
  crossEntropy(linear(s.at('classifier'), x.slice(1, 0, 1).reshape([c.batch, c.width]), 4), labels(c.batch));

const tokens = (s: Scope, c: TransformerSizes): Tensor =>
  embedding(s.at('embeddings'), input('ids', [c.batch, c.length], 'int64'), c.vocabulary, c.width);

const encoderLoss = (s: Scope, c: TransformerSizes): Tensor =>
  classify(s, blocks(s, s.tap('tokens', tokens(s, c)), c, false), c);

/** A BERT-like classifier with `prompts` trained tokens before the others; all else is frozen. */
export function promptedEncoder(c: TransformerSizes, prompts: number): Graph {
  return step(
    frozen((s) => encoderLoss(s, c)),
    (s) => {
      const prompt = s.param('prompt', [prompts, c.width], normalInit(0.02));
      const place: Intercept = (x) => concat([prompt.expand([c.batch, prompts, c.width]), x], 1);
      return encoderLoss(s.intercept({ tap: { tokens: place } }), c);
    },
  );
}

/** A BERT-like classifier with low-rank updates of queries and values (Hu et al. 2022); all else is frozen. */
export function loraEncoder(c: TransformerSizes, rank: number): Graph {
  return step(
    frozen((s) => encoderLoss(s, c)),
    (s) => {
      // W + B·A, as LoRA is when it is folded; a layer's own bypass is x·Aᵀ·Bᵀ.
      const update: Intercept = (w, { name, param }) => {
        const down = param(`${name}.A`, [rank, w.dim(1)], normalInit(0.02));
        const up = param(`${name}.B`, [w.dim(0), rank], zerosInit);
        return w.add(up.matmul(down).mul(2));
      };
      return encoderLoss(
        s.intercept({ weight: { '**.query.weight': update, '**.value.weight': update } }),
        c,
      );
    },
  );
}

/** All parameters of a GPT-like decoder, next-token loss over tied embeddings. */
export function decoder(c: TransformerSizes): Graph {
  return step('scratch', (s) => {
    const x = blocks(s, tokens(s, c), c, true);
    const table = s.at('embeddings').weight('weight', [c.vocabulary, c.width]);
    const logits = layerNorm(s.at('norm'), x).matmul(table, { transB: true });
    return crossEntropy(logits.reshape([-1, c.vocabulary]), labels(c.batch * c.length));
  });
}

export interface ImageSizes {
  readonly batch: number;
  readonly size: number;
  readonly width: number;
}

const images = (c: ImageSizes) => input('images', [c.batch, 3, c.size, c.size]);
const imageLoss = ({ logits }: ClassifierOutput): Tensor => crossEntropy(logits, labels(logits.dim(0)));
const convNetLoss = (s: Scope, x: Tensor, width: number, activation?: ConvNetConfig['activation']): Tensor =>
  imageLoss(networks.convNet(s, x, { classes: 10, width, ...(activation && { activation }) }));

export const convNet = (c: ImageSizes): Graph => step('scratch', (s) => convNetLoss(s, images(c), c.width));

/** The gradient of the squared norm of the gradient of all parameters, with respect to the images. */
export function convNetSecondOrder(c: ImageSizes): Graph {
  const x = images(c);
  const { result: loss, params } = trace('scratch', (s) => convNetLoss(s, x, c.width, 'swish'));
  const first = grad(
    loss,
    params.map((p) => p.tensor),
  );
  const distance = first.map((g) => g.square().sum()).reduce((a, b) => a.add(b));
  return { distance, 'grad images': grad(distance, [x])[0]! };
}

/** A ResNet for small images with batch norm by the batch's statistics. */
export const resNet = (c: ImageSizes, blocks: readonly number[], bottleneck: boolean): Graph =>
  step('scratch', (s) => {
    const config = { classes: 10, blocks, width: c.width, bottleneck, stem: 'cifar' } as const;
    return imageLoss(networks.resNet(s, images(c), config, batchNormByBatch));
  });
