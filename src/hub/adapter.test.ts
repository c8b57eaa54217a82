import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { f32 } from '../graph/host.ts';
import { loadAdapter, matchKeys, saveAdapter } from './adapter.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'adapter-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('an adapter comes back as it was saved, and is saved the same each time', async () => {
  const dir = join(folder, 'a/b');
  const adapter = {
    config: { method: 'coop', options: { tokens: 4, unset: undefined } },
    tensors: { ctx: f32([1, 2], [2, 1]) },
  };
  await saveAdapter(dir, adapter);
  const loaded = await loadAdapter(dir);
  expect(loaded.config).toEqual({ method: 'coop', options: { tokens: 4 } });
  expect(loaded.tensors).toEqual(adapter.tensors);
  expect((await readdir(dir)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  const first = await readFile(join(dir, 'adapter_model.safetensors'));
  await saveAdapter(dir, loaded);
  expect((await readFile(join(dir, 'adapter_model.safetensors'))).equals(first)).toBe(true);
});

test.each<[string, object, string]>([
  ['NaN', { a: { rate: Number.NaN } }, 'adapter_config.json: a.rate is NaN, not JSON'],
  ['a map', { a: [new Map()] }, 'a.0 is Map, not JSON'],
  ['a hole', { a: [undefined] }, 'a.0 is undefined, not JSON'],
  ['a bigint', { a: 1n }, 'a is 1, not JSON'],
  ['a function', { a: () => 1 }, 'a is Function, not JSON'],
])('a config with %s is rejected before anything is written', async (name, config, message) => {
  const dir = join(folder, name);
  await expect(saveAdapter(dir, { config: config as Record<string, unknown>, tensors: {} })).rejects.toThrow(
    message,
  );
  await expect(readdir(dir)).rejects.toThrow('ENOENT');
});

test('a config that contains itself is rejected', async () => {
  const config: Record<string, unknown> = {};
  config.a = { again: config };
  await expect(saveAdapter(folder, { config, tensors: {} })).rejects.toThrow('a.again contains itself');
});

test('missing and damaged files are named', async () => {
  await expect(loadAdapter(join(folder, 'none'))).rejects.toThrow('none: no such folder');
  const dir = join(folder, 'damaged');
  await saveAdapter(dir, { config: {}, tensors: {} });
  await rm(join(dir, 'adapter_model.safetensors'));
  await expect(loadAdapter(dir)).rejects.toThrow('adapter_model.safetensors: no such file');
  await writeFile(join(dir, 'adapter_config.json'), '{"a": tru');
  await expect(loadAdapter(dir)).rejects.toThrow('adapter_config.json: not valid JSON');
  await rm(join(dir, 'adapter_config.json'));
  await expect(loadAdapter(dir)).rejects.toThrow('adapter_config.json is missing');
});

test('keys are matched with near misses', () => {
  expect(matchKeys(['a', 'b'], ['b', 'a'])).toEqual({ missing: [], unknown: [], message: '' });
  const { missing, unknown, message } = matchKeys(['layer.0.bias', 'scale'], ['layers.0.bias', 'other']);
  expect(missing).toEqual(['layer.0.bias', 'scale']);
  expect(unknown).toEqual(['layers.0.bias', 'other']);
  expect(message.split('\n')).toEqual([
    'missing "layer.0.bias" (did you mean "layers.0.bias"?)',
    'missing "scale"',
    'unknown "layers.0.bias" (did you mean "layer.0.bias"?)',
    'unknown "other"',
  ]);
  const many = matchKeys(
    Array.from({ length: 20 }, (_, i) => `${i}`),
    [],
  ).message.split('\n');
  expect([many.length, many.at(-1)]).toEqual([9, '12 more missing']);
});
