import { expect, test } from 'vitest';
import { compile } from '../../runtime/program.ts';
import {
  checkpoint,
  encodeOnnx,
  exp,
  f32,
  grad,
  hvp,
  input,
  jvp,
  matmul,
  mul,
  softmax,
  type Tensor,
  tanh,
  vjp,
} from '../index.ts';
import { checkGradients } from '../testing/finite-differences.ts';

async function values(outputs: Record<string, Tensor>, feeds: Parameters<typeof f32>[0][] = []) {
  const program = await compile(outputs);
  const inputs = Object.fromEntries(
    [...program.inputs].map(([name, { shape }], i) => [name, f32(feeds[i]!, shape)]),
  );
  const out = await program.run(inputs);
  await program.release();
  return Object.fromEntries(Object.entries(out).map(([name, t]) => [name, Array.from(t.data, Number)]));
}

test('checkpoint keeps values and gradients, also of what it captures, to second order', async () => {
  const f = (x: Tensor, w: Tensor, v: Tensor) => {
    const captured = tanh(v);
    const block = checkpoint((h: Tensor) => tanh(matmul(h, w)).mul(captured).add(h));
    return block(block(x.mul(captured)));
  };
  await checkGradients(f, [[2, 3], [3, 3], [3]]);
});

test('a checkpoint within a checkpoint, and one of several results of which one is used', async () => {
  const inner = checkpoint((h: Tensor) => exp(tanh(h)));
  const outer = checkpoint((h: Tensor, k: Tensor) => [inner(h).mul(k), softmax(h)] as const);
  await checkGradients((x, y) => outer(x, y)[0].square(), [[3], [3]]);
  await checkGradients((x, y) => outer(x.mul(y), y).reduce(mul), [[3], [3]]);
});

test('the backward pass computes again what the checkpoint did not keep', async () => {
  const count = async (wrap: (f: (h: Tensor) => Tensor) => (h: Tensor) => Tensor) => {
    const x = input('x', [4]);
    const loss = wrap((h) => exp(tanh(h)))(x.mul(2)).sum();
    const { bytes } = await encodeOnnx({ g: grad(loss, [x])[0]!, loss });
    return Buffer.from(bytes)
      .toString('latin1')
      .match(/Exp_\d/g)!.length;
  };
  expect(await count((f) => f)).toBe(1);
  expect(await count(checkpoint)).toBe(2);
});

test('products with Jacobians from either side, and with the Hessian', async () => {
  const x = input('x', [3]);
  const y = x.pow(3);
  const v = input('v', [3]);
  const mixed = x
    .slice(0, 0, 1)
    .mul(x.slice(0, 1, 2))
    .sum()
    .add(y.sum());
  const out = await values(
    {
      vjp: vjp([y, x], [x], [v, v])[0]!,
      jvp: jvp([y], [x], [v])[0]!,
      hvp: hvp(mixed, [x], [v])[0]!,
      none: vjp([y], [input('z', [2])], [v])[0]!,
    },
    [
      [1, 2, 3],
      [1, 0, 2],
    ],
  );
  expect(out.vjp).toEqual([4, 0, 56]);
  expect(out.jvp).toEqual([3, 0, 54]);
  expect(out.hvp).toEqual([6, 1, 36]);
  expect(out.none).toEqual([0, 0]);
});
