import * as ort from 'onnxruntime-node';
import { expect, test } from 'vitest';
import {
  arange,
  concat,
  constant,
  cumSum,
  encodeFree,
  encodeOnnx,
  type FreeSize,
  f32,
  gather,
  i64,
  input,
  lessEqual,
  memoryWeights,
  softmax,
  type Tensor,
  weight,
  zeros,
} from '../index.ts';

type Sizes = Readonly<Record<string, number>>;
const sizes: Record<string, FreeSize> = {
  batch_size: { input: 'x', axis: 0 },
  length: { input: 'x', axis: 1 },
  past: { input: 'cache', axis: 1 },
};
const table = memoryWeights({ table: f32([1, 2, 3, 4, 5, 6], [2, 3]) }).get('table')!;

/** Something of an attention with a past: products, axes that are merged, lengths that are joined and cut, a mask of positions. */
function mixed({ batch_size: batch, length, past }: Sizes): Record<string, Tensor> {
  const x = input('x', [batch!, length!, 4]);
  const cache = input('cache', [batch!, past!, 4]);
  const keys = concat([cache, x], 1);
  const heads = (t: Tensor) => t.reshape([batch!, t.dim(1), 2, 2]).transpose([0, 2, 1, 3]);
  const ahead = lessEqual(arange(past! + length!), arange(length!, past).reshape([length!, 1]));
  const scores = heads(x).matmul(heads(keys), { transB: true, alpha: 0.5 }).add(ahead.cast('float32'));
  const seen = softmax(scores).matmul(heads(keys)).transpose([0, 2, 1, 3]);
  const rows = seen
    .reshape([batch! * length!, 4])
    .slice(1, 0, 2)
    .matmul(weight(table));
  const places = cumSum(constant(i64([1], [1, 1])).expand([batch!, past! + length!]), 1);
  const own = places.slice(1, past!).add(constant(i64([past! * 2], [1, 1])));
  // An output may be an input, or a weight.
  return { rows, keys, own, table: weight(table) };
}

const filled = (shape: readonly number[], seed: number) =>
  new ort.Tensor(
    'float32',
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i * 1.7 + seed)),
    shape,
  );
async function run(bytes: Uint8Array, feeds: Record<string, ort.Tensor>) {
  const session = await ort.InferenceSession.create(bytes);
  const out = await session.run(feeds);
  await session.release();
  return Object.fromEntries(
    Object.entries(out).map(([name, t]) => [name, [[...t.dims], Array.from(t.data as Float32Array, Number)]]),
  );
}

test('one model serves all sizes, 0 and 1 among them, as the graph of each size does', async () => {
  const free = await encodeFree(sizes, mixed);
  expect(free.inputs.map(({ shape }) => shape)).toEqual([
    ['batch_size', 'length', 4],
    ['batch_size', 'past', 4],
  ]);
  expect(Object.fromEntries(free.outputs.map(({ name, shape }) => [name, shape]))).toEqual({
    rows: ['batch_size * length', 3],
    keys: ['batch_size', 'length + past', 4],
    own: ['batch_size', 'length'],
    table: [2, 3],
  });
  for (const [batch, length, past] of [
    [1, 1, 0],
    [2, 5, 0],
    [1, 1, 7],
    [3, 2, 4],
  ] as const) {
    const feeds = { x: filled([batch, length, 4], 1), cache: filled([batch, past, 4], 2) };
    const fixed = await encodeOnnx(mixed({ batch_size: batch, length, past }));
    expect(await run(free.bytes, feeds)).toEqual(await run(fixed.bytes, feeds));
  }
});

test('rows that stand only where another size is 0', async () => {
  const soft = memoryWeights({ soft: f32([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [5, 2]) }).get('soft')!;
  const free = await encodeFree(
    { ...sizes, soft: { length: 5, where: 'past' } },
    ({ batch_size: batch, length, past, soft: rows }: Sizes) => ({
      y: concat(
        [
          gather(weight(soft), arange(rows!), 0).expand([batch!, rows!, 2]),
          input('x', [batch!, length!, 2]),
          input('cache', [batch!, past!, 2]),
        ],
        1,
      ),
    }),
  );
  const at = async (past: number) =>
    (await run(free.bytes, { x: filled([1, 3, 2], 1), cache: filled([1, past, 2], 2) })).y![0];
  expect([await at(0), await at(2)]).toEqual([
    [1, 8, 2],
    [1, 5, 2],
  ]);
});

test('what depends on the sizes otherwise is refused, by its place', async () => {
  const at = (make: (x: Tensor) => Tensor) =>
    encodeFree({ n: { input: 'x', axis: 0 } }, ({ n }: Sizes) => ({ y: make(input('x', [n!])) }));
  await expect(at((x) => x.add(constant(zeros([x.size]))))).rejects.toThrow(
    /encodeFree: operand 1 of node 0 \(Add\) of the graph is a constant that depends on the sizes: float32\[37\], float32\[41\]/,
  );
  await expect(at((x) => (x.size > 40 ? x.exp() : x.neg()))).rejects.toThrow('depends on the sizes: Neg,Exp');
  await expect(at((x) => (x.size > 40 ? x.exp().exp() : x.exp()))).rejects.toThrow(
    'the number of nodes depends on the sizes: 1,2',
  );
  await expect(at((x) => x.slice(0, Math.floor(x.size / 4)))).rejects.toThrow(
    'no sum of products of two sizes',
  );
  await expect(
    at((x) => constant(i64(Array.from(x.shape, (n) => n).concat(3))).add(0)),
  ).resolves.toBeDefined();
});
