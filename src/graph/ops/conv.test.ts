import { describe, expect, test } from 'vitest';
import { constant, f32, grad, input, print, type Shape, type Tensor } from '../index.ts';
import { checkGradients } from '../testing/finite-differences.ts';
import * as ops from './index.ts';

type Case = [
  name: string,
  x: Shape,
  w: Shape,
  options?: ops.ConvOptions & { outputPadding?: ops.PerAxis; bias?: number },
];

const convs: Case[] = [
  ['1d', [2, 2, 5], [3, 2, 3], { bias: 3 }],
  ['1d, stride 3 and dilation 2', [1, 2, 11], [2, 2, 2], { stride: 3, dilation: 2, padding: 1 }],
  [
    '1d, stride and dilation with a common factor',
    [1, 1, 9],
    [2, 1, 3],
    { stride: 2, dilation: 2, padding: 2 },
  ],
  ['2d', [2, 2, 4, 3], [2, 2, 3, 2], { padding: [1, 0], bias: 2 }],
  ['2d, more padding than the kernel reaches', [1, 1, 2, 2], [1, 1, 1, 2], { padding: 2 }],
  ['2d, stride 2, odd length', [1, 2, 5, 6], [2, 2, 3, 3], { stride: 2, padding: 1 }],
  ['2d, stride that leaves a rest', [1, 1, 6, 7], [1, 1, 2, 3], { stride: [3, 2] }],
  ['2d, groups', [1, 4, 3, 3], [6, 2, 2, 2], { groups: 2, stride: 2, padding: 1 }],
  ['2d, depthwise', [2, 3, 4, 4], [3, 1, 3, 3], { groups: 3, padding: 1, bias: 3 }],
  ['2d, depthwise with a multiplier', [1, 2, 3, 3], [4, 1, 2, 2], { groups: 2 }],
  ['2d, patches', [2, 2, 4, 6], [3, 2, 2, 3], { stride: [2, 3], bias: 3 }],
  ['2d, patches with padding, gaps and a rest', [1, 2, 6, 5], [2, 2, 2, 1], { stride: [3, 2], padding: 1 }],
  ['2d, one by one', [2, 3, 2, 2], [2, 3, 1, 1]],
  ['2d, one by one, stride 2', [1, 2, 3, 4], [2, 2, 1, 1], { stride: 2 }],
  ['3d', [1, 1, 2, 3, 3], [1, 1, 2, 2, 2], { padding: [0, 1, 0] }],
];
const transposed: Case[] = [
  ['1d', [1, 2, 3], [2, 3, 2], { stride: 2, bias: 3 }],
  ['1d, kernel larger than the stride', [1, 2, 4], [2, 1, 5], { stride: 2, padding: 2, outputPadding: 1 }],
  ['2d', [1, 2, 3, 2], [2, 2, 3, 3], { padding: 1 }],
  ['2d, groups, dilation', [1, 4, 2, 2], [4, 1, 2, 2], { groups: 2, dilation: 2, stride: [1, 3] }],
  ['2d, stride 2, outputPadding', [1, 1, 3, 3], [1, 2, 3, 3], { stride: 2, padding: 1, outputPadding: 1 }],
];

const check = async (f: typeof ops.conv, [, x, w, options = {}]: Case) => {
  const { bias, ...rest } = options;
  const apply = (a: Tensor, b: Tensor, c?: Tensor) => f(a, b, c, rest);
  await checkGradients(apply, bias ? [x, w, [bias]] : [x, w], { dtype: 'float32' });
};

describe('gradients of convolutions equal finite differences, first and second order', () => {
  test.each(convs)('conv %s', async (...c) => check(ops.conv, c));
  test.each(transposed)('convTranspose %s', async (...c) => check(ops.convTranspose, c));
  test('a curved function of a strided convolution', async () => {
    const f = (x: Tensor, w: Tensor) => ops.tanh(ops.conv(x, w, undefined, { stride: 2, padding: 1 }));
    await checkGradients(
      f,
      [
        [1, 2, 4, 4],
        [2, 2, 3, 3],
      ],
      { dtype: 'float32' },
    );
  });
});

test('the input gradient is a convolution, the weight gradient one product or, with many channels, one for each tap', () => {
  const x = input('x', [2, 3, 8]);
  const w = input('w', [4, 3, 2]);
  const [dx] = grad(ops.conv(x, w, undefined, { padding: 1 }).sum(), [x]);
  expect(print({ dx: dx! })).toMatchInlineSnapshot(`
    "%0 = input() w : float32[4, 3, 2]
    %1 = expand(1) : float32[2, 4, 9]
    %2 = reshape(%0) : float32[1, 4, 3, 2]
    %3 = transpose(%2) {perm=[0,2,1,3]} : float32[1, 3, 4, 2]
    %4 = reshape(%3) : float32[3, 4, 2]
    %5 = constant() : int64[2]
    %6 = gather(%4, %5) {axis=2} : float32[3, 4, 2]
    %7 = conv(%1, %6) {strides=[1] before=[0] after=[0] dilations=[1] groups=1} : float32[2, 3, 8]
    %8 = custom(%7, %1, %0) : float32[2, 3, 8]
    dx = %8"
  `);
  for (const [channels, out, products] of [
    [3, 4, 1],
    [16, 128, 2],
  ] as const) {
    const w = input('w', [out, channels, 2]);
    const [dw] = grad(ops.conv(input('x', [2, channels, 8]), w).sum(), [w]);
    expect(print({ dw: dw! }).match(/matmul/g)).toHaveLength(products);
  }
});

test('errors name the op and what does not fit', () => {
  const x = input('x', [1, 3, 4, 4]);
  const w = constant(f32(new Float32Array(54), [2, 3, 3, 3]));
  expect(() => ops.conv(x.slice(1, 0, 2), w)).toThrow(
    'conv: channels or dtypes do not fit, in 1 groups (got float32[1, 2, 4, 4] and float32[2, 3, 3, 3])',
  );
  expect(() => ops.conv(x, w, undefined, { dilation: 2 })).toThrow(
    'conv: the kernel is larger than its input',
  );
  expect(() => ops.conv(x, w, input('b', [3]))).toThrow('conv: the bias must be [2]');
  expect(() => ops.conv(x, w, undefined, { stride: [1, 0] })).toThrow(
    'conv: stride must be 2 integers of at least 1, not [1,0]',
  );
  expect(() => ops.conv(input('y', [2, 3]), w)).toThrow('conv: needs x [N, C, ...spatial] and weights');
  expect(() => ops.convTranspose(x, w)).toThrow('convTranspose: needs x [N, C, ...spatial] and weights');
});
