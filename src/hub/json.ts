import { readFile } from 'node:fs/promises';

export type JsonObject = Record<string, unknown>;

/** The file's JSON object, or undefined where there is no such file. Other troubles are errors that name it. */
export async function readJson(path: string): Promise<JsonObject | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${path}: cannot be read (${(error as Error).message})`);
  }
  return parseJson(text, path);
}

export function parseJson(text: string, label: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${label}: not valid JSON (${(error as Error).message})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`${label}: must hold a JSON object`);
  }
  return value as JsonObject;
}

/** The first key that an object of this (valid) JSON text has twice; `JSON.parse` would keep the last silently. */
export function duplicateKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, string, colon] of text.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (colon) {
      const key = JSON.parse(string!) as string;
      if (open.at(-1)!.has(key)) return key;
      open.at(-1)!.add(key);
    }
  }
  return undefined;
}

/** Throws, naming the place, where JSON would lose something of `value`; undefined properties are left out. */
export function checkJson(value: unknown, label: string, path: string[] = [], around: unknown[] = []): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value))
    return;
  const fail = (what: string) => new Error(`${label}: ${path.join('.') || 'the value'} ${what}`);
  if (around.includes(value)) throw fail('contains itself');
  const plain = [Object.prototype, Array.prototype].includes(Object.getPrototypeOf(value ?? 0));
  if (!plain) throw fail(`is ${value instanceof Object ? value.constructor?.name : String(value)}, not JSON`);
  for (const [key, inner] of Object.entries(value as object)) {
    if (inner === undefined && !Array.isArray(value)) continue;
    checkJson(inner, label, [...path, key], [...around, value]);
  }
}
