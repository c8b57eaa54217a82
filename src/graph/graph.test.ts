import { describe, expect, test } from 'vitest';
import { compile } from '../runtime/program.ts';
import {
  concat,
  constant,
  constantNumber,
  encodeOnnx,
  f32,
  grad,
  type HostTensor,
  i64,
  input,
  matmul,
  neg,
  reshape,
  type Tensor,
  toFloat16,
  toFloat32,
  transpose,
} from './index.ts';
import { ProtoWriter } from './onnx/proto.ts';

async function evaluate(outputs: Record<string, Tensor>, feeds: Record<string, HostTensor> = {}) {
  const program = await compile(outputs);
  const out = await program.run(feeds);
  await program.release();
  return Object.fromEntries(Object.entries(out).map(([name, t]) => [name, Array.from(t.data, Number)]));
}

describe('grad', () => {
  const feeds = { x: f32([1, 2, 3, 4, 5, 6], [2, 3]) };
  const intermediates: [string, (x: Tensor) => Tensor, (h: Tensor) => Tensor][] = [
    ['a reshape', (x) => reshape(x, [3, 2]), (h) => reshape(h, [6])],
    ['a transposition', (x) => transpose(x), (h) => transpose(h)],
    ['a negation', neg, neg],
  ];
  test.each(intermediates)('finds %s that another one follows', async (_name, make, follow) => {
    const x = input('x', [2, 3]);
    const h = make(x);
    // Two ways from h to the loss, of which one goes through a view of the view.
    const loss = follow(h).mul(3).sum().add(h.square().sum());
    const [dh, dx] = grad(loss, [h, x]);
    const out = await evaluate({ h, followed: follow(h), dh: dh!, dx: dx! }, feeds);
    const sign = make === neg ? -1 : 1;
    const slope = follow === neg ? -3 : 3;
    expect(out.dh).toEqual(out.h!.map((v) => slope + 2 * v));
    expect(out.dx).toEqual(Array.from(feeds.x.data, (v) => sign * slope + 2 * v));
  });

  test('of an output with respect to itself, of a repeated and of an unused tensor', async () => {
    const x = input('x', [2, 3]);
    const loss = x.sum();
    const y = input('y', [2]);
    const [one, a, b, zero] = grad(loss, [loss, x, x, y], { unused: 'zero' });
    const out = await evaluate({ one: one!, a: a!, b: b!, zero: zero! });
    expect(out).toEqual({ one: [1], a: Array(6).fill(1), b: Array(6).fill(1), zero: [0, 0] });
  });

  test('with a seed is the product with the Jacobian', async () => {
    const x = input('x', [2, 3]);
    const seed = constant(f32([1, 0, 0, 0, 0, 2], [2, 3]));
    const [dx] = grad(x.square(), [x], { seed });
    expect((await evaluate({ dx: dx! }, feeds)).dx).toEqual([2, 0, 0, 0, 0, 24]);
    expect(() => grad(x, [x], { seed: input('s', [3]) })).toThrow('the seed float32[3] must have the shape');
  });

  test('a third derivative', async () => {
    const x = input('x', [1]);
    let d = x.pow(4).sum();
    for (let i = 0; i < 3; i++) d = grad(d, [x])[0]!.sum();
    expect((await evaluate({ d }, { x: f32([2]) })).d![0]).toBeCloseTo(48, 4);
  });
});

describe('encoding', () => {
  test('names of the caller that look like ours do not collide', async () => {
    const xs = ['v0', 'v1', 'c0', 'c1', 'a,b', 'a', 'b', '0', 'Add_0'].map((name) => input(name, []));
    const outputs = Object.fromEntries(
      xs.map((x, i) => [`v${i + 2}`, xs.reduce((sum, y) => sum.add(y.mul(i + 2)), x)]),
    );
    const feeds = Object.fromEntries(
      ['v0', 'v1', 'c0', 'c1', 'a,b', 'a', 'b', '0', 'Add_0'].map((n, i) => [n, f32([i], [])]),
    );
    const out = await evaluate(outputs, feeds);
    expect(out.v4).toEqual([2 + 4 * 36]);
    await expect(encodeOnnx({ '%0': xs[0]! })).rejects.toThrow('"%0" cannot name an input or output');
    await expect(encodeOnnx({ y: input('', []) })).rejects.toThrow('"" cannot name an input or output');
    await expect(encodeOnnx({ a: xs[5]!.add(1) })).rejects.toThrow('"a" names an input and an output');
    await expect(encodeOnnx({ y: xs[0]!.add(input('v0', [2])) })).rejects.toThrow(
      'Two inputs are named "v0" but differ: [] and [2]',
    );
  });

  test('equal nodes are one node; infinities, NaN and the sign of zero stay apart', async () => {
    const x = input('x', [1, 1]);
    const scaled = (alpha: number) => matmul(x, x, { alpha, transB: true });
    const signs = (values: number[]) =>
      x
        .reshape([1])
        .mul(0)
        .add(constant(f32(values)))
        .pow(-1);
    const out = await evaluate(
      {
        up: scaled(Number.POSITIVE_INFINITY),
        down: scaled(Number.NEGATIVE_INFINITY),
        plus: signs([1, 0]),
        minus: signs([1, -0]),
      },
      { x: f32([2], [1, 1]) },
    );
    expect(out).toMatchObject({ up: [Infinity], down: [-Infinity], plus: [1, Infinity] });
    const once = await encodeOnnx({ y: x.exp().add(x.exp()) });
    expect(
      Buffer.from(once.bytes)
        .toString('latin1')
        .match(/Exp_\d/g),
    ).toHaveLength(1);
  });

  test('the result with the shortest way to it stands last, where ONNX Runtime begins', async () => {
    const hidden = input('x', [4]).exp();
    const results = { early: hidden.neg(), late: hidden.abs().sqrt() };
    for (const outputs of [results, { late: results.late, early: results.early }]) {
      const { bytes } = await encodeOnnx(outputs);
      const order = Buffer.from(bytes)
        .toString('latin1')
        .match(/(Exp|Neg|Abs|Sqrt)_/g);
      expect(order).toEqual(['Exp_', 'Abs_', 'Sqrt_', 'Neg_']);
    }
  });

  test('float16 graphs take numbers and fold them by value', async () => {
    const half = constant(toFloat16(f32([1], [])));
    expect(constantNumber(half)).toBe(1);
    const tiny = constant({ dtype: 'float16', shape: [], data: Uint16Array.of(1) });
    expect(constantNumber(tiny)).toBe(2 ** -24);
    const x = input('x', [2], 'float16');
    const y = x.mul(half).mul(2).add(0.5).mul(tiny).cast('float32');
    const out = await evaluate({ y }, { x: toFloat16(f32([3, 4])) });
    expect(out.y![0]).toBeCloseTo(6.5 * 2 ** -24, 10);
  });

  test('protocol buffers: numbers of every size, long fields, nesting', () => {
    const hex = (w: ProtoWriter) => Buffer.from(w.finish()).toString('hex');
    expect(hex(new ProtoWriter().int(1, 0).int(1, 127).int(1, 128).int(1, 300))).toBe(
      '0800087f0880010 8ac02'.replace(' ', ''),
    );
    expect(hex(new ProtoWriter().int(1, -1))).toBe('08ffffffffffffffffff01');
    expect(hex(new ProtoWriter().int(1, 2 ** 31))).toBe('088080808008');
    expect(hex(new ProtoWriter().int(1, Number.MAX_SAFE_INTEGER))).toBe('08ffffffffffffff0f');
    expect(hex(new ProtoWriter().int(1, -(2n ** 63n)))).toBe('0880808080808080808001');
    expect(hex(new ProtoWriter().int(20, 1).float(2, 1).string(3, 'é'))).toBe('a00101150000803f1a02c3a9');
    const long = new Uint8Array(10_000).map((_, i) => i);
    const inner = new ProtoWriter().int(1, 5).bytes(2, long).string(3, 'end');
    const bytes = new ProtoWriter().message(7, inner).message(7, new ProtoWriter()).finish();
    expect(bytes.length).toBe(1 + 2 + (2 + 1 + 2 + 10_000 + 5) + 2);
    expect(bytes.subarray(8, 10_008)).toEqual(long);
    expect(Buffer.from(bytes.subarray(-7)).toString('hex')).toBe('1a03656e643a00');
  });
});

test('half and brain floats are read as float32', () => {
  const half = [1, -2, 65504, 2 ** -24, 2 ** -14, 0.1];
  expect([...toFloat32(toFloat16(f32(half))).data].map((x) => Math.fround(x))).toEqual([
    1,
    -2,
    65504,
    2 ** -24,
    2 ** -14,
    0.0999755859375,
  ]);
  const bf16: HostTensor = { dtype: 'bfloat16', shape: [3], data: Uint16Array.of(0x3f80, 0xc000, 0x7f80) };
  expect([...toFloat32(bf16).data]).toEqual([1, -2, Infinity]);
  expect(concat([constant(i64([1])), constant(i64([2]))], 0).shape).toEqual([2]);
});
