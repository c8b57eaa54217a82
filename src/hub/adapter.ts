import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostTensor } from '../graph/host.ts';
import { didYouMean } from '../graph/nearest.ts';
import { writeAtomic } from './atomic.ts';
import { checkJson, type JsonObject, readJson } from './json.ts';
import { readSafetensors, writeSafetensors } from './safetensors.ts';

/** What a method trained, in the two files that Python's `peft` uses too. */
export interface AdapterFiles {
  /** Plain JSON: which method, which base model, which options. */
  readonly config: JsonObject;
  readonly tensors: Record<string, HostTensor>;
}

const configFile = 'adapter_config.json';
const tensorFile = 'adapter_model.safetensors';

/** Writes adapter_config.json and adapter_model.safetensors, each whole or not at all. */
export async function saveAdapter(dir: string, { config, tensors }: AdapterFiles): Promise<void> {
  checkJson(config, configFile);
  await writeSafetensors(join(dir, tensorFile), tensors, { format: 'pt' });
  await writeAtomic(join(dir, configFile), [`${JSON.stringify(config, null, 2)}\n`]);
}

/** Reads an adapter whole; a missing or damaged file is an error that names it. */
export async function loadAdapter(dir: string): Promise<AdapterFiles> {
  if (!(await stat(dir).catch(() => undefined))?.isDirectory()) throw new Error(`${dir}: no such folder`);
  const config = await readJson(join(dir, configFile));
  if (!config) throw new Error(`${dir}: no adapter here, ${configFile} is missing`);
  const source = await readSafetensors(join(dir, tensorFile));
  const tensors: Record<string, HostTensor> = {};
  for (const name of source.names()) tensors[name] = await source.get(name)!.load();
  return { config, tensors };
}

export interface KeyMatch {
  readonly missing: readonly string[];
  readonly unknown: readonly string[];
  /** One line a key with its near misses; empty when every key is where it should be. */
  readonly message: string;
}

/** Compares the names that a model expects with those that a file holds. */
export function matchKeys(expected: Iterable<string>, got: Iterable<string>): KeyMatch {
  const [wanted, held] = [new Set(expected), new Set(got)];
  const missing = [...wanted].filter((name) => !held.has(name));
  const unknown = [...held].filter((name) => !wanted.has(name));
  const message = [...lines('missing', missing, unknown), ...lines('unknown', unknown, missing)].join('\n');
  return { missing, unknown, message };
}

function lines(what: string, names: readonly string[], others: readonly string[], limit = 8): string[] {
  const shown = names.slice(0, limit).map((name) => `${what} "${name}"${didYouMean(name, others)}`);
  return names.length > limit ? [...shown, `${names.length - limit} more ${what}`] : shown;
}
