import { expect, test } from 'vitest';
import { constant, f32, i64, input, matmul, sum } from '../index.ts';
import { callSite } from './call-site.ts';
import * as ops from './index.ts';

const x = input('x', [2, 3]);
const here = / at \S*call-site\.test\.ts:\d+:\d+$/;

test.each<[string, () => unknown, string]>([
  ['a method', () => x.add(input('b', [4])), 'add: shapes do not broadcast'],
  ['a function', () => matmul(x, x), 'matmul: inner axes, batch axes or dtypes do not fit'],
  ['an axis', () => sum(x, 2), 'sum: axis 2 is outside rank 2 (got float32[2, 3])'],
  ['a dtype', () => ops.exp(constant(i64([1]))), 'exp: needs floating-point operands'],
  ['an attribute', () => ops.slice(x, 0, 0, 1, 0), 'slice: step 0 must be a non-zero integer'],
  [
    'a mode',
    () => ops.resize(input('i', [1, 1, 2, 2]), 4, { alignCorners: true }),
    'resize: antialias or align',
  ],
  ['a composite', () => ops.groupNorm(x, 2), 'groupNorm: has no 2 groups of channels'],
  [
    'deep inside',
    () => ops.cosineSimilarity(x, input('y', [2, 4])),
    'cosineSimilarity: shapes do not broadcast',
  ],
  ['einsum', () => ops.einsum('ij,jk', x, x), 'einsum: "ij,jk" has two lengths for "j"'],
  ['reshape', () => x.reshape([4, -1]), 'reshape: cannot become [4, -1]'],
  ['pad', () => ops.pad(x, [0], [1]), 'pad: [0] before and [1] after do not fit'],
  [
    'scatter',
    () => ops.scatterAdd(x, constant(i64([0, 0, 0, 0], [1, 4])), constant(f32([1, 1, 1, 1], [1, 4])), 0),
    'scatter: indices do not fit',
  ],
])('errors name the op, what it got and the line that called it: %s', (_what, f, message) => {
  expect(f).toThrow(message);
  expect(f).toThrow(here);
});

test('the call site is the first frame outside the package', () => {
  const stack = (...frames: string[]) => ['Error', ...frames.map((f) => `    at ${f}`)].join('\n');
  const home = 'file:///app/node_modules/attune/dist/';
  const inside = 'Module.add (file:///app/node_modules/attune/dist/graph/ops/elementwise.js:9:3)';
  expect(callSite(stack(inside, 'train (file:///app/src/train.ts:12:5)'), home)).toBe(
    ' at /app/src/train.ts:12:5',
  );
  expect(callSite(stack(inside, 'async file:///app/my dir/a.ts:1:2', 'file:///app/b.ts:3:4'), home)).toBe(
    ' at /app/b.ts:3:4',
  );
  expect(callSite(stack(inside, 'node:internal/modules/run_main:1:1'), home)).toBe('');
  // Tests of the package itself, and Firefox's and Safari's frames.
  expect(
    callSite(stack('f (/app/src/graph/a.ts:1:1)', '/app/src/graph/a.test.ts:2:3'), 'file:///app/src/'),
  ).toBe(' at /app/src/graph/a.test.ts:2:3');
  expect(
    callSite(
      'add@https://x.org/attune/dist/a.js:1:1\nrun@https://x.org/app.js:5:6',
      'https://x.org/attune/dist/',
    ),
  ).toBe(' at https://x.org/app.js:5:6');
});
