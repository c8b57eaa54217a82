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
