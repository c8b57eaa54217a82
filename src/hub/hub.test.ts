import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, readlink, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { f32 } from '../graph/host.ts';
import { type Progress, resolveDataset, resolveFolder } from './hub.ts';
import { encodeSafetensors, readSafetensors } from './safetensors.ts';

const commit = `${'c0ffee'.repeat(6)}beef`;
const large = Buffer.from(encodeSafetensors({ w: f32(new Float32Array(100_000).fill(0.5)) }));
const contents: Record<string, Buffer> = {
  'config.json': Buffer.from('{"model_type":"clip"}'),
  'merges.txt': Buffer.from('#version: 0.2\n'),
  'model.safetensors': large,
  'open_clip_model.safetensors': large,
  'pytorch_model.bin': Buffer.from('pickle'),
  'README.md': Buffer.from('# model'),
  'onnx/config.json': Buffer.from('{}'),
};
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
const gitSha1 = (data: Buffer) =>
  createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');

/** What the server does wrong, and what it was asked. */
interface Hub {
  files: Record<string, Buffer>;
  /** Statuses for the next requests of a path that contains the key. */
  status: Record<string, number[]>;
  /** Break the next transfers of the large file after so many bytes. */
  breakAfter: number[];
  corrupt: number;
  ranges: boolean;
  log: string[];
  onStorage?: () => void;
  storageAuthorization: (string | undefined)[];
}
let hub: Hub;
let cache: string;
let url: string;
let close: () => Promise<void>;

beforeEach(async () => {
  hub = {
    files: contents,
    status: {},
    breakAfter: [],
    corrupt: 0,
    ranges: true,
    log: [],
    storageAuthorization: [],
  };
  cache = await mkdtemp(join(tmpdir(), 'hub-'));
  const storage = createServer(serveStorage).listen(0, '127.0.0.1');
  await once(storage, 'listening');
  const base = (server: typeof storage) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const server = createServer((request, response) => serveHub(request, response, base(storage)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = base(server);
  vi.stubEnv('HF_ENDPOINT', `${url}/`);
  vi.stubEnv('HF_TOKEN', '');
  close = async () => {
    for (const each of [server, storage]) {
      each.closeAllConnections();
      each.close();
    }
    await rm(cache, { recursive: true });
  };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await close();
});

function serveHub(request: IncomingMessage, response: ServerResponse, storage: string): void {
  const path = decodeURIComponent(request.url!);
  hub.log.push(`${request.method} ${path}`);
  const [key] = Object.keys(hub.status).filter((part) => path.includes(part) && hub.status[part]!.length);
  if (key) return void response.writeHead(hub.status[key]!.shift()!).end();
  if (/^\/api\/(?:models|datasets)\/owner\/name\/revision\//.test(path)) {
    if (/(nothing)$/.test(path)) return void response.writeHead(404).end();
    const siblings = Object.keys(hub.files).map((rfilename) => ({ rfilename }));
    return void response.end(JSON.stringify({ sha: commit, siblings }));
  }
  const name = path.split(`/owner/name/resolve/${commit}/`)[1];
  const data = name === undefined ? undefined : hub.files[name];
  if (!data) return void response.writeHead(404).end();
  if (name!.endsWith('.safetensors')) {
    const headers = {
      location: `${storage}/${name}`,
      'x-linked-etag': `"${sha256(data)}"`,
      'x-linked-size': data.length,
      etag: '"something-else"',
    };
    return void response.writeHead(302, headers).end();
  }
  if (!path.startsWith('/api/resolve-cache')) {
    return void response.writeHead(307, { location: `/api/resolve-cache${path}` }).end();
  }
  response.writeHead(200, { etag: `W/"${gitSha1(data)}"`, 'content-length': data.length }).end(data);
}

function serveStorage(request: IncomingMessage, response: ServerResponse): void {
  const { range, authorization } = request.headers;
  hub.log.push(`storage ${request.url} ${range ?? 'whole'}`);
  hub.storageAuthorization.push(authorization);
  hub.onStorage?.();
  const data = hub.files[request.url!.slice(1)]!;
  const start = hub.ranges && range ? Number(/\d+/.exec(range)![0]) : 0;
  const body = Buffer.from(data.subarray(start));
  if (hub.corrupt-- > 0) body[body.length - 1]! ^= 1;
  response.writeHead(start ? 206 : 200, {
    'content-length': body.length,
    ...(start ? { 'content-range': `bytes ${start}-${data.length - 1}/${data.length}` } : {}),
  });
  const broken = hub.breakAfter.shift();
  if (broken === undefined) response.end(body);
  else response.write(body.subarray(0, broken), () => setTimeout(() => response.destroy(), 20));
}

const get = (spec = 'owner/name', options: Parameters<typeof resolveFolder>[1] = {}) =>
  resolveFolder(spec, { cacheDir: cache, retryDelay: 1, ...options });
const store = () => join(cache, 'models--owner--name');
const storageLog = () => hub.log.filter((line) => line.startsWith('storage'));

describe('data sets', () => {
  const tables = {
    'README.md': Buffer.from('# data'),
    'sst2/train-00000-of-00001.parquet': Buffer.from('train'),
    'sst2/validation-00000-of-00001.parquet': Buffer.from('val'),
    'cola/train-00000-of-00001.parquet': Buffer.from('cola'),
    '../train.csv': Buffer.from('elsewhere'),
  };
  const open = (config?: string, options: { offline?: boolean } = {}) =>
    resolveDataset('owner/name', { cacheDir: cache, retryDelay: 1, config, ...options });

  test('the tables of one configuration, in the cache layout of huggingface_hub; offline from there', async () => {
    hub.files = tables;
    const folder = await open('sst2');
    expect(folder).toBe(join(cache, 'datasets--owner--name', 'snapshots', commit));
    expect(await readdir(folder)).toEqual(['sst2']);
    const train = join(folder, 'sst2/train-00000-of-00001.parquet');
    expect(await readFile(train, 'utf8')).toBe('train');
    expect(await readlink(train)).toBe(
      `../../../blobs/${gitSha1(tables['sst2/train-00000-of-00001.parquet'])}`,
    );
    expect(hub.log).toContain(`GET /api/datasets/owner/name/revision/main`);
    expect(hub.log.some((line) => line.includes('cola'))).toBe(false);
    const asked = hub.log.length;
    expect(await open('sst2', { offline: true })).toBe(folder);
    await expect(open('cola', { offline: true })).rejects.toThrow('offline');
    expect(hub.log.length).toBe(asked);
    await open('cola');
    expect(await readdir(folder)).toEqual(['cola', 'sst2']);
  });

  test('what to choose, where there are several or none', async () => {
    hub.files = tables;
    await expect(open()).rejects.toThrow(/several configurations: choose one of cola, sst2/);
    await expect(open('sst')).rejects.toThrow(/no configuration "sst" \(did you mean "sst2"\?\)/);
    hub.files = { 'name.py': Buffer.from('') };
    await expect(open()).rejects.toThrow('try owner/name@refs/convert/parquet');
    await expect(resolveDataset('nowhere', { cacheDir: cache })).rejects.toThrow('written owner/name');
    expect(await resolveDataset(cache)).toBe(cache);
  });
});

describe('downloads', () => {
  test('the wanted files into the cache layout of huggingface_hub', async () => {
    const folder = await get();
    expect(folder).toBe(join(store(), 'snapshots', commit));
    expect(await readdir(folder)).toEqual(['config.json', 'merges.txt', 'model.safetensors']);
    expect(await readlink(join(folder, 'config.json'))).toBe(
      `../../blobs/${gitSha1(contents['config.json']!)}`,
    );
    const names = ['config.json', 'merges.txt'].map((name) => gitSha1(contents[name]!));
    expect((await readdir(join(store(), 'blobs'))).sort()).toEqual([...names, sha256(large)].sort());
    expect(await readFile(join(store(), 'refs/main'), 'utf8')).toBe(commit);
    const source = await readSafetensors(folder);
    expect((await source.get('w')!.load()).data).toHaveLength(100_000);
    expect(source.get('w')!.file!.path).toBe(await realpath(join(folder, 'model.safetensors')));
  });

  test('nothing again: one question for a branch, none for a commit', async () => {
    await get();
    hub.log = [];
    await get();
    expect(hub.log).toEqual(['GET /api/models/owner/name/revision/main']);
    hub.log = [];
    expect(await get(`owner/name@${commit}`)).toContain(commit);
    expect(await get('owner/name', { revision: commit })).toContain(commit);
    expect(hub.log).toEqual([]);
  });

  test('a revision with a slash has its ref; strange ones are refused', async () => {
    await get('owner/name@refs/pr/1');
    expect(hub.log[0]).toBe('GET /api/models/owner/name/revision/refs/pr/1');
    expect(await readFile(join(store(), 'refs/refs/pr/1'), 'utf8')).toBe(commit);
    await expect(get('owner/name@../../x')).rejects.toThrow('is no revision');
  });

  test('with progress that ends at the whole', async () => {
    const seen: Progress[] = [];
    await get('owner/name', { onProgress: (progress) => seen.push(progress) });
    const { bytes, totalBytes } = seen.at(-1)!;
    const expected = ['config.json', 'merges.txt', 'model.safetensors'].reduce(
      (n, f) => n + contents[f]!.length,
      0,
    );
    expect([bytes, totalBytes]).toEqual([expected, expected]);
    expect(seen.every((now, i) => i === 0 || now.bytes >= seen[i - 1]!.bytes)).toBe(true);
  });

  test('the token goes to the Hub and not to its storage', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    await get();
    expect(hub.storageAuthorization).toEqual([undefined]);
  });

  test('shards with their index', async () => {
    const index = { weight_map: { w: 'model-00001-of-00001.safetensors' } };
    hub.files = {
      'config.json': contents['config.json']!,
      'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
      'model-00001-of-00001.safetensors': large,
      'other.safetensors': large,
    };
    const folder = await get();
    expect(await readdir(folder)).not.toContain('other.safetensors');
    expect((await readSafetensors(folder)).names()).toEqual(['w']);
    await rm(join(folder, 'model-00001-of-00001.safetensors'));
    await expect(get('owner/name', { offline: true })).rejects.toThrow('not (wholly) in the cache');
  });
});

describe('broken connections', () => {
  test('resume where they broke', async () => {
    hub.breakAfter = [100_000, 100_000];
    const folder = await get();
    expect(large.equals(await readFile(join(folder, 'model.safetensors')))).toBe(true);
    const [first, ...rest] = storageLog();
    expect(first).toBe('storage /model.safetensors whole');
    expect(rest).toHaveLength(2);
    for (const line of rest) expect(Number(/bytes=(\d+)-$/.exec(line)![1])).toBeGreaterThan(0);
  });

  test('resume in a later call, also one that was aborted', async () => {
    const abort = new AbortController();
    hub.breakAfter = [200_000, 0, 0, 0, 0, 0, 0];
    await expect(get()).rejects.toThrow('(5 tries)');
    const partial = join(store(), 'blobs', `${sha256(large)}.incomplete`);
    const { size } = await stat(partial);
    expect(size).toBeGreaterThan(0);
    abort.abort(new Error('stopped by the user'));
    await expect(get('owner/name', { signal: abort.signal })).rejects.toThrow('stopped by the user');
    hub.breakAfter = [];
    hub.log = [];
    await get();
    expect(storageLog()).toEqual([`storage /model.safetensors bytes=${size}-`]);
  });

  test('abort in the middle leaves no trace of a model', async () => {
    const abort = new AbortController();
    hub.breakAfter = [100_000];
    hub.onStorage = () => abort.abort(new Error('stop'));
    await expect(get('owner/name', { signal: abort.signal })).rejects.toThrow('stop');
    expect(storageLog()).toHaveLength(1);
    await expect(get('owner/name', { offline: true })).rejects.toThrow('not (wholly) in the cache');
  });

  test('start afresh where the server cannot resume', async () => {
    hub.ranges = false;
    hub.breakAfter = [100_000];
    expect(large.equals(await readFile(join(await get(), 'model.safetensors')))).toBe(true);
  });

  test('a busy server is asked again', async () => {
    hub.status = { '/api/models': [503, 429], 'config.json': [500] };
    await get();
    expect(hub.log.filter((line) => line.includes('/api/models'))).toHaveLength(3);
  });
});

describe('corrupt downloads', () => {
  test('are fetched again', async () => {
    hub.corrupt = 1;
    expect(large.equals(await readFile(join(await get(), 'model.safetensors')))).toBe(true);
    expect(storageLog()).toEqual(Array(2).fill('storage /model.safetensors whole'));
  });

  test('never enter the cache', async () => {
    hub.corrupt = 100;
    await expect(get()).rejects.toThrow(/model.safetensors: the download is corrupt, its checksum is not/);
    expect(await readdir(join(store(), 'blobs'))).not.toContain(sha256(large));
    expect((await readdir(join(store(), 'blobs'))).some((name) => name.endsWith('.incomplete'))).toBe(false);
  });

  test('a damaged beginning from an earlier run is found out', async () => {
    await mkdir(join(store(), 'blobs'), { recursive: true });
    await writeFile(join(store(), 'blobs', `${sha256(large)}.incomplete`), 'rubbish');
    expect(large.equals(await readFile(join(await get(), 'model.safetensors')))).toBe(true);
    expect(storageLog()).toEqual(['storage /model.safetensors bytes=7-', 'storage /model.safetensors whole']);
  });
});

describe('answers that are errors', () => {
  test.each([
    [404, /owner\/name@main: not found \(404\), neither here as a folder .* check the spelling .* HF_TOKEN/],
    [401, /owner\/name: private, gated or absent \(401\): .*HF_TOKEN/],
    [403, /owner\/name: no access \(403\): accept its terms at http:.*owner\/name/],
    [400, /owner\/name: .*answers 400/],
  ])('%i', async (status, message) => {
    hub.status = { '/api/models': [status] };
    await expect(get()).rejects.toThrow(message);
  });

  test('an unknown revision', async () => {
    await expect(get('owner/name@nothing')).rejects.toThrow('owner/name@nothing: not found');
  });

  test('a repository without safetensors, or without a configuration, says what it has', async () => {
    hub.files = { 'config.json': contents['config.json']!, 'pytorch_model.bin': large };
    await expect(get()).rejects.toThrow(
      /no weights as safetensors \(other weights: pytorch_model.bin\).*refs\/pr\/1/,
    );
    hub.files = { 'weights.pt': large };
    await expect(get()).rejects.toThrow('has no config.json (it has weights.pt)');
  });

  test('no server', async () => {
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9');
    await expect(get()).rejects.toThrow(/^http:\/\/127.0.0.1:9.*\(5 tries\)$/);
  });
});

describe('offline', () => {
  test('without a cache names the cache', async () => {
    await expect(get('owner/name', { offline: true })).rejects.toThrow(`not (wholly) in the cache ${cache}`);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(get()).rejects.toThrow('offline');
    expect(hub.log).toEqual([]);
  });

  test('with a cache asks nobody', async () => {
    const folder = await get();
    hub.log = [];
    expect(await get('owner/name', { offline: true })).toBe(folder);
    expect(hub.log).toEqual([]);
  });

  test('where the server is away, the cache serves with a warning', async () => {
    const folder = await get();
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    hub.status = { '/api/models': Array(9).fill(503) };
    expect(await get()).toBe(folder);
    expect(warn.mock.calls[0]![0]).toContain('using the cached');
    warn.mockRestore();
  });

  test('HF_HUB_CACHE and HF_HOME say where the cache is', async () => {
    const folder = await get();
    vi.stubEnv('HF_HUB_CACHE', cache);
    expect(await resolveFolder('owner/name', { offline: true })).toBe(folder);
    vi.stubEnv('HF_HUB_CACHE', undefined);
    vi.stubEnv('HF_HOME', join(cache, 'home'));
    await expect(resolveFolder('owner/name', { offline: true })).rejects.toThrow(join(cache, 'home/hub'));
  });
});

describe('local folders', () => {
  test('are themselves, when they hold a model', async () => {
    const folder = join(cache, 'mine');
    await mkdir(folder);
    await writeFile(join(folder, 'notes.txt'), '');
    await expect(get(folder)).rejects.toThrow(`${folder}: no config.json here (found: notes.txt)`);
    await expect(get(join(folder, 'notes.txt'))).rejects.toThrow('is a file');
    await writeFile(join(folder, 'config.json'), '{}');
    expect(await get(folder)).toBe(folder);
    await expect(get(join(cache, 'nine'))).rejects.toThrow('no such folder (did you mean "mine"?)');
    await expect(get('gpt2')).rejects.toThrow('written owner/name');
  });

  test('the zoo lists what it has', async () => {
    await expect(get('zoo:no-such-model')).rejects.toThrow('zoo:no-such-model: not in the zoo');
    await expect(get('zoo:../src')).rejects.toThrow('not in the zoo');
  });
});
