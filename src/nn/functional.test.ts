import { describe } from 'vitest';
import { constant, f32, i64, logSoftmax, type Tensor } from '../graph/index.ts';
import { testGolden } from '../graph/testing/golden.ts';
import {
  binaryCrossEntropy,
  causalMask,
  cosineEmbedding,
  crossEntropy,
  dotProductAttention,
  huber,
  klDivergence,
  nll,
  smoothL1,
  triplet,
} from './index.ts';

const target = constant(i64([0, -100, 2, 2]));
const weights = constant(f32([0.5, 1, 2, 1, 0.3]));
const seen = constant(f32([1, 0, 0, 0], [1, 2, 2]));
const mask = constant({ dtype: 'bool', shape: [1, 4], data: Uint8Array.of(1, 0, 1, 1) });

const functions: Record<string, (...xs: Tensor[]) => Tensor> = {
  'crossEntropy ignored': (x) => crossEntropy(x!, target),
  'crossEntropy ignored smoothed': (x) => crossEntropy(x!, target, { labelSmoothing: 0.2 }),
  'crossEntropy weights': (x) => crossEntropy(x!, target, { classWeights: weights }),
  'crossEntropy none': (x) => crossEntropy(x!, target, { reduction: 'none' }),
  'crossEntropy sum': (x) => crossEntropy(x!, target, { reduction: 'sum' }),
  klDivergence: (p, q) => klDivergence(logSoftmax(p!), logSoftmax(q!)),
  binaryCrossEntropy: (x, t) => binaryCrossEntropy(x!, t!),
  'binaryCrossEntropy positive': (x, t) =>
    binaryCrossEntropy(x!, t!, { positiveWeight: weights.slice(0, 0, 4) }),
  'crossEntropy impossible class': (x) => crossEntropy(x!, constant(i64([0, 1]))),
  nll: (x) => nll(logSoftmax(x!), target),
  huber: (a, b) => huber(a!, b!, 0.5),
  cosineEmbedding: (a, b) => cosineEmbedding(a!, b!, constant(f32([1, -1, -1])), 0.1, 'sum'),
  triplet: (a, b, c) => triplet(a!, b!, c!),
  'attention, nowhere to look': (q, k, v) =>
    dotProductAttention(q!, k!, v!, q!.slice(2, 0, 2).mul(0).add(seen).cast('bool')),
  smoothL1: (a, b) => smoothL1(a!, b!, 0.5),
  'attention bias': (q, k, v, bias) => dotProductAttention(q!, k!, v!, bias),
  'attention mask': (q, k, v) => dotProductAttention(q!, k!, v!, mask),
  'attention causal': (q, k, v) => dotProductAttention(q!, k!, v!, causalMask(3), 0.3),
};

describe('losses and attention equal those of PyTorch, with their gradients', () => {
  testGolden(new URL('./testdata/functional.json', import.meta.url), functions);
});
