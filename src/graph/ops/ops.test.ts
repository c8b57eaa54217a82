import { describe, expect, test } from 'vitest';
import { compile } from '../../runtime/program.ts';
import { constant, f32, grad, i64, input, print, type Shape, type Tensor } from '../index.ts';
import { type CheckOptions, checkGradients } from '../testing/finite-differences.ts';
import * as ops from './index.ts';

const positive: CheckOptions['values'] = (r) => 0.5 + 2 * r.next();
/** Distinct values, well apart, so that no difference step crosses a tie or a kink. */
const apart: CheckOptions['values'] = (_r, i, j) => (((j * 7 + i * 3 + 1) % 23) - 11) / 4 + 0.13;

type Case = [name: string, f: (...xs: Tensor[]) => Tensor, shapes: Shape[], options?: CheckOptions];
const f32Only: CheckOptions = { dtype: 'float32' };
const mask = constant({ dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) });

const cases: Case[] = [
  [
    'add, equal shapes',
    ops.add,
    [
      [2, 3],
      [2, 3],
    ],
  ],
  [
    'add, broadcast both ways',
    ops.add,
    [
      [2, 1, 3],
      [4, 1],
    ],
  ],
  ['sub, scalar left', ops.sub, [[], [2, 3]]],
  ['mul, row', ops.mul, [[2, 3], [3]]],
  ['mul, itself', (x) => x.mul(x), [[3]]],
  [
    'div, column',
    ops.div,
    [
      [2, 3],
      [2, 1],
    ],
    { values: positive },
  ],
  ['pow, both', ops.pow, [[2, 3], [3]], { values: positive }],
  ['pow, constant', (x) => x.pow(3), [[4]]],
  ['maximum', ops.maximum, [[2, 3], [3]], { values: apart }],
  [
    'minimum',
    ops.minimum,
    [
      [2, 3],
      [2, 3],
    ],
    { values: apart },
  ],
  ['clip', (x) => ops.clip(x, -1, 1).mul(x), [[8]], { values: apart }],
  [
    'where',
    (a, b) => ops.where(mask, a.mul(a), b),
    [
      [2, 3],
      [1, 3],
    ],
  ],
  ['neg', ops.neg, [[3]], { second: false }],
  ['abs', (x) => ops.abs(x).mul(x), [[5]], { values: apart }],
  ['exp', ops.exp, [[5]]],
  ['log', ops.log, [[5]], { values: positive }],
  ['sqrt', ops.sqrt, [[5]], { values: positive }],
  ['reciprocal', ops.reciprocal, [[5]], { values: positive }],
  ['sin', ops.sin, [[5]]],
  ['cos', ops.cos, [[5]]],
  ['tanh', ops.tanh, [[5]]],
  ['erf', ops.erf, [[5]], f32Only],
  ['sigmoid', ops.sigmoid, [[5]]],
  ['softplus', ops.softplus, [[5]], f32Only],
  ['relu', (x) => ops.relu(x).mul(x), [[5]], { values: apart }],
  ['gelu', (x) => ops.gelu(x), [[5]], f32Only],
  ['gelu, tanh', (x) => ops.gelu(x, 'tanh'), [[5]], f32Only],
  ['quickGelu', ops.quickGelu, [[5]]],
  ['silu', (x) => ops.silu(x), [[5]]],
  ['sum, one axis', (x) => x.square().sum(1), [[2, 3, 2]]],
  ['sum, kept', (x) => x.square().sum([0, -1], true), [[2, 3, 2]]],
  ['mean, all', (x) => x.square().mean(), [[2, 3]]],
  ['max', (x) => x.max(-1).square(), [[2, 3]], { values: apart }],
  ['min, kept', (x) => x.min(0, true).square(), [[2, 3]], { values: apart }],
  ['cumSum', (x) => ops.cumSum(x.square(), 1), [[2, 3]]],
  ['cumSum, reverse', (x) => ops.cumSum(x.square(), 0, true), [[2, 3]]],
  ['topK', (x) => ops.topK(x, 2, 1)[0].square(), [[2, 4]], { values: apart }],
  ['logSumExp', (x) => ops.logSumExp(x, 1), [[2, 3]]],
  ['variance', (x) => ops.variance(x, -1), [[2, 3]]],
  [
    'matmul',
    (a, b) => ops.matmul(a, b),
    [
      [2, 3],
      [3, 4],
    ],
  ],
  [
    'matmul, batch with shared right',
    (a, b) => ops.matmul(a, b),
    [
      [2, 2, 3],
      [3, 2],
    ],
  ],
  [
    'matmul, batch with shared right, transposed',
    (a, b) => a.matmul(b, { transB: true }),
    [
      [2, 2, 3],
      [2, 3],
    ],
  ],
  [
    'matmul, broadcast batches',
    (a, b) => ops.matmul(a, b),
    [
      [2, 1, 2, 3],
      [3, 3, 2],
    ],
  ],
  [
    'matmul, transA',
    (a, b) => a.matmul(b, { transA: true, alpha: 0.5 }),
    [
      [3, 2],
      [3, 4],
    ],
  ],
  [
    'matmul, transA of a batch, shared right',
    (a, b) => a.matmul(b, { transA: true }),
    [
      [2, 3, 2],
      [3, 4],
    ],
  ],
  [
    'matmul, both',
    (a, b) => a.matmul(b, { transA: true, transB: true }),
    [
      [2, 3, 2],
      [2, 4, 3],
    ],
  ],
  [
    'matmul, float32 with flags',
    (a, b) => a.matmul(b, { transB: true, alpha: 2 }),
    [
      [2, 2, 3],
      [2, 4, 3],
    ],
    f32Only,
  ],
  ['matmul, vectors', (a, b) => ops.matmul(a, b), [[3], [3]]],
  ['matmul, matrix and vector', (a, b) => ops.matmul(a, b), [[2, 3], [3]]],
  ['softmax', (x) => ops.softmax(x), [[2, 3]]],
  ['softmax, middle axis', (x) => ops.softmax(x, 1), [[2, 3, 2]]],
  ['logSoftmax', (x) => ops.logSoftmax(x), [[2, 3]]],
  ['layerNorm', (x, s, b) => ops.layerNorm(x, s, b), [[2, 4], [4], [4]], f32Only],
  [
    'layerNorm, two axes, no bias',
    (x, s) => ops.layerNorm(x, s, undefined, 1e-3),
    [
      [2, 2, 3],
      [2, 3],
    ],
    f32Only,
  ],
  ['rmsNorm', (x, s) => ops.rmsNorm(x, s), [[2, 4], [4]]],
  ['l2Normalize', (x) => ops.l2Normalize(x), [[2, 4]]],
  ['reshape and transpose', (x) => x.square().reshape([3, -1]).transpose().square(), [[2, 3, 2]]],
  ['transpose, perm', (x) => x.transpose([2, 0, 1]).square(), [[2, 3, 2]]],
  ['expand', (x) => x.square().expand([2, 2, 3]), [[2, 1, 3]]],
  ['slice', (x) => x.slice(1, 1, -1).square(), [[2, 4]]],
  ['slice, stepped and reversed', (x) => x.slice(1, -1, undefined, -2).square(), [[2, 5]]],
  ['pad', (x) => ops.pad(x.square(), [1, 0], [0, 2], 3), [[2, 3]]],
  [
    'concat',
    (a, b) => ops.concat([a.square(), b], 1),
    [
      [2, 1],
      [2, 3],
    ],
  ],
  ['split and stack', (x) => ops.stack(ops.split(x.square(), [1, 1], 1), 2), [[2, 2]]],
  ['gather, rows', (x) => ops.embedding(x.square(), constant(i64([2, 0, 2, 2], [2, 2]))), [[3, 2]]],
  ['gather, middle axis', (x) => ops.gather(x.square(), constant(i64([1, 1, 0])), 1), [[2, 3, 2]]],
  ['gather, scalar index', (x) => ops.gather(x.square(), constant(i64([1], [])), 1), [[2, 3]]],
  ['gatherElements', (x) => ops.gatherElements(x.square(), constant(i64([1, 0, 2, 2], [2, 2])), 1), [[2, 3]]],
  [
    'scatterAdd',
    (x, u) => ops.scatterAdd(x.square(), constant(i64([1, 1, 0, 2], [2, 2])), u.square(), 1),
    [
      [2, 3],
      [2, 2],
    ],
  ],
  ['cast', (x) => x.cast('float64').square().cast('float32'), [[2]], f32Only],
];

describe('gradients equal finite differences, first and second order', () => {
  test.each(cases)('%s', async (_name, f, shapes, options) => {
    await checkGradients(f, shapes, options);
  });
});

async function value(t: Tensor, feeds = {}): Promise<number[]> {
  const program = await compile({ t });
  const { t: out } = await program.run(feeds);
  await program.release();
  return Array.from(out.data, Number);
}

test('ties of max share the gradient, as in PyTorch', async () => {
  const x = input('x', [3]);
  const feeds = { x: f32([1, 2, 2]) };
  expect(await value(grad(x.max(), [x])[0]!, feeds)).toEqual([0, 0.5, 0.5]);
  expect(await value(grad(ops.maximum(x, 2).sum(), [x])[0]!, feeds)).toEqual([0, 0.5, 0.5]);
});

test('a norm at zero has a finite gradient', async () => {
  const x = input('x', [2]);
  const g = await value(grad(ops.l2Normalize(x, -1, 1e-12).sum(), [x])[0]!, { x: f32([0, 0]) });
  expect(g.every(Number.isFinite)).toBe(true);
});

test('pow of zero has a finite gradient for the exponent', async () => {
  const x = input('x', [1]);
  const p = input('p', [1]);
  const [dx, dp] = grad(x.pow(p).sum(), [x, p]);
  const feeds = { x: f32([0]), p: f32([2]) };
  expect(await value(ops.concat([dx!, dp!], 0), feeds)).toEqual([0, 0]);
});

test('comparisons, selection of the largest, one-hot', async () => {
  const x = constant(f32([3, 1, 3, 2], [2, 2]));
  expect(await value(ops.argMax(x))).toEqual([0, 0]);
  expect(await value(ops.oneHot(constant(i64([2, 0])), 3))).toEqual([0, 0, 1, 1, 0, 0]);
  expect(await value(ops.greaterEqual(x, 2).cast('int32'))).toEqual([1, 0, 1, 1]);
  expect(await value(ops.and(ops.less(x, 3), ops.not(ops.equal(x, 1))).cast('int32'))).toEqual([0, 0, 0, 1]);
  expect(await value(ops.topK(x, 1, 0, false)[1])).toEqual([0, 0]);
});

test('sums over empty axes are zero, and an empty maximum is refused', async () => {
  const x = input('x', [0, 2]);
  expect(await value(x.sum(0), { x: f32([], [0, 2]) })).toEqual([0, 0]);
  expect(() => x.max(0)).toThrow('max: an empty axis has no extremum (got float32[0, 2])');
});

test('stopGradient blocks, straightThrough passes', async () => {
  const x = input('x', [2]);
  const hard = ops.greater(x, 0).cast('float32');
  const st = ops.straightThrough(hard, x);
  const feeds = { x: f32([-2, 0.5]) };
  expect(await value(st, feeds)).toEqual([0, 1]);
  expect(await value(grad(st.sum(), [x])[0]!)).toEqual([1, 1]);
  expect(await value(grad(x.mul(ops.stopGradient(x)).sum(), [x])[0]!, feeds)).toEqual([-2, 0.5]);
});

test('errors name the op, the problem and the operands', () => {
  const a = input('a', [2, 3]);
  expect(() => a.add(input('b', [4]))).toThrow(
    'add: shapes do not broadcast (got float32[2, 3] and float32[4])',
  );
  expect(() => a.add(input('b', [3], 'int64'))).toThrow('add: operands differ in dtype; cast one of them');
  expect(() => a.matmul(a)).toThrow(
    'matmul: inner axes, batch axes or dtypes do not fit (got float32[2, 3] and',
  );
  expect(() => a.reshape([5])).toThrow('reshape: cannot become [5] (got float32[2, 3])');
  expect(() => a.sum(2)).toThrow('sum: axis 2 is outside rank 2 (got float32[2, 3])');
  expect(() => grad(a, [a])).toThrow('grad: the loss must be a scalar');
  expect(() => grad(a.sum(), [input('b', [1])])).toThrow('grad: the loss does not depend on "b"');
});

test('what a dtype cannot hold or an op cannot take is refused while tracing', () => {
  const [n, b, x] = [input('n', [2], 'int32'), input('b', [2], 'bool'), input('x', [2])];
  expect(() => n.mul(0.5)).toThrow('constant: 0.5 is no int32; cast the other operand first');
  expect(() => b.add(b)).toThrow('add: needs numbers; cast the bools first (got bool[2] and bool[2])');
  expect(() => ops.less(b, b)).toThrow('less: needs numbers');
  expect(() => ops.and(x, x)).toThrow('and: needs bools (got float32[2] and float32[2])');
  expect(() => ops.not(n)).toThrow('not: needs bools (got int32[2])');
});

test('halves are gathered and scattered with their gradients; bools are chosen', async () => {
  const x = constant(f32([1, 2, 3])).cast('float16');
  const [dx] = grad(ops.gather(x.mul(x), constant(i64([0, 2, 2]))).sum(), [x]);
  expect(await value(dx!.cast('float32'))).toEqual([2, 0, 12]);
  const b = constant({ dtype: 'bool', shape: [2, 2], data: Uint8Array.of(1, 1, 1, 1) });
  expect(await value(ops.tril(b).cast('int32'))).toEqual([1, 0, 1, 1]);
});

test('a mean of nothing is no number, and the third derivative is there', async () => {
  const x = input('x', [1]);
  expect(await value(input('e', [0, 1]).mean(0), { e: f32([], [0, 1]) })).toEqual([Number.NaN]);
  let d = ops.sin(x);
  for (let order = 0; order < 3; order++) [d] = grad(d.sum(), [x]) as [Tensor];
  expect((await value(d, { x: f32([0.3]) }))[0]).toBeCloseTo(-Math.cos(0.3), 6);
});

test('a gradient holds no outer products, and nothing of what is frozen', () => {
  const x = input('x', [8, 4]);
  const frozen = input('frozen', [4, 4]);
  const w = input('w', [4, 2]);
  const [dw] = grad(x.matmul(frozen).matmul(w).square().mean(), [w]);
  expect(print({ dw: dw! })).toMatchInlineSnapshot(`
    "%0 = input() x : float32[8, 4]
    %1 = input() frozen : float32[4, 4]
    %2 = input() w : float32[4, 2]
    %3 = matmul(%0, %1) : float32[8, 4]
    %4 = matmul(%3, %2) : float32[8, 2]
    %5 = expand(0.0625) : float32[8, 2]
    %6 = mul(%5, %4) : float32[8, 2]
    %7 = mul(%5, %4) : float32[8, 2]
    %8 = add(%6, %7) : float32[8, 2]
    %9 = matmul(%3, %8) {transA} : float32[4, 2]
    dw = %9"
  `);
});
