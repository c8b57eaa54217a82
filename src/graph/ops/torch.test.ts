import { describe } from 'vitest';
import { constant, i64, type Tensor } from '../index.ts';
import { testGolden } from '../testing/golden.ts';
import * as ops from './index.ts';

const eye = (n: number, like: Tensor, scale = 1) =>
  ops.where(ops.equal(ops.triu(ops.tril(ops.expand(like.sum().mul(0).add(1), [n, n]))), 1), scale, 0);

const corner = constant(i64([0, 1, 0, 0], [2, 2]));

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
  'clip, bounds': (x) => ops.clip(x!, -2, 1),
  'clip, tensors': (x, a, b) => ops.clip(x!, a, b),
  'relu6, bounds': (x) => ops.relu6(x!),
  'hardSigmoid, bounds': (x) => ops.hardSigmoid(x!),
  'hardSwish, bounds': (x) => ops.hardSwish(x!),
  'elu, at 0': (x) => ops.elu(x!),
  celu: (x) => ops.celu(x!, 0.7),
  hardShrink: (x) => ops.hardShrink(x!),
  softShrink: (x) => ops.softShrink(x!),
  glu: (x) => ops.glu(x!),
  log1p: (x) => ops.log1p(x!),
  expm1: (x) => ops.expm1(x!),
  atan2: (y, x) => ops.atan2(y!, x!),
  'pow, 0': (a, b) => ops.pow(a!, b!),
  'logSumExp, infinite': (x) => ops.logSumExp(x!, 1),
  'norm 0.5, zeros': (x) => ops.norm(x!, 0.5, 1),
  'cosineSimilarity, ranks': (a, b) => ops.cosineSimilarity(a!, b!, 1),
  'cholesky, symmetric gradient': (x) => ops.cholesky(x!),
  'solveTriangular, upper, unit': (u, b) => ops.solveTriangular(u!, b!, { upper: true, unitDiagonal: true }),
  'slice, before the start': (x) => ops.concat([x!.slice(1, -7, undefined, -2), x!], 1).square(),
  'pad, negative': (x) => ops.pad(x!, [1, -1], [-2, 2]).square(),
  convTranspose3d: (x, w) => ops.convTranspose(x!, w!, undefined, { stride: [1, 2, 2], padding: [0, 1, 0] }),
  'maxPool, dilation and ceil': (x) =>
    ops.maxPool(x!, [4, 3], { stride: [1, 3], padding: [2, 1], dilation: [2, 3], ceilMode: true }),
  'embedding, padding': (t) => ops.embedding(t!, constant(i64([1, 2, 1, 0])), { paddingIndex: 1 }).square(),
  'scatterReduce max': (x, u) => ops.scatterReduce(x!, corner, u!, 0, 'max'),
  'scatterReduce mean': (x, u) => ops.scatterReduce(x!, corner, u!, 0, 'mean'),
  'rmsNorm, two axes': (x, s) => ops.rmsNorm(x!, s!, 1e-5),
  'layerNorm, plain': (x) => ops.layerNorm(x!),
  'resize nearest exact': (x) => ops.resize(x!, [7, 3], { mode: 'nearestExact' }),
  'gridSample, on the border': (x, g) =>
    ops.gridSample(x!, g!, { paddingMode: 'border', alignCorners: true }),
  unfold: (x) => ops.unfold(x!, [2, 3], { stride: 2, padding: 1 }).square(),
  fold: (x) => ops.fold(x!, [3, 4], 2, { dilation: [1, 2] }).square(),
  pixelShuffle: (x) => ops.pixelShuffle(x!, 2).square(),
  repeatInterleave: (x) => ops.repeatInterleave(x!, 2, 1).square(),
  quantile: (x) => ops.quantile(x!, 0.3, 1).square(),
  'diagonal, offset': (x) => ops.diagonal(x!, 0, 1, -1).square(),
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
for (const paddingMode of ['zeros', 'reflection'] as const) {
  functions[`gridSample bicubic ${paddingMode}`] = (x, grid) =>
    ops.gridSample(x!, grid!, { mode: 'bicubic', paddingMode });
}
functions['gelu, wide'] = (x) => ops.gelu(x!);
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
