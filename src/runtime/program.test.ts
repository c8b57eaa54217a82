import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  argMax,
  constant,
  f32,
  gather,
  greater,
  type HostTensor,
  i64,
  input,
  memoryWeights,
  type Tensor,
  toFloat16,
  weight,
} from '../graph/index.ts';
import { readSafetensors, writeSafetensors } from '../hub/safetensors.ts';
import { compile } from './program.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'attune program é 日本 '));
});
afterAll(() => rm(folder, { recursive: true }));

async function evaluate(outputs: Record<string, Tensor>, feeds: Record<string, HostTensor> = {}) {
  const program = await compile(outputs);
  const out = await program.run(feeds);
  await program.release();
  return out;
}

describe('weights stay in their files', () => {
  const stored: Record<string, HostTensor> = {
    f32: f32([1, -2, 3]),
    f16: toFloat16(f32([1, -2, 2 ** -24])),
    bf16: { dtype: 'bfloat16', shape: [3], data: Uint16Array.of(0x3f80, 0xc000, 0x4040) },
    i64: i64([1, -2]),
    bool: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
    scalar: f32([7], []),
    empty: f32([], [0, 3]),
  };

  test('of every kind, in folders with spaces and other alphabets, behind links as in the Hub cache', async () => {
    await mkdir(join(folder, 'blobs'));
    await mkdir(join(folder, 'snapshots'));
    await writeSafetensors(join(folder, 'blobs', 'a1b2'), stored);
    await symlink('../blobs/a1b2', join(folder, 'snapshots', 'model.safetensors'));
    const source = await readSafetensors(join(folder, 'snapshots'));
    const read = (name: string) => weight(source.get(name)!);
    const out = await evaluate({
      f32: read('f32'),
      f16: read('f16').cast('float32'),
      bf16: read('bf16').cast('float32'),
      i64: read('i64'),
      bool: read('bool'),
      scalar: read('scalar'),
      empty: read('empty'),
      product: read('f16').cast('float32').mul(read('f32')),
    });
    const values = Object.fromEntries(Object.entries(out).map(([k, t]) => [k, Array.from(t.data, Number)]));
    expect(values).toEqual({
      f32: [1, -2, 3],
      f16: [1, -2, 2 ** -24],
      bf16: [1, -2, 3],
      i64: [1, -2],
      bool: [1, 0, 1],
      scalar: [7],
      empty: [],
      product: [1, 4, 3 * 2 ** -24],
    });
    expect([out.scalar!.shape, out.empty!.shape, out.bool!.dtype]).toEqual([[], [0, 3], 'bool']);

    // A caller's own link, which nothing has resolved.
    const w = source.get('f32')!;
    const path = join(folder, 'snapshots', 'model.safetensors');
    const linked = await evaluate({ y: weight({ ...w, file: { ...w.file!, path } }) });
    expect([...linked.y!.data]).toEqual([1, -2, 3]);
  });

  test('at offsets that are no multiple of their size', async () => {
    const header = JSON.stringify({
      h: { dtype: 'F16', shape: [1], data_offsets: [0, 2] },
      x: { dtype: 'F32', shape: [3], data_offsets: [2, 14] },
    }).padEnd(119);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(119n);
    const values = Buffer.from(Float32Array.of(1, 2, 3).buffer);
    const path = join(folder, 'odd.safetensors');
    await writeFile(path, Buffer.concat([length, Buffer.from(header), Buffer.of(0, 0x3c), values]));
    const source = await readSafetensors(path);
    expect(source.get('x')!.file!.offset % 4).not.toBe(0);
    const out = await evaluate({ y: weight(source.get('x')!).mul(2) });
    expect([...out.y!.data]).toEqual([2, 4, 6]);
  });

  test('or in memory, also where they are large or stand twice', async () => {
    const big = Float32Array.from({ length: 5000 }, (_, i) => i);
    const source = memoryWeights({ big: f32(big), half: toFloat16(f32([0.5])) });
    const w = weight(source.get('big')!);
    const out = await evaluate({
      y: w.add(weight(source.get('big')!)).mul(weight(source.get('half')!).cast('float32')),
    });
    expect(out.y!.data).toEqual(big);
  });

  test('a file that shrank or is gone is an error that names the program', async () => {
    const path = join(folder, 'gone.safetensors');
    await writeSafetensors(path, { a: f32([1, 2, 3]) });
    const source = await readSafetensors(path);
    await truncate(path, 40);
    const load = () => compile({ y: weight(source.get('a')!) }, { name: 'text tower' });
    await expect(load()).rejects.toThrow(/^text tower cannot be loaded: .*out of bounds/s);
    await rm(path);
    await expect(load()).rejects.toThrow(/^text tower cannot be loaded: .*gone.safetensors/s);
  });
});

describe('a program', () => {
  test('gives outputs that are inputs, twice the same, of all kinds, and empty', async () => {
    const x = input('x', [2, 2]);
    const e = input('e', [0, 2]);
    const y = x.mul(2);
    const feeds = { x: f32([1, 2, 4, 3], [2, 2]), e: f32([], [0, 2]) };
    const out = await evaluate(
      {
        itself: x,
        y,
        again: y,
        ids: argMax(x),
        large: greater(x, 2),
        fixed: constant(i64([5])),
        half: x.cast('float16'),
        double: x.cast('float64'),
        small: x.cast('uint8'),
        none: e.mul(2),
        sum: e.sum(0),
      },
      feeds,
    );
    expect(out).toEqual({
      itself: feeds.x,
      y: f32([2, 4, 8, 6], [2, 2]),
      again: f32([2, 4, 8, 6], [2, 2]),
      ids: i64([1, 0]),
      large: { dtype: 'bool', shape: [2, 2], data: Uint8Array.of(0, 0, 1, 1) },
      fixed: i64([5]),
      half: toFloat16(feeds.x),
      double: { dtype: 'float64', shape: [2, 2], data: Float64Array.of(1, 2, 4, 3) },
      small: { dtype: 'uint8', shape: [2, 2], data: Uint8Array.of(1, 2, 4, 3) },
      none: f32([], [0, 2]),
      sum: f32([0, 0]),
    });
    expect(out.y!.data.buffer).not.toBe(out.again!.data.buffer);
    feeds.x.data[0] = 99;
    expect(out.itself!.data[0]).toBe(1);
  });

  test('takes bool, int64 and float16 inputs, and keeps earlier results as they were', async () => {
    const b = input('b', [2], 'bool');
    const i = input('i', [2], 'int64');
    const h = input('h', [2], 'float16');
    const y = b.cast('float32').add(i.cast('float32')).add(h.cast('float32'));
    const program = await compile({ y });
    const feeds = {
      b: { dtype: 'bool', shape: [2], data: Uint8Array.of(1, 0) } as HostTensor,
      i: i64([10, 20]),
      h: toFloat16(f32([0.5, 0.25])),
    };
    const first = await program.run(feeds);
    const second = await program.run({ ...feeds, i: i64([0, 0]) });
    expect([...first.y!.data]).toEqual([11.5, 20.25]);
    expect([...second.y!.data]).toEqual([1.5, 0.25]);
    await program.release();
  });

  test('refuses inputs that are missing, unknown, or of another shape or dtype', async () => {
    const program = await compile({ y: input('x', [2, 3]).mul(2) }, { name: 'doubling' });
    const fails = (feeds: Record<string, HostTensor>) => expect(program.run(feeds)).rejects;
    const x = f32(new Float32Array(6), [2, 3]);
    await fails({}).toThrow('doubling: input "x" [2,3] is missing');
    await fails({ x, z: x }).toThrow('doubling: no input "z"; inputs are x');
    await fails({ x: { ...x, shape: [3, 2] } }).toThrow(
      'doubling: input "x" must be float32[2,3], not float32[3,2]',
    );
    await fails({ x: i64(new Array(6).fill(0), [2, 3]) }).toThrow('not int64[2,3]');
    await fails({ x: { ...x, data: new Float32Array(5) } }).toThrow('5');
    await program.release();
    await fails({ x }).toThrow('doubling: the program was released');
    await program.release();
  });

  test('says which program failed while it ran, and runs on', async () => {
    const program = await compile(
      { y: gather(input('table', [2, 2]), input('ids', [1], 'int64')) },
      { name: 'lookup' },
    );
    const table = f32([1, 2, 3, 4], [2, 2]);
    await expect(program.run({ table, ids: i64([7]) })).rejects.toThrow(/^lookup: .*idx=7 must be within/s);
    expect([...(await program.run({ table, ids: i64([1]) })).y!.data]).toEqual([3, 4]);
    await program.release();
  });

  test('gives up runs that wait when their signal comes, and runs the others', async () => {
    const program = await compile({ y: input('x', [1]).mul(2) });
    const stop = new AbortController();
    const first = program.run({ x: f32([1]) });
    const second = program.run({ x: f32([2]) }, { signal: stop.signal });
    const third = program.run({ x: f32([3]) });
    stop.abort(new Error('enough'));
    await expect(second).rejects.toThrow(/^enough$/);
    expect([(await first).y.data[0], (await third).y.data[0]]).toEqual([2, 6]);
    await expect(program.run({ x: f32([4]) }, { signal: stop.signal })).rejects.toThrow(/^enough$/);
    await program.release();
  });

  test('leaves the event loop a turn between runs that queue', async () => {
    const program = await compile({ y: input('x', [1]).mul(2) });
    const stop = new AbortController();
    const runs = [1, 2, 3, 4].map((v) => program.run({ x: f32([v]) }, { signal: stop.signal }));
    runs[0]!.then(() => setImmediate(() => stop.abort()));
    const ends = (await Promise.allSettled(runs)).map(({ status }) => status);
    expect([ends[0], ends[3]]).toEqual(['fulfilled', 'rejected']);
    await program.release();
  });

  test('lets runs under way finish before it is released', async () => {
    const program = await compile({ y: input('x', [1]).mul(2) });
    const runs = [1, 2, 3].map((v) => program.run({ x: f32([v]) }));
    await program.release();
    expect((await Promise.all(runs)).map(({ y }) => y.data[0])).toEqual([2, 4, 6]);
  });

  test('blocks the event loop while it runs, as its documentation says', async () => {
    const x = input('x', [512, 512]);
    let y = x;
    for (let i = 0; i < 12; i++) y = y.matmul(x);
    const program = await compile({ y });
    let ticks = 0;
    const started = performance.now();
    const timer = setInterval(() => ticks++, 1);
    await program.run({ x: f32(new Float32Array(512 * 512), [512, 512]) });
    clearInterval(timer);
    expect(performance.now() - started).toBeGreaterThan(5);
    expect(ticks).toBeLessThanOrEqual(1);
    await program.release();
  });

  test('writes large results into arrays that are given up, and refuses others', async () => {
    const size = 20_000;
    const program = await compile({ y: input('x', [size]).mul(2) }, { name: 'doubling' });
    const feeds = { x: f32(new Float32Array(size).fill(3)) };
    const old = f32(new Float32Array(size));
    const { y } = await program.run(feeds, { recycle: { y: old } });
    expect([y.data[0], y.data[size - 1]]).toEqual([6, 6]);
    expect(y.data.buffer).toBe(old.data.buffer);
    const wrong = (recycle: Record<string, HostTensor>) => expect(program.run(feeds, { recycle })).rejects;
    await wrong({ y: f32([0]) }).toThrow(
      'doubling: the array recycled for "y" must be float32[20000], not float32[1]',
    );
    await wrong({ z: old }).toThrow('doubling: no output "z" to recycle an array for');
    await program.release();
  });
});
