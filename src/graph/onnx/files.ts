import type { External } from './decode.ts';

/** Bytes of a model and how to reach what lies beside it, by path (Node) or by address (browsers). */
export async function openModel(path: string): Promise<{ bytes: Uint8Array; external: External }> {
  const isNode = typeof process === 'object' && process.versions?.node !== undefined;
  return isNode && !/^https?:/.test(path) ? fromDisk(path) : fromWeb(path);
}

async function fromDisk(model: string): Promise<{ bytes: Uint8Array; external: External }> {
  // Bundlers for the browser leave these as they are; nothing there gets here.
  const { open, readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ 'node:fs/promises');
  const { basename, dirname, join, resolve } = await import(
    /* webpackIgnore: true */ /* @vite-ignore */ 'node:path'
  );
  const file = resolve(model);
  const bytes: Uint8Array = await readFile(file);
  const path = (location: string): string => join(dirname(file), location);
  const read = async (location: string, offset: number, length: number): Promise<Uint8Array> => {
    const handle = await open(path(location));
    try {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(length), 0, length, offset);
      if (bytesRead !== length) {
        throw new Error(`importOnnx: ${path(location)} ends before byte ${offset + length}`);
      }
      return buffer;
    } finally {
      await handle.close();
    }
  };
  return { bytes, external: { read, path, own: { location: basename(file), bytes } } };
}

async function fromWeb(address: string): Promise<{ bytes: Uint8Array; external: External }> {
  const get = async (url: string | URL, headers: Record<string, string> = {}): Promise<Uint8Array> => {
    const response = await fetch(url, { headers });
    if (!response.ok) throw new Error(`importOnnx: ${url} answers ${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer());
  };
  const base = new URL(address, (globalThis as { location?: { href: string } }).location?.href);
  const read = async (location: string, offset: number, length: number) => {
    const bytes = await get(new URL(location, base), { Range: `bytes=${offset}-${offset + length - 1}` });
    // A server that knows no ranges sends all.
    return bytes.length === length ? bytes : bytes.subarray(offset, offset + length);
  };
  return { bytes: await get(base), external: { read } };
}
