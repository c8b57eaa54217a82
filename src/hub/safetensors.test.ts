import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesOf, f32, type HostTensor, i64, toFloat32 } from '../graph/host.ts';
import { weight } from '../graph/index.ts';
import { runOnce } from '../runtime/index.ts';
import { writeAtomic } from './atomic.ts';
import { encodeSafetensors, readSafetensors, writeSafetensors } from './safetensors.ts';

const python = join(import.meta.dirname, 'testdata/safetensors/python.safetensors');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function loadAll(path: string): Promise<Record<string, HostTensor>> {
  const source = await readSafetensors(path);
  const entries = source.names().map(async (name) => [name, await source.get(name)!.load()] as const);
  return Object.fromEntries(await Promise.all(entries));
}

describe('files of Python', () => {
  test('read with dtypes, shapes, values and metadata', async () => {
    const source = await readSafetensors(python);
    expect(source.metadata).toEqual({ format: 'pt' });
    expect(source.label).toBe(python);
    const all = await loadAll(python);
    const values = [-2.5, 0, Math.fround(1 / 3), 65504, Number.POSITIVE_INFINITY, Number.NaN];
    expect(all.f32).toMatchObject({ dtype: 'float32', shape: [3, 2, 1] });
    expect(Array.from(all.f32!.data as Float32Array)).toEqual(values);
    expect(all.f64).toMatchObject({ dtype: 'float64', shape: [2, 3] });
    expect(Array.from(all.f64!.data as Float64Array)).toEqual(values);
    expect(all.f16!.dtype).toBe('float16');
    expect(toFloat32(all.f16!).data[2]).toBeCloseTo(1 / 3, 3);
    expect(all.bf16!.dtype).toBe('bfloat16');
    expect(toFloat32(all.bf16!).data[2]).toBeCloseTo(1 / 3, 2);
    expect(all.i64!.data).toEqual(BigInt64Array.of(-(2n ** 62n), 0n, 2n ** 62n));
    expect(all.i32!.data).toEqual(Int32Array.of(-(2 ** 31), 2 ** 31 - 1));
    expect(all.i8!.data).toEqual(Int8Array.of(-128, 0, 127));
    expect(all.u8!.data).toEqual(Uint8Array.of(0, 255, 7, 8, 9));
    expect(all.bool).toEqual({ dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) });
    expect(all.scalar).toEqual({ dtype: 'float32', shape: [], data: Float32Array.of(0.5) });
    expect(all.empty).toEqual({ dtype: 'float32', shape: [0, 4], data: new Float32Array(0) });
    expect(all['odd "näme" 😀']!.data).toEqual(Float32Array.of(1));
  });

  test('written again byte for byte', async () => {
    const committed = await readFile(python);
    const tensors = await loadAll(python);
    expect(Buffer.from(encodeSafetensors(tensors, { format: 'pt' })).equals(committed)).toBe(true);
    const reversed = Object.fromEntries(Object.entries(tensors).reverse());
    const copy = join(folder, 'new/copy.safetensors');
    await writeSafetensors(copy, reversed, { format: 'pt' });
    expect((await readFile(copy)).equals(committed)).toBe(true);
  });

  test('a weight says where its bytes lie, in the real file, aligned', async () => {
    const link = join(folder, 'link.safetensors');
    await symlink(python, link);
    const source = await readSafetensors(link);
    const whole = await readFile(python);
    for (const name of source.names()) {
      const { file, load } = source.get(name)!;
      expect(file!.path).toBe(python);
      const bytes = whole.subarray(file!.offset, file!.offset + file!.length);
      expect(bytes.equals(bytesOf(await load()))).toBe(true);
    }
    expect(source.get('f64')!.file!.offset % 8).toBe(0);
    expect(source.get('nothing')).toBeUndefined();
  });
});

/** A file of this header text (or object) and so many bytes of data. */
async function file(header: string | object, data: number): Promise<string> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const path = join(folder, 'bad.safetensors');
  await writeFile(path, Buffer.concat([prefix, json, Buffer.alloc(data)]));
  return path;
}
const entry = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('damaged files are rejected', () => {
  test.each<[string, string | object, number, string]>([
    ['broken JSON', '{"a":', 0, 'bad.safetensors: header: not valid JSON'],
    ['no object', '[1]', 0, 'must hold a JSON object'],
    [
      'a key twice',
      `{"a":${JSON.stringify(entry(0, 4))},"a":${JSON.stringify(entry(0, 4))}}`,
      4,
      '"a" twice',
    ],
    ['an escaped key twice', '{"__metadata__":{"x{":"1","\\u0078{":"2"}}', 0, '"x{" twice'],
    ['an overlap', { a: entry(0, 8), b: entry(4, 12) }, 12, '"b" overlaps "a"'],
    ['a gap', { a: entry(0, 4), b: entry(8, 12) }, 12, '4 unused bytes between "a" and "b"'],
    ['a gap at the start', { a: entry(4, 8) }, 8, '4 unused bytes between the header and "a"'],
    ['bytes at the end', { a: entry(0, 4) }, 7, '3 unused bytes after "a"'],
    ['missing data', { a: entry(0, 4), b: entry(4, 12) }, 9, 'truncated: "b" ends at byte 12'],
    ['a wrong size', { a: entry(0, 4, [2]) }, 4, '"a" has 4 bytes, but F32 [2] needs 8'],
    ['an unknown dtype', { a: entry(0, 4, [4], 'F8_E4M3') }, 4, '"a" has dtype "F8_E4M3"'],
    ['a dtype of every object', { a: entry(0, 4, [4], 'toString') }, 4, '"a" has dtype "toString"'],
    ['a negative shape', { a: entry(0, 4, [-1, -1]) }, 4, '"a" has shape [-1,-1]'],
    ['a fractional shape', { a: entry(0, 2, [0.5]) }, 2, '"a" has shape [0.5]'],
    ['a huge shape', { a: entry(0, 4, [2 ** 40, 2 ** 40]) }, 4, '"a" has 4 bytes'],
    ['offsets backwards', { a: entry(4, 0, [1]) }, 4, '"a" has data_offsets [4,0]'],
    ['no offsets', { a: { dtype: 'F32', shape: [1] } }, 4, '"a" has data_offsets undefined'],
    ['no entry', { a: null }, 0, '"a" has dtype undefined'],
    ['metadata of numbers', { __metadata__: { a: 1 } }, 0, '__metadata__ must map names to strings'],
  ])('%s', async (_, header, data, message) => {
    await expect(readSafetensors(await file(header, data))).rejects.toThrow(message);
  });

  test('no file, a stub, an absurd or unfinished header', async () => {
    await expect(readSafetensors(join(folder, 'none'))).rejects.toThrow('none: no such file');
    const path = join(folder, 'stub.safetensors');
    await writeFile(path, 'abc');
    await expect(readSafetensors(path)).rejects.toThrow('truncated: 3 bytes');
    await writeFile(path, 'this is a text file');
    await expect(readSafetensors(path)).rejects.toThrow('absurd');
    await writeFile(path, Buffer.from([99, 0, 0, 0, 0, 0, 0, 0, 1]));
    await expect(readSafetensors(path)).rejects.toThrow(
      'truncated: the header needs 107 bytes, the file has 9',
    );
  });

  test('the same key in different objects, or as a value, is no duplicate', async () => {
    const header = { __metadata__: { a: 'a', dtype: '"a":' }, a: entry(0, 4), b: entry(4, 8) };
    expect((await readSafetensors(await file(header, 8))).names()).toEqual(['a', 'b']);
  });

  test('a file that shrinks after it was opened', async () => {
    const path = await file({ a: entry(0, 400) }, 400);
    const weight = (await readSafetensors(path)).get('a')!;
    await truncate(path, 100);
    await expect(weight.load()).rejects.toThrow('ended while reading "a"');
  });
});

describe('shards', () => {
  const index = async (name: string, weight_map: object) => {
    const dir = join(folder, name);
    await mkdir(dir);
    await writeSafetensors(join(dir, 'one.safetensors'), { a: f32([1]), b: f32([2]) }, { format: 'pt' });
    await writeSafetensors(join(dir, 'two.safetensors'), { c: i64([3]), forgotten: f32([4]) });
    await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
    return dir;
  };

  test('are one source, also by folder', async () => {
    const dir = await index('good', { a: 'one.safetensors', c: 'two.safetensors', b: 'one.safetensors' });
    const all = await loadAll(dir);
    expect(Object.keys(all)).toEqual(['a', 'c', 'b', 'forgotten']);
    expect(all.c!.data).toEqual(BigInt64Array.of(3n));
    expect((await readSafetensors(join(dir, 'model.safetensors.index.json'))).metadata).toEqual({
      format: 'pt',
    });
  });

  test.each<[string, object, RegExp]>([
    [
      'missing shard',
      { a: 'one.safetensors', z: 'six.safetensors' },
      /shard six.safetensors, .* "z", is missing/,
    ],
    [
      'missing key',
      { forgoten: 'two.safetensors' },
      /two.safetensors: no "forgoten" \(did you mean "forgotten"/,
    ],
    ['path outside', { a: '../one.safetensors' }, /"a" lies in "..\/one.safetensors", which is no file name/],
    ['no path', { a: 1 }, /"a" lies in 1/],
  ])('%s', async (name, map, message) => {
    await expect(readSafetensors(await index(name, map))).rejects.toThrow(message);
  });

  test('an index without a map, a folder without weights', async () => {
    const path = join(folder, 'x.index.json');
    await writeFile(path, '{}');
    await expect(readSafetensors(path)).rejects.toThrow('no weight_map');
    const dir = join(folder, 'bare');
    await mkdir(dir);
    await expect(readSafetensors(dir)).rejects.toThrow('holds neither model.safetensors nor');
  });
});

describe('writing', () => {
  test('rejects what is no tensor', () => {
    expect(() => encodeSafetensors({ a: { ...f32([1]), shape: [2] } })).toThrow('do not fill');
    expect(() => encodeSafetensors({ __metadata__: f32([1]) })).toThrow('__metadata__');
  });

  test('a failure on the way leaves the old file and nothing else', async () => {
    const dir = join(folder, 'full');
    await mkdir(dir);
    const path = join(dir, 'x');
    await writeAtomic(path, ['old']);
    const full = function* () {
      yield 'new';
      throw Object.assign(new Error('ENOSPC: write'), { code: 'ENOSPC' });
    };
    await expect(writeAtomic(path, full())).rejects.toThrow(/x: could not be written \(no space left/);
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(dir)).toEqual(['x']);
    expect(process.listenerCount('SIGINT')).toBe(0);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s in the middle leaves the old file and nothing else',
    async (signal) => {
      const dir = join(folder, signal);
      await mkdir(dir);
      const path = join(dir, 'x');
      await writeAtomic(path, ['old']);
      const script = `
      import { writeAtomic } from ${JSON.stringify(join(import.meta.dirname, 'atomic.ts'))};
      function* parts() { for (;;) { console.log('writing'); yield 'new'; } }
      await writeAtomic(${JSON.stringify(path)}, parts());`;
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      child.stdout.resume();
      child.kill(signal);
      const [, ended] = await once(child, 'exit');
      expect(ended).toBe(signal);
      expect(await readdir(dir)).toEqual(['x']);
      expect(await readFile(path, 'utf8')).toBe('old');
    },
  );
});

test('a file of more than 4 GB is read where asked, here and by ONNX Runtime', async () => {
  const gap = 4.5 * 2 ** 30;
  const entry = (dtype: string, shape: number[], begin: number, size: number) => ({
    ...{ dtype, shape, data_offsets: [begin, begin + size] },
  });
  const header = Buffer.from(
    JSON.stringify({ gap: entry('U8', [gap], 0, gap), last: entry('F32', [3], gap, 12) }).padEnd(160),
  );
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  const path = join(folder, 'large.safetensors');
  const file = await open(path, 'w');
  // All but the ends is a hole that takes no room.
  await file.write(Buffer.concat([prefix, header]), 0);
  await file.write(Buffer.from(Float32Array.of(1, -2, 3).buffer), 0, 12, 8 + header.length + gap);
  await file.close();
  const last = (await readSafetensors(path)).get('last')!;
  expect((await last.load()).data).toEqual(Float32Array.of(1, -2, 3));
  const { twice } = await runOnce({ twice: weight(last).mul(2) }, {});
  expect(twice.data).toEqual(Float32Array.of(2, -4, 6));
});
