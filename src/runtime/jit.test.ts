import { expect, expectTypeOf, test } from 'vitest';
import { f32, type HostTensor, i64, input, l2Normalize, type Tensor } from '../graph/index.ts';
import { jit } from './jit.ts';

const numbers = (t: HostTensor) => Array.from(t.data, Number);

test('traces and compiles once for each combination of shapes', async () => {
  let traces = 0;
  const f = jit(({ a, b }: { a: Tensor; b: Tensor }) => {
    traces++;
    return { sum: a.add(b), product: a.mul(b) };
  });
  const out = await f({ a: f32([1, 2]), b: f32([3, 4]) });
  expectTypeOf(out).toEqualTypeOf<{ sum: HostTensor; product: HostTensor }>();
  expect([numbers(out.sum), numbers(out.product)]).toEqual([
    [4, 6],
    [3, 8],
  ]);
  expect(numbers((await f({ b: f32([1, 1]), a: f32([5, 6]) })).sum)).toEqual([6, 7]);
  expect(traces).toBe(1);
  expect((await f({ a: f32([1]), b: f32([3, 4]) })).sum.shape).toEqual([2]);
  expect(traces).toBe(2);
  expect(f.size).toBe(2);
  await f.release();
  expect(f.size).toBe(0);
  expect(numbers((await f({ a: f32([1]), b: f32([1]) })).sum)).toEqual([2]);
  await f.release();
});

test('takes positions, lists and nested records; gives one tensor, or any structure', async () => {
  const dot = jit((a: Tensor, b: Tensor) => a.mul(b).sum());
  const product = await dot(f32([1, 2]), f32([3, 4]));
  expectTypeOf(product).toEqualTypeOf<HostTensor>();
  expect(product).toEqual({ dtype: 'float32', shape: [], data: Float32Array.of(11) });

  const deep = jit((tree: { layers: Tensor[]; 'a/b': { x: Tensor } }, scale: Tensor) => ({
    layers: tree.layers.map((t) => t.mul(scale)),
    same: [tree['a/b'].x, tree['a/b']] as const,
    unit: l2Normalize(tree['a/b'].x),
  }));
  const out = await deep({ layers: [f32([1]), f32([2, 3])], 'a/b': { x: f32([3, 4]) } }, f32([2], []));
  expect(out.layers.map(numbers)).toEqual([[2], [4, 6]]);
  expect(numbers(out.same[1].x)).toEqual([3, 4]);
  expect(numbers(out.same[0])).toEqual([3, 4]);
  expect(numbers(out.unit)[1]).toBeCloseTo(0.8);
  await Promise.all([dot.release(), deep.release()]);
});

test('arguments that the result does not need are not fed; dtypes are part of the key', async () => {
  const f = jit((a: Tensor, _b: Tensor) => a.cast('float32').mul(2));
  expect(numbers(await f(f32([1]), f32([2, 3])))).toEqual([2]);
  expect(numbers(await f(i64([7]), f32([2, 3])))).toEqual([14]);
  expect(f.size).toBe(2);
  await f.release();
});

test('keeps the programs used last, and releases the others only when their calls are done', async () => {
  let traces = 0;
  const f = jit(
    (x: Tensor) => {
      traces++;
      return x.add(1);
    },
    { maxPrograms: 2 },
  );
  const ask = (n: number) => f(f32(new Float32Array(n)));
  await ask(1);
  await ask(2);
  await ask(1);
  await ask(3);
  expect([f.size, traces]).toEqual([2, 3]);
  await ask(1);
  expect(traces).toBe(3);
  await ask(2);
  expect(traces).toBe(4);
  // All at once: more calls under way than programs kept.
  const all = await Promise.all([5, 6, 7, 8, 5, 6].map(ask));
  expect(all.map((t) => t.shape[0])).toEqual([5, 6, 7, 8, 5, 6]);
  expect(f.size).toBe(2);
  const pending = ask(9);
  await f.release();
  expect((await pending).shape).toEqual([9]);
});

test('calls at once share one compilation', async () => {
  let traces = 0;
  const f = jit((x: Tensor) => {
    traces++;
    return x.mul(2);
  });
  const results = await Promise.all([1, 2, 3].map((v) => f(f32([v]))));
  expect(results.map(numbers)).toEqual([[2], [4], [6]]);
  expect(traces).toBe(1);
  await f.release();
});

test('errors name the function; a failure is not kept', async () => {
  let fail = true;
  const f = jit(function similarity(x: Tensor) {
    if (fail) throw new Error('not yet');
    return x.add(input('elsewhere', [1]));
  });
  await expect(f(f32([1]))).rejects.toThrow('not yet');
  expect(f.size).toBe(0);
  fail = false;
  await expect(f(f32([1]))).rejects.toThrow('similarity: input "elsewhere" [1] is missing');
  await f.release();
  await expect(f(3 as never)).rejects.toThrow('jit: /0 is 3, not a tensor or a record of tensors');
  await expect(f(new Float32Array(2) as never)).rejects.toThrow('not a tensor or a record of tensors');
  const nothing = jit((x: Tensor) => ({ x, y: undefined as unknown as Tensor }));
  await expect(nothing(f32([1]))).rejects.toThrow('jit: /y is undefined, not a tensor');
  expect(() => jit((x: Tensor) => x, { maxPrograms: 0 })).toThrow('maxPrograms must be at least 1');
});
