import { open, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  bytesOf,
  bytesPerElement,
  checked,
  type DType,
  fromBytes,
  type HostTensor,
  type Shape,
  sizeOf,
  type Weight,
  type WeightSource,
} from '../graph/host.ts';
import { didYouMean } from '../graph/nearest.ts';
import { writeAtomic } from './atomic.ts';
import { duplicateKey, parseJson, readJson } from './json.ts';

/** In the order in which Python's safetensors lays tensors out, so that each stays aligned. */
const dtypes = {
  I64: 'int64',
  F64: 'float64',
  F32: 'float32',
  I32: 'int32',
  BF16: 'bfloat16',
  F16: 'float16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
} as const satisfies Record<string, DType>;
const codes = Object.keys(dtypes) as (keyof typeof dtypes)[];
const codeOf = (dtype: DType) => codes.find((code) => dtypes[code] === dtype)!;

/** As in the Rust library. */
const maxHeader = 100_000_000;

export interface SafetensorsSource extends WeightSource {
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Opens a `.safetensors` file, an index of shards (`model.safetensors.index.json`), or a folder with either. Only
 * headers are read; each weight is read when asked for. A damaged file is an error that names the file and key.
 */
export async function readSafetensors(path: string): Promise<SafetensorsSource> {
  const info = await stat(path).catch(() => undefined);
  if (!info) throw new Error(`${path}: no such file`);
  if (info.isDirectory()) {
    for (const name of ['model.safetensors', 'model.safetensors.index.json']) {
      if (await stat(join(path, name)).catch(() => undefined)) return readSafetensors(join(path, name));
    }
    throw new Error(`${path}: holds neither model.safetensors nor model.safetensors.index.json`);
  }
  return path.endsWith('.json') ? readShards(path) : readFile(path);
}

async function readFile(path: string): Promise<SafetensorsSource> {
  const real = await realpath(path);
  const file = await open(real);
  try {
    const { size } = await file.stat();
    if (size < 8) throw new Error(`${path}: truncated: ${size} bytes are no safetensors file`);
    const prefix = new DataView(new ArrayBuffer(8));
    await file.read(prefix, 0, 8, 0);
    const length = Number(prefix.getBigUint64(0, true));
    if (length > maxHeader) {
      throw new Error(`${path}: a header of ${length} bytes is absurd: this is no safetensors file`);
    }
    if (8 + length > size) {
      throw new Error(`${path}: truncated: the header needs ${8 + length} bytes, the file has ${size}`);
    }
    const header = Buffer.alloc(length);
    await file.read(header, 0, length, 8);
    return describe(path, real, header.toString('utf8'), 8 + length, size);
  } finally {
    await file.close();
  }
}

function describe(path: string, real: string, header: string, start: number, size: number) {
  const label = `${path}: header`;
  const { __metadata__: metadata = {}, ...entries } = parseJson(header, label);
  const twice = duplicateKey(header);
  if (twice !== undefined) throw new Error(`${label} has "${twice}" twice`);
  const strings = Object.values(metadata as object).every((value) => typeof value === 'string');
  if (typeof metadata !== 'object' || Array.isArray(metadata) || !strings) {
    throw new Error(`${label}: __metadata__ must map names to strings`);
  }
  const spans = Object.entries(entries).map(([name, entry]) => spanOf(name, entry, path));
  checkCoverage(path, spans, size - start);
  const weights = new Map(spans.map((span) => [span.name, fileWeight(path, real, span, start)]));
  return {
    label: path,
    metadata: metadata as Record<string, string>,
    names: () => [...weights.keys()],
    get: (name: string) => weights.get(name),
  };
}

interface Span {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

function spanOf(name: string, entry: unknown, path: string): Span {
  const fail = (why: string) => new Error(`${path}: "${name}" ${why}`);
  const { dtype: code, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  if (!Object.hasOwn(dtypes, String(code))) {
    throw fail(`has dtype ${JSON.stringify(code)}; readable are ${codes.join(', ')}`);
  }
  const dtype = dtypes[code as keyof typeof dtypes];
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fail(`has shape ${JSON.stringify(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1]) {
    throw fail(`has data_offsets ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  const needed = sizeOf(shape) * bytesPerElement[dtype];
  if (end - begin !== needed) {
    throw fail(`has ${end - begin} bytes, but ${code} [${shape}] needs ${needed}`);
  }
  return { name, dtype, shape, begin, end };
}

/** The spans must tile the data: no overlap, no gap, nothing beyond the end. */
function checkCoverage(path: string, spans: readonly Span[], size: number): void {
  let at = 0;
  let before = 'the header';
  for (const { name, begin, end } of [...spans].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin < at) throw new Error(`${path}: "${name}" overlaps ${before}`);
    if (begin > at) throw new Error(`${path}: ${begin - at} unused bytes between ${before} and "${name}"`);
    if (end > size) {
      throw new Error(`${path}: truncated: "${name}" ends at byte ${end} of the data, which has ${size}`);
    }
    [at, before] = [end, `"${name}"`];
  }
  if (at < size) throw new Error(`${path}: ${size - at} unused bytes after ${before}`);
}

function fileWeight(label: string, path: string, span: Span, start: number): Weight {
  const { name, dtype, shape } = span;
  const file = { path, offset: start + span.begin, length: span.end - span.begin };
  return { name, dtype, shape, file, load };

  async function load(): Promise<HostTensor> {
    const bytes = new Uint8Array(file.length);
    const handle = await open(path);
    try {
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(2 ** 30, bytes.length - at);
        const { bytesRead } = await handle.read(bytes, at, length, file.offset + at);
        if (bytesRead === 0) throw new Error(`${label}: ended while reading "${name}": the file was changed`);
        at += bytesRead;
      }
    } finally {
      await handle.close();
    }
    return fromBytes(bytes, dtype, shape);
  }
}

async function readShards(path: string): Promise<SafetensorsSource> {
  const { weight_map: map } = (await readJson(path))!;
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new Error(`${path}: no weight_map`);
  const entries = Object.entries(map) as [string, unknown][];
  const shards = new Map<unknown, SafetensorsSource>();
  const weights = new Map<string, Weight>();
  for (const [name, shard] of entries) {
    if (typeof shard !== 'string' || /[/\\]|^\.*$/.test(shard)) {
      throw new Error(`${path}: "${name}" lies in ${JSON.stringify(shard)}, which is no file name`);
    }
    if (!shards.has(shard)) {
      const opened = await readFile(join(dirname(path), shard)).catch((error) => {
        if (error.code !== 'ENOENT') throw error;
        throw new Error(`${path}: shard ${shard}, which holds "${name}", is missing`);
      });
      shards.set(shard, opened);
    }
    const source = shards.get(shard)!;
    const weight = source.get(name);
    if (!weight) throw new Error(`${source.label}: no "${name}"${didYouMean(name, source.names())}`);
    weights.set(name, weight);
  }
  // What the index forgot is there all the same.
  for (const shard of shards.values()) {
    for (const name of shard.names()) if (!weights.has(name)) weights.set(name, shard.get(name)!);
  }
  return {
    label: path,
    metadata: Object.assign({}, ...[...shards.values()].map((shard) => shard.metadata)),
    names: () => [...weights.keys()],
    get: (name) => weights.get(name),
  };
}

/** The parts of a file, without copying the tensors; the same tensors always give the same bytes. */
function* encode(tensors: Record<string, HostTensor>, metadata: Record<string, string> = {}) {
  const order = ([a, x]: [string, HostTensor], [b, y]: [string, HostTensor]) =>
    codes.indexOf(codeOf(x.dtype)) - codes.indexOf(codeOf(y.dtype)) || (a < b ? -1 : 1);
  const entries = Object.entries(tensors).sort(order);
  const header: [string, unknown][] = [];
  if (Object.keys(metadata).length) {
    const sorted = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
    header.push(['__metadata__', Object.fromEntries(sorted)]);
  }
  let at = 0;
  for (const [name, tensor] of entries) {
    if (name === '__metadata__') throw new Error('a tensor cannot be called "__metadata__"');
    const begin = at;
    at += bytesOf(checked(tensor)).length;
    header.push([name, { dtype: codeOf(tensor.dtype), shape: tensor.shape, data_offsets: [begin, at] }]);
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(json.length / 8) * 8;
  const prefix = Buffer.alloc(8 + length, ' ');
  prefix.writeBigUInt64LE(BigInt(length));
  json.copy(prefix, 8);
  yield prefix;
  for (const [, tensor] of entries) yield bytesOf(tensor);
}

/** A safetensors file in memory. */
export const encodeSafetensors = (tensors: Record<string, HostTensor>, metadata?: Record<string, string>) =>
  new Uint8Array(Buffer.concat([...encode(tensors, metadata)]));

/** Writes a safetensors file, whole or not at all. */
export const writeSafetensors = (
  path: string,
  tensors: Record<string, HostTensor>,
  metadata?: Record<string, string>,
): Promise<void> => writeAtomic(path, encode(tensors, metadata));
