import { expect, test } from 'vitest';
import { Random, runOnce } from '../../runtime/index.ts';
import {
  constant,
  grad,
  type HostTensor,
  input,
  lower,
  print,
  type Shape,
  sizeOf,
  type Tensor,
} from '../index.ts';
import { concat, conv, mul, slice, sum } from './index.ts';

const shapes: Record<string, Shape> = {
  x: [2, 256, 4, 6],
  w: [288, 256, 3, 3],
  g: [2, 288, 4, 6],
  bias: [288],
};
const noise = (name: string): HostTensor<'float32'> => {
  const shape = shapes[name]!;
  return { dtype: 'float32', shape, data: new Random(name).fill(sizeOf(shape), (r) => r.normal()) };
};

test('convolutions and gradients by tiles are those by taps, which few channels have', async () => {
  const [x, w, g] = ['x', 'w', 'g'].map((name) => input(name, shapes[name]!)) as [Tensor, Tensor, Tensor];
  const bias = input('bias', [288]);
  const same = (w: Tensor) => conv(x, w, undefined, { padding: 1 });
  const halves = [slice(w, 0, 0, 144), slice(w, 0, 144, 288)];
  const whole = grad(sum(mul(same(w), g)), [x, w]) as [Tensor, Tensor];
  const split = grad(sum(mul(concat(halves.map(same), 1), g)), [x, w]) as [Tensor, Tensor];
  expect(print({ dx: whole[0], dw: whole[1] })).not.toContain('conv(');
  expect(print({ dx: split[0] })).toContain('conv(');
  const y = conv(x, w, bias, { padding: 1 });
  // Of a frozen kernel ONNX Runtime has its own layout.
  const frozen = conv(x, constant(noise('w')), bias, { padding: 1 });
  expect(print(lower({ y }, 'cpu'))).not.toContain('conv(');
  expect(print(lower({ frozen }, 'cpu'))).toContain('conv(');
  const found = await runOnce(
    { y, yByTaps: frozen, dx: whole[0], dw: whole[1], dxByTaps: split[0], dwByTaps: split[1] },
    { x: noise('x'), w: noise('w'), g: noise('g'), bias: noise('bias') },
  );
  for (const name of ['y', 'dx', 'dw'] as const) {
    const expected = found[`${name}ByTaps`].data as Float32Array;
    const size = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    (found[name].data as Float32Array).forEach((value, i) => {
      if (Math.abs(value - expected[i]!) > 1e-5 * size) expect(value, `${name} ${i}`).toBe(expected[i]);
    });
  }
});
