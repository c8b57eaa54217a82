import { describe } from 'vitest';
import type { Tensor } from '../index.ts';
import { testGolden } from '../testing/golden.ts';
import * as ops from './index.ts';

const eye = (n: number, like: Tensor, scale = 1) =>
  ops.where(ops.equal(ops.triu(ops.tril(ops.expand(like.sum().mul(0).add(1), [n, n]))), 1), scale, 0);

const functions: Record<string, (...xs: Tensor[]) => Tensor> = {
  conv2d: (x, w, b) => ops.conv(x!, w!, b, { stride: 2, padding: 1, groups: 2 }),
  conv1d: (x, w, b) => ops.conv(x!, w!, b, { dilation: 2, padding: 2 }),
  convTranspose2d: (x, w, b) =>
    ops.convTranspose(x!, w!, b, { stride: 2, padding: 1, outputPadding: 1, groups: 2 }),
  convTranspose1d: (x, w) => ops.convTranspose(x!, w!, undefined, { stride: 3, dilation: 2 }),
  maxPool: (x) => ops.maxPool(x!, 2),
  'maxPool ties': (x) => ops.maxPool(x!, 3, { stride: 1, padding: 1 }),
  'maxPool ceil': (x) => ops.maxPool(x!, 3, { stride: 2, padding: 1, ceilMode: true }),
  'maxPool dilation': (x) => ops.maxPool(x!, [2, 3], { stride: 1, dilation: [2, 1] }),
  'maxPool 1d': (x) => ops.maxPool(x!, 3, { stride: 2 }),
  avgPool: (x) => ops.avgPool(x!, 2),
  'avgPool padding': (x) => ops.avgPool(x!, 3, { stride: 2, padding: 1 }),
  'avgPool without padding': (x) => ops.avgPool(x!, 3, { stride: 2, padding: 1, countIncludePad: false }),
  'avgPool ceil': (x) => ops.avgPool(x!, 3, { stride: 2, padding: 1, ceilMode: true }),
  'avgPool 1d': (x) => ops.avgPool(x!, 4, { stride: 3 }),
  adaptiveAvgPool: (x) => ops.adaptiveAvgPool(x!, [3, 2]),
  adaptiveMaxPool: (x) => ops.adaptiveMaxPool(x!, [3, 2]),
  'adaptiveMaxPool even': (x) => ops.adaptiveMaxPool(x!, 2),
  globalMaxPool: (x) => ops.globalMaxPool(x!),
  batchNorm: (x, s, b) => ops.batchNorm(x!, s, b),
  'batchNorm 1d': (x) => ops.batchNorm(x!, undefined, undefined, undefined, 0.1),
  'batchNorm running': (x, m, v, s, b) => ops.batchNorm(x!, s, b, { mean: m!, variance: v! }),
  groupNorm: (x, s, b) => ops.groupNorm(x!, 2, s, b),
  instanceNorm: (x, s, b) => ops.instanceNorm(x!, s, b),
  prod: (x) => ops.prod(x!, 1),
  'norm 2': (x) => ops.norm(x!, 2, 1),
  'norm 3': (x) => ops.norm(x!, 3, 0, true),
  'norm inf': (x) => ops.norm(x!, Number.POSITIVE_INFINITY, 1),
  'norm 1': (x) => ops.norm(x!, 1, 1),
  cosineSimilarity: (a, b) => ops.cosineSimilarity(a!, b!, 1),
  remainder: (a, b) => ops.remainder(a!, b!),
  variance: (x) => ops.variance(x!, 1, false, 1),
  triu: (x) => ops.triu(x!, 1).mul(2).add(ops.tril(x!, -1)),
  roll: (x) => ops.roll(x!, -2, 1).square(),
  reflect: (x) => ops.padWith('reflect', x!, [0, 0, 0, 2], [0, 0, 3, 1]).square(),
  edge: (x) => ops.padWith('edge', x!, [0, 0, 0, 2], [0, 0, 3, 1]).square(),
  wrap: (x) => ops.padWith('wrap', x!, [0, 0, 0, 2], [0, 0, 2, 1]).square(),
  sort: (x) => ops.sort(x!, 1, true)[0].square(),
  diagonal: (x) => ops.diagonal(x!, 0, 2).square(),
  cholesky: (x) => ops.cholesky(x!.matmul(x!, { transB: true }).add(eye(4, x!))),
  solveTriangular: (l, b) => ops.solveTriangular(ops.tril(l!).add(eye(3, l!, 3)), b!),
  inverse: (x) => ops.inverse(x!.add(eye(3, x!, 4))),
  'inverse, pivots': (x) => ops.inverse(x!),
  solve: (a, b) => ops.solve(a!, b!),
  leakyRelu: (x) => ops.leakyRelu(x!, 0.2),
  elu: (x) => ops.elu(x!, 0.7),
};
for (const equation of [
  'bij,bjk->bik',
  'ij,kj',
  'ii',
  'iji->j',
  'i,j->ji',
  '...ij,...j->...i',
  'bhqd,bkhd,bhk->qbh',
  'ab,ab->',
  'abc->ca',
  'ij,jk,kl->il',
  '...a,a...',
]) {
  functions[`einsum ${equation}`] = (...xs) => ops.einsum(equation, ...xs);
}
const plain = {
  tan: ops.tan,
  asin: ops.asin,
  acos: ops.acos,
  atan: ops.atan,
  sinh: ops.sinh,
  cosh: ops.cosh,
  asinh: ops.asinh,
  acosh: ops.acosh,
  atanh: ops.atanh,
  silu: (x: Tensor) => ops.silu(x),
  mish: ops.mish,
  logSigmoid: ops.logSigmoid,
  selu: ops.selu,
  hardSigmoid: ops.hardSigmoid,
  hardSwish: ops.hardSwish,
  softsign: ops.softsign,
};
for (const [name, f] of Object.entries(plain)) functions[name] = (x) => f(x!);
const resized: [string, [number, number], ops.ResizeOptions][] = [
  ['nearest up', [10, 8], {}],
  ['nearest uneven', [7, 3], {}],
  ['bilinear up', [8, 9], { mode: 'bilinear' }],
  ['bilinear down', [3, 2], { mode: 'bilinear' }],
  ['bilinear corners', [7, 3], { mode: 'bilinear', alignCorners: true }],
  ['bilinear antialias', [3, 2], { mode: 'bilinear', antialias: true }],
  ['bicubic up', [8, 9], { mode: 'bicubic' }],
  ['bicubic corners', [3, 6], { mode: 'bicubic', alignCorners: true }],
  ['bicubic antialias', [2, 3], { mode: 'bicubic', antialias: true }],
];
for (const [name, size, options] of resized) {
  functions[`resize ${name}`] = (x) => ops.resize(x!, size, options);
}
for (const mode of ['bilinear', 'nearest'] as const) {
  for (const paddingMode of ['zeros', 'border', 'reflection'] as const) {
    for (const alignCorners of [false, true]) {
      const name = `gridSample ${mode} ${paddingMode} ${alignCorners ? 'True' : 'False'}`;
      functions[name] = (x, grid) => ops.gridSample(x!, grid!, { mode, paddingMode, alignCorners });
    }
  }
}

describe('values and gradients equal those of PyTorch', () => {
  testGolden(new URL('../testdata/ops.json', import.meta.url), functions);
});
