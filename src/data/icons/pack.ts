/** One file that holds many small pictures: a JSON index, then each picture's pixels deflated on their own. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Pixels } from '../dataset.ts';

export interface Packed<Meta> {
  readonly meta: Meta;
  /** Pixels of picture `i`. */
  pixels(i: number): Pixels;
}

interface Index<Meta> {
  meta: Meta;
  size: number;
  /** Deflated lengths. */
  lengths: number[];
}

/**
 * Where data that can be made again is kept: `$ATTUNE_CACHE`, else `$XDG_CACHE_HOME/attune`, else `~/.cache/attune`.
 */
export function cacheFolder(): string {
  const { ATTUNE_CACHE, XDG_CACHE_HOME } = process.env;
  return ATTUNE_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'attune');
}

export const deflate = (pixels: Pixels): Buffer => deflateRawSync(pixels.data, { level: 3 });

/** Writes beside the target first, so that a reader never sees half a file. */
export async function writePack<Meta>(file: string, meta: Meta, size: number, blobs: readonly Buffer[]) {
  const index: Index<Meta> = { meta, size, lengths: blobs.map((b) => b.length) };
  const header = Buffer.from(JSON.stringify(index));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  const part = `${file}.${randomBytes(6).toString('hex')}.part`;
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(part, Buffer.concat([length, header, ...blobs]));
    await rename(part, file);
  } catch (cause) {
    await rm(part, { force: true }).catch(() => {});
    throw new Error(
      `cannot write the icon cache ${file}: ${(cause as Error).message} (set ATTUNE_CACHE to another folder)`,
      { cause },
    );
  }
}

/** The pack in `file`; undefined where it is missing or damaged, so that it is made anew. */
export async function readPack<Meta>(file: string): Promise<Packed<Meta> | undefined> {
  const bytes = await readFile(file).catch(() => undefined);
  if (!bytes) return undefined;
  try {
    const start = 4 + bytes.readUInt32LE(0);
    const index = JSON.parse(bytes.toString('utf8', 4, start)) as Index<Meta>;
    const offsets = [start];
    for (const length of index.lengths) offsets.push(offsets.at(-1)! + length);
    if (offsets.at(-1) !== bytes.length) return undefined;
    return {
      meta: index.meta,
      pixels: (i) => ({
        data: inflateRawSync(bytes.subarray(offsets[i], offsets[i + 1])),
        width: index.size,
        height: index.size,
      }),
    };
  } catch {
    return undefined;
  }
}
