import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type JsonObject, parseJson } from './json.ts';

export interface RemoteFile {
  readonly url: string;
  /** Unknown where the server does not say. */
  readonly size: number | undefined;
  /** A sha256, a git sha1, or something that cannot be checked. */
  readonly etag: string;
}

export interface Connection {
  readonly headers: Record<string, string>;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds before the first new try; doubled for each further one. */
  readonly retryDelay: number;
}

/** What a new try may cure: a broken connection, a busy server, damaged bytes. */
class Transient extends Error {}

export class HttpError extends Error {
  readonly status: number;
  constructor(status: number, url: string) {
    super(`${url}: the server answers ${status}`);
    this.status = status;
  }
}

const tries = 5;

/** Runs `task` again while it fails transiently; `progress` growing beyond its best starts the count afresh. */
async function persist<T>(
  task: () => Promise<T>,
  { signal, retryDelay }: Connection,
  progress = async () => 0,
) {
  let best = await progress();
  for (let failures = 1; ; failures++) {
    try {
      signal?.throwIfAborted();
      return await task();
    } catch (error) {
      signal?.throwIfAborted();
      const reached = await progress();
      if (reached > best) [best, failures] = [reached, 1];
      if (!(error instanceof Transient)) throw error;
      if (failures >= tries) throw new Error(`${error.message} (${tries} tries)`, { cause: error.cause });
      await sleep(retryDelay * 2 ** (failures - 1), undefined, { signal }).catch(() => undefined);
    }
  }
}

async function attempt(url: string, init: RequestInit, { headers, signal }: Connection): Promise<Response> {
  // Compressed answers have neither the size nor the etag of the file.
  const all = { 'accept-encoding': 'identity', ...headers, ...init.headers };
  const response = await fetch(url, { ...init, headers: all, signal: signal ?? null }).catch((error) => {
    throw new Transient(`${url}: ${reason(error)}`, { cause: error });
  });
  const { status } = response;
  if (status < 400 || status === 416) return response;
  await response.body?.cancel();
  if (status === 429 || status >= 500) throw new Transient(`${url}: the server answers ${status}`);
  throw new HttpError(status, url);
}

const reason = (error: Error) => (error.cause as Error | undefined)?.message || error.message;

export async function getJson(url: string, connection: Connection): Promise<JsonObject> {
  const text = await persist(async () => {
    const response = await attempt(url, {}, connection);
    return response.text().catch(brokeOff(url));
  }, connection);
  return parseJson(text, url);
}

const brokeOff = (url: string) => (error: Error) => {
  throw new Transient(`${url}: the connection broke (${reason(error)})`, { cause: error });
};

/** Size and etag of a file, as the Hub states them rather than the storage that it redirects to. */
export async function headOf(url: string, connection: Connection): Promise<RemoteFile> {
  const init: RequestInit = { method: 'HEAD', redirect: 'manual' };
  let at = url;
  for (let hops = 0; hops < 5; hops++) {
    const { headers, status } = await persist(() => attempt(at, init, connection), connection);
    const linked = headers.get('x-linked-etag');
    const next = new URL(headers.get('location') ?? at, at);
    if (!linked && status >= 300 && next.origin === new URL(at).origin) {
      at = next.href;
      continue;
    }
    const etag = (linked ?? headers.get('etag'))?.replace(/^W\/|"/g, '');
    const size = headers.get(status < 300 ? 'content-length' : 'x-linked-size');
    if (!etag || !/^[\w-]+$/.test(etag)) throw new Error(`${url}: the server names no usable etag`);
    return { url, etag, size: size === null ? undefined : Number(size) };
  }
  throw new Error(`${url}: too many redirections`);
}

/**
 * Downloads to `target`: into `target.incomplete`, from where the last attempt broke off, checked against the
 * etag, then renamed. `onBytes` hears the bytes of the file that are there so far.
 */
export async function download(
  file: RemoteFile,
  target: string,
  connection: Connection,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const partial = `${target}.incomplete`;
  const sizeNow = () =>
    stat(partial).then(
      ({ size }) => size,
      () => 0,
    );
  await persist(
    async () => {
      const have = await sizeNow();
      if (have === 0 || have !== file.size) await fetchRest(file, partial, have, connection, onBytes);
      const size = await sizeNow();
      if (file.size !== undefined && size < file.size) {
        throw new Transient(`${file.url}: the connection broke after ${size} of ${file.size} bytes`);
      }
      if (size !== (file.size ?? size) || !(await matches(partial, size, file.etag))) {
        await rm(partial, { force: true });
        throw new Transient(`${file.url}: the download is corrupt, its checksum is not ${file.etag}`);
      }
      await rename(partial, target);
    },
    connection,
    sizeNow,
  );
}

async function fetchRest(
  { url }: RemoteFile,
  partial: string,
  have: number,
  connection: Connection,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const range: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {};
  const response = await attempt(url, { headers: range }, connection);
  const resumed =
    response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${have}-`);
  const out: FileHandle = await open(partial, resumed ? 'a' : 'w');
  try {
    if (response.status === 416) throw new Transient(`${url}: the server refuses to resume`);
    let at = resumed ? have : 0;
    for await (const bytes of chunks(response, url)) {
      await out.writeFile(bytes);
      at += bytes.length;
      onBytes(at);
    }
    await out.sync();
  } finally {
    await response.body?.cancel().catch(() => undefined);
    await out.close();
  }
}

/** The body, with a break of the connection as a transient error and errors of the consumer as they are. */
async function* chunks({ body }: Response, url: string): AsyncGenerator<Uint8Array> {
  const reader = body!.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(brokeOff(url));
    if (done) return reader.releaseLock();
    yield value;
  }
}

/** LFS files are named by their sha256, others by git's sha1; any other etag says nothing of the bytes. */
async function matches(path: string, size: number, etag: string): Promise<boolean> {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) return true;
  const hash = createHash(etag.length === 64 ? 'sha256' : 'sha1');
  if (etag.length === 40) hash.update(`blob ${size}\0`);
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex') === etag;
}
