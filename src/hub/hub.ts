import { access, copyFile, mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isTable, splitFiles } from '../data/index.ts';
import { didYouMean } from '../graph/nearest.ts';
import { writeAtomic } from './atomic.ts';
import { type Connection, download, getJson, HttpError, headOf } from './download.ts';
import { readJson } from './json.ts';

export interface Progress {
  readonly file: string;
  /** Bytes there so far and bytes in all, over all files. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Estimate from the rate so far; absent until there is a rate. */
  readonly secondsLeft?: number;
}

export interface ResolveOptions {
  /** Branch, tag or commit on the Hub; `owner/name@revision` says the same. Default: main. */
  revision?: string;
  /** Default: where Python's huggingface_hub keeps its files (HF_HUB_CACHE, HF_HOME). */
  cacheDir?: string;
  /** Use only what is cached. Default: whether HF_HUB_OFFLINE is set. */
  offline?: boolean;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** Milliseconds before a failed request is tried again; doubled each time. */
  retryDelay?: number;
}

/** The folder of the models that come with Attune. */
export const zooRoot: string = fileURLToPath(new URL('../../zoo/', import.meta.url));
const here = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
const list = async (dir: string) => (await readdir(dir).catch(() => [])).sort();

/**
 * The local folder of a model: a folder, `zoo:NAME`, or `owner/name[@revision]` from the Hugging Face Hub, which is
 * downloaded into the cache shared with Python: resumable, checked, only the files that are needed.
 */
export async function resolveFolder(spec: string, options: ResolveOptions = {}): Promise<string> {
  if (spec.startsWith('zoo:')) return zooFolder(spec.slice(4));
  if (await here(spec)) return localFolder(resolve(spec));
  const [, repo, revision] = repoAt.exec(spec) ?? [];
  if (repo) return hubFolder(modelKind, repo, options.revision ?? revision ?? 'main', options);
  const parent = dirname(resolve(spec));
  const near = didYouMean(basename(spec), await list(parent));
  throw new Error(`${spec}: no such folder${near}; models of the Hugging Face Hub are written owner/name`);
}

async function zooFolder(name: string): Promise<string> {
  const names = await list(zooRoot);
  if (names.includes(name)) return localFolder(join(zooRoot, name));
  throw new Error(
    `zoo:${name}: not in the zoo${didYouMean(name, names)}, which has: ${names.join(', ') || 'nothing'}`,
  );
}

async function localFolder(path: string): Promise<string> {
  if (!(await stat(path)).isDirectory()) throw new Error(`${path}: is a file; give the folder of the model`);
  if (await here(join(path, 'config.json'))) return path;
  throw new Error(`${path}: no config.json here (found: ${(await list(path)).join(', ') || 'nothing'})`);
}

/**
 * The local folder of a data set: a folder, or `owner/name[@revision]` from the Hub, of which the tables of one
 * configuration (`sst2` of `nyu-mll/glue`) are downloaded. A data set that has none in its main branch mostly has them
 * under the revision `refs/convert/parquet`.
 */
export async function resolveDataset(
  spec: string,
  { config, ...options }: ResolveOptions & { readonly config?: string | undefined } = {},
): Promise<string> {
  if (await here(spec)) return resolve(spec);
  const [, repo, revision] = repoAt.exec(spec) ?? [];
  if (!repo) throw new Error(`${spec}: no such folder; data sets of the Hub are written owner/name`);
  const tables: RepoKind = {
    type: 'datasets',
    wanted(_, names) {
      if (names.some(isTable)) return Object.values(splitFiles(names, spec, config)).flat();
      throw new Error(
        `${spec}: has no tables (${names.join(', ') || 'no files'}); the Hub mostly converts such a data set: ` +
          `try ${repo}@refs/convert/parquet`,
      );
    },
    async cached(snapshot) {
      const names = await readdir(snapshot, { recursive: true }).catch(() => []);
      try {
        return Object.keys(splitFiles(names, snapshot, config)).length > 0;
      } catch {
        return false;
      }
    },
  };
  return hubFolder(tables, repo, options.revision ?? revision ?? 'main', options);
}

const repoAt = /^([\w-][\w.-]*\/[\w.-]+)(?:@(.+))?$/;

/** What differs between the Hub's kinds of repositories. */
interface RepoKind {
  readonly type: 'models' | 'datasets';
  /** Of a repository's files, those to download. */
  wanted(repo: string, names: readonly string[]): string[];
  /** Whether a snapshot in the cache can be used. */
  cached(snapshot: string): Promise<boolean>;
}

async function hubFolder(
  kind: RepoKind,
  repo: string,
  revision: string,
  options: ResolveOptions,
): Promise<string> {
  if (/^[./]|\.\.|[\s\\]/.test(revision))
    throw new Error(`${repo}: ${JSON.stringify(revision)} is no revision`);
  const { env } = process;
  const home = env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const cacheDir = options.cacheDir ?? env.HF_HUB_CACHE ?? join(home, 'hub');
  const store = join(cacheDir, `${kind.type}--${repo.replace('/', '--')}`);
  const cached = await cachedSnapshot(kind, store, revision);
  // Of a data set there may be more configurations than are there.
  if (cached && kind.type === 'models' && /^[0-9a-f]{40}$/.test(revision)) return cached;
  if (options.offline ?? /^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? '')) {
    if (cached) return cached;
    throw new Error(
      `${repo}@${revision}: not (wholly) in the cache ${cacheDir}, and offline: load it once online`,
    );
  }
  const endpoint = (env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '');
  const headers: Record<string, string> = env.HF_TOKEN ? { authorization: `Bearer ${env.HF_TOKEN}` } : {};
  const connection = { headers, signal: options.signal, retryDelay: options.retryDelay ?? 500 };
  try {
    return await refresh({ kind, repo, revision, store, endpoint, connection }, options.onProgress);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof HttpError) throw explain(error, repo, revision, pageOf(kind, endpoint));
    if (!cached) throw error;
    process.emitWarning(`${(error as Error).message}; using the cached ${cached}`);
    return cached;
  }
}

/** The address below which the Hub has the repositories of a kind. */
const pageOf = ({ type }: RepoKind, endpoint: string) =>
  type === 'models' ? endpoint : `${endpoint}/${type}`;

function explain({ status, message }: HttpError, repo: string, revision: string, endpoint: string): Error {
  const token = process.env.HF_TOKEN ? 'that HF_TOKEN may read it' : 'HF_TOKEN, where it is private or gated';
  const page = `${endpoint}/${repo}`;
  if (status === 401)
    return new Error(`${repo}: private, gated or absent (401): check its name and ${token}; ${page}`);
  if (status === 403)
    return new Error(`${repo}: no access (403): accept its terms at ${page} and check ${token}`);
  if (status !== 404) return new Error(`${repo}: ${message}`);
  return new Error(
    `${repo}@${revision}: not found (404), neither here as a folder nor at ${endpoint}: check the spelling of ` +
      `the owner, the name and the revision, and ${token}`,
  );
}

interface Remote {
  readonly kind: RepoKind;
  readonly repo: string;
  readonly revision: string;
  /** The repository's folder in the cache: blobs, refs, snapshots. */
  readonly store: string;
  readonly endpoint: string;
  readonly connection: Connection;
}

/** The Hub's answer about a revision, as far as it matters here. */
interface Revision {
  readonly sha: string;
  readonly siblings: readonly { readonly rfilename: string }[];
}

/** Brings the snapshot of a revision up to date; files that are there already are not asked for. */
async function refresh(
  { kind, repo, revision, store, endpoint, connection }: Remote,
  onProgress: ResolveOptions['onProgress'],
): Promise<string> {
  const api = `${endpoint}/api/${kind.type}/${repo}/revision/${encodeURIComponent(revision)}`;
  const { sha, siblings } = (await getJson(api, connection)) as Partial<Revision>;
  if (!sha || !siblings || !/^\w+$/.test(sha))
    throw new Error(`${api}: the server names no commit and files`);
  const names = kind.wanted(
    repo,
    siblings.map(({ rfilename }) => rfilename).filter((name) => !/^\/|(^|\/)\.\.(\/|$)/.test(name)),
  );
  const snapshot = join(store, 'snapshots', sha);
  const missing: string[] = [];
  for (const name of names) if (!(await here(join(snapshot, name)))) missing.push(name);

  const url = (name: string) => `${pageOf(kind, endpoint)}/${repo}/resolve/${sha}/${name}`;
  const files = await Promise.all(
    missing.map(async (name) => ({ name, ...(await headOf(url(name), connection)) })),
  );
  const report = reporter(files, onProgress);
  await mkdir(join(store, 'blobs'), { recursive: true });
  await mkdir(snapshot, { recursive: true });
  for (const file of files) {
    const blob = join(store, 'blobs', file.etag);
    if (!(await here(blob))) await download(file, blob, connection, (bytes) => report(file.name, bytes));
    await link(blob, join(snapshot, file.name));
    report(file.name, file.size ?? 0, true);
  }
  if (sha !== revision) await writeAtomic(join(store, 'refs', revision), [sha]);
  return snapshot;
}

async function link(blob: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await symlink(relative(dirname(path), blob), path).catch(async (error) => {
    // Another process may have been faster; Windows may not allow links.
    if (error.code !== 'EEXIST') await copyFile(blob, path);
  });
}

const wanted =
  /^(config|generation_config|preprocessor_config|processor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|adapter_config)\.json$|^(merges\.txt|vocab\.txt|spiece\.model)$/;
const shard = /^model-\d+-of-\d+\.safetensors$/;

/** Of a repository's files: configuration, tokenizer, and one set of weights. */
function wantedFiles(repo: string, names: readonly string[]): string[] {
  if (!names.includes('config.json'))
    throw new Error(`${repo}: has no config.json (it has ${names.join(', ')})`);
  const inRoot = names.filter((name) => /^[\w.-]+\.safetensors$/.test(name));
  const index = 'model.safetensors.index.json';
  let weights = inRoot;
  if (names.includes('model.safetensors')) weights = ['model.safetensors'];
  else if (names.includes(index)) weights = [index, ...inRoot.filter((name) => shard.test(name))];
  if (weights.length === 0) {
    const others = names.filter((name) => /\.(bin|pt|pth|ckpt|h5|msgpack)$/.test(name)).join(', ') || 'none';
    throw new Error(
      `${repo}: has no weights as safetensors (other weights: ${others}); the Hub's converter often offers ` +
        `them as a pull request: try the revision refs/pr/1, or convert them with Python`,
    );
  }
  return [...names.filter((name) => wanted.test(name)), ...weights];
}

async function cachedSnapshot(kind: RepoKind, store: string, revision: string): Promise<string | undefined> {
  const ref = await readFile(join(store, 'refs', revision), 'utf8').catch(() => revision);
  const snapshot = join(store, 'snapshots', ref.trim());
  return (await kind.cached(snapshot)) ? snapshot : undefined;
}

/** Whether a snapshot has all that a model needs. */
async function isWholeModel(snapshot: string): Promise<boolean> {
  const names = (await list(snapshot)).filter(
    (name) => name === 'config.json' || name.includes('.safetensors'),
  );
  const index = await readJson(join(snapshot, 'model.safetensors.index.json'));
  const shards = Object.values((index?.weight_map ?? {}) as Record<string, string>);
  for (const name of [...names, ...shards]) if (!(await here(join(snapshot, name)))) return false;
  return names.includes('config.json') && names.length > 1;
}

const modelKind: RepoKind = { type: 'models', wanted: wantedFiles, cached: isWholeModel };

/** Adds up the files' bytes and estimates the rest, ten times a second. */
function reporter(
  files: readonly { name: string; size: number | undefined }[],
  onProgress: ResolveOptions['onProgress'],
) {
  const totalBytes = files.reduce((sum, { size }) => sum + (size ?? 0), 0);
  const there = new Map<string, number>();
  const start = { time: Date.now(), bytes: -1 };
  let last = 0;
  return (file: string, bytesOfFile: number, finished = false) => {
    there.set(file, bytesOfFile);
    const now = Date.now();
    if (!onProgress || (now - last < 100 && !finished)) return;
    last = now;
    const bytes = [...there.values()].reduce((a, b) => a + b, 0);
    if (start.bytes < 0) start.bytes = bytes;
    const rate = (bytes - start.bytes) / (now - start.time);
    const left = rate > 0 ? { secondsLeft: (totalBytes - bytes) / rate / 1000 } : {};
    onProgress({ file, bytes, totalBytes, ...left });
  };
}
