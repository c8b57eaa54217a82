import { describe, expect, test } from 'vitest';
import { compile } from '../../runtime/program.ts';
import { constant, f32, grad, i64, input, type Shape, type Tensor } from '../index.ts';
import { type CheckOptions, checkGradients } from '../testing/finite-differences.ts';
import * as ops from './index.ts';

const apart: CheckOptions['values'] = (_r, i, j) => (((j * 7 + i * 3 + 1) % 23) - 11) / 4 + 0.13;
const small: CheckOptions['values'] = (r) => r.uniform(-0.8, 0.8);
const f32Only: CheckOptions = { dtype: 'float32' };
const pairs = constant(i64([1, 0, 0, 2, -1, 1], [3, 2]));
const image: Shape = [1, 2, 4, 4];

const cases: [name: string, f: (...xs: Tensor[]) => Tensor, shapes: Shape[], options?: CheckOptions][] = [
  ['slice, steps on two axes', (x) => x.slice(0, 1, 6, 2).slice(1, 4, 0, -3).square(), [[7, 5]]],
  ['slice, nothing left', (x) => ops.concat([x.slice(0, 2, 2, 2), x], 0).square(), [[3]]],
  ['flip', (x) => ops.flip(x, 1).mul(x), [[2, 3]]],
  ['dilate', (x) => ops.dilate(x, 0, 3).square(), [[3, 2]]],
  ['tile', (x) => ops.tile(x, [2, 3]).square(), [[2, 2]]],
  [
    'maxPool, overlapping',
    (x) => ops.maxPool(x, 3, { stride: 1, padding: 1 }).square(),
    [image],
    { values: apart },
  ],
  ['avgPool, padded', (x) => ops.avgPool(x, 3, { stride: 2, padding: 1 }).square(), [image], f32Only],
  ['adaptiveAvgPool, uneven', (x) => ops.adaptiveAvgPool(x, [3, 2]).square(), [[1, 1, 4, 3]]],
  ['adaptiveMaxPool, uneven', (x) => ops.adaptiveMaxPool(x, 3).square(), [[1, 2, 5]], { values: apart }],
  ['globalAvgPool', (x) => ops.globalAvgPool(x).square(), [image]],
  ['batchNorm', (x, s, b) => ops.batchNorm(x, s, b), [[3, 2, 2], [2], [2]]],
  ['groupNorm', (x, s, b) => ops.groupNorm(x, 2, s, b), [[2, 4, 2], [4], [4]], f32Only],
  ['resize, bicubic', (x) => ops.resize(x, [5, 3], { mode: 'bicubic' }).square(), [[1, 1, 3, 4]]],
  ['resize, nearest', (x) => ops.resize(x, [6, 3]).square(), [[1, 1, 3, 4]]],
  [
    'gridSample',
    (x, g) => ops.gridSample(x, ops.tanh(g), { paddingMode: 'border' }).square(),
    [
      [1, 2, 3, 3],
      [1, 2, 2, 2],
    ],
  ],
  ['prod', (x) => ops.prod(x, 1), [[2, 5]]],
  ['prod, several axes', (x) => ops.prod(x, [0, 2], true), [[2, 2, 3]]],
  ['norm', (x) => ops.norm(x, 2, 1), [[2, 3]]],
  [
    'cosineSimilarity',
    (a, b) => ops.cosineSimilarity(a, b),
    [
      [2, 3],
      [1, 3],
    ],
  ],
  ['gatherND', (x) => ops.gatherND(x.square(), pairs), [[2, 3, 2]]],
  [
    'scatterND',
    (x, u) => ops.scatterND(x.square(), pairs, u.square()),
    [
      [2, 3, 2],
      [3, 2],
    ],
  ],
  [
    'scatter',
    (x, u) => ops.scatter(x.square(), constant(i64([1, 0, 2, 1], [2, 2])), u.square(), 1),
    [
      [2, 3],
      [2, 2],
    ],
  ],
  [
    'einsum',
    (a, b) => ops.einsum('bij,kj->bk', a, b).square(),
    [
      [2, 3, 2],
      [4, 2],
    ],
  ],
  ['hardSwish', (x) => ops.hardSwish(x), [[6]], { values: apart }],
  ['leakyRelu, learned slope', (x, s) => ops.leakyRelu(x, s).square(), [[2, 3], [3]], { values: apart }],
  ['asin and atan', (x) => ops.asin(x).add(ops.atan(x)), [[4]], { values: small, dtype: 'float32' }],
  ['inverse', (x) => ops.inverse(x), [[2, 3, 3]]],
  [
    'solve',
    (a, b) => ops.solve(a, b),
    [
      [3, 3],
      [3, 1],
    ],
  ],
  [
    'cholesky and solveTriangular',
    (x, b) => {
      const l = ops.cholesky(x.matmul(x, { transB: true }).add(constant(2, 'float64')));
      return ops.solveTriangular(l, ops.solveTriangular(l, b), { transpose: true });
    },
    [
      [3, 3],
      [3, 2],
    ],
    { values: (r, i, j) => r.uniform(-0.3, 0.3) + (i === 0 && j % 4 === 0 ? 2 : 0) },
  ],
];

describe('gradients equal finite differences, first and second order', () => {
  test.each(cases)('%s', async (_name, f, shapes, options) => {
    await checkGradients(f, shapes, options);
  });
});

async function values(outputs: Record<string, Tensor>, feeds = {}): Promise<Record<string, number[]>> {
  const program = await compile(outputs);
  const out = await program.run(feeds);
  await program.release();
  return Object.fromEntries(Object.entries(out).map(([name, t]) => [name, Array.from(t.data, Number)]));
}

test('predicates, selection, remainders', async () => {
  const x = input('x', [2, 3]);
  const n = constant(i64([7, -7, 7, -7, 6, 0]));
  const d = constant(i64([3, 3, -3, -3, 3, 5]));
  const truth = ops.less(0, x);
  const out = await values(
    {
      nan: ops.isNan(x).cast('int32'),
      any: ops.any(truth, 1).cast('int32'),
      all: ops.all(truth, 1).cast('int32'),
      argMin: ops.argMin(x),
      trunc: ops.trunc(x.slice(0, 0, 1)),
      remainder: ops.remainder(n, d),
      sorted: ops.sort(x.slice(0, 0, 1))[0],
      order: ops.sort(x.slice(0, 0, 1), -1, true)[1],
      empty: ops.prod(x.slice(1, 0, 0), 1),
    },
    { x: f32([1.5, -2.5, -2.5, 1, Number.NaN, 3], [2, 3]) },
  );
  expect(out).toEqual({
    nan: [0, 0, 0, 0, 1, 0],
    any: [1, 1],
    all: [0, 0],
    argMin: [1, expect.any(Number)],
    trunc: [1, -2, -2],
    remainder: [1, 2, -2, -1, 0, 0],
    sorted: [-2.5, -2.5, 1.5],
    order: [0, 1, 2],
    empty: [1, 1],
  });
});

test('a norm, a similarity and a product at zero have finite gradients', async () => {
  const x = input('x', [3]);
  const feeds = { x: f32([0, 0, 0]) };
  const of = (y: Tensor) => grad(y, [x])[0]!;
  const out = await values(
    {
      norm: of(ops.norm(x)),
      cosine: of(ops.cosineSimilarity(x, constant(f32([1, 2, 3])))),
      prod: of(ops.prod(x)),
    },
    feeds,
  );
  expect(out.norm).toEqual([0, 0, 0]);
  expect(out.prod).toEqual([0, 0, 0]);
  expect(out.cosine!.every(Number.isFinite)).toBe(true);
});

test('running statistics follow the batch as in PyTorch', async () => {
  const x = constant(f32([1, 2, 3, 6], [4, 1]));
  const running = { mean: constant(f32([0])), variance: constant(f32([1])) };
  const next = ops.updateStatistics(running, ops.batchStatistics(x), 4);
  const out = await values({ mean: next.mean, variance: next.variance });
  expect(out.mean![0]).toBeCloseTo(0.3, 6);
  expect(out.variance![0]).toBeCloseTo(0.9 + 0.1 * (14 / 3), 5);
});

test('errors name the function and what it got', () => {
  const x = input('x', [2, 3]);
  expect(() => ops.maxPool(x, 2)).toThrow('maxPool: needs [N, C, ...spatial]');
  expect(() => ops.maxPool(input('i', [1, 1, 2]), 3)).toThrow('maxPool: the kernel is larger than its input');
  expect(() => ops.avgPool(input('i', [1, 1, 8]), 2, { padding: 2 })).toThrow(
    'avgPool: padding [2] is more than half of the kernel [2]',
  );
  expect(() => ops.einsum('ij,jk', x, x)).toThrow(
    'einsum: "ij,jk" has two lengths for "j", 3 and 2 (got float32[2, 3] and float32[2, 3])',
  );
  expect(() => ops.einsum('ij->ik', x)).toThrow('einsum: "ij->ik" has no operand with "k"');
  expect(() => ops.einsum('ijk', x)).toThrow('einsum: "ijk" gives operand 0 3 axes');
  expect(() => ops.padWith('reflect', x, [2, 0], [0, 0])).toThrow(
    'padWith: reflect of axis 0 allows 0 to 1, not 2 and 0 (got float32[2, 3])',
  );
  expect(() => ops.groupNorm(x, 2)).toThrow('groupNorm: has no 2 groups');
  expect(() => ops.inverse(x)).toThrow('inverse: needs square matrices [..., n, n]');
  expect(() => ops.resize(x, 3)).toThrow('resize: needs [N, C, ...spatial]');
  expect(() => ops.scatterND(x, pairs, x)).toThrow('scatterND: updates');
  expect(() => ops.gridSample(x, x)).toThrow("gridSample: needs x [N, C, H, W] and grid [N, H', W', 2]");
});
