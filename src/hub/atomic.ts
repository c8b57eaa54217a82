import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** Largest single write: the kernel takes at most 2 GiB at once. */
const chunk = 2 ** 26;

/**
 * Writes `path` whole or not at all: into a temporary file beside it, flushed to the disk, then renamed. On an
 * error (a full disk), on exit and on Ctrl-C the temporary file goes and what was at `path` stays.
 */
export async function writeAtomic(path: string, parts: Iterable<Uint8Array | string>): Promise<void> {
  const target = resolve(path);
  const temporary = `${target}.${randomUUID().slice(0, 8)}.tmp`;
  const release = removeOnExit(temporary);
  try {
    await mkdir(dirname(target), { recursive: true });
    const file = await open(temporary, 'wx');
    try {
      for (const part of parts) await writeAll(file, typeof part === 'string' ? Buffer.from(part) : part);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOSPC' ? 'no space left on the disk' : message;
    throw new Error(`${path}: could not be written (${why}); nothing was changed`, { cause: error });
  } finally {
    release();
  }
}

/** The whole of `bytes`: one `write` may take less than it is given. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, Math.min(chunk, bytes.length - at))).bytesWritten;
  }
}

/** Files to remove when the process ends early. */
const temporaries = new Set<string>();
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function removeTemporaries(): void {
  for (const path of temporaries) rmSync(path, { force: true });
}

/** Whoever else listens decides how to end; alone, we end as if nobody had listened. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  removeTemporaries();
  listen('off');
  process.kill(process.pid, signal);
}

function listen(how: 'on' | 'off'): void {
  process[how]('exit', removeTemporaries);
  for (const signal of signals) process[how](signal, onSignal);
}

/** Removes `path` when the process ends early; the returned function calls that off. */
function removeOnExit(path: string): () => void {
  if (temporaries.size === 0) listen('on');
  temporaries.add(path);
  return () => {
    temporaries.delete(path);
    if (temporaries.size === 0) listen('off');
  };
}
