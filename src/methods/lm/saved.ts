import { join } from 'node:path';
import {
  type JsonObject,
  type LanguageModel,
  type LoadOptions,
  loadAdapter,
  loadLanguageModel,
  readJson,
  saveAdapter,
} from '../../hub/index.ts';
import { version } from '../version.ts';
import { weightsDigest } from '../weights-digest.ts';
import type { LanguageAdapter } from './adapter.ts';
import { fromPeft, toPeft } from './peft.ts';
import { isPeft } from './peft-config.ts';
import type { TextTask } from './score.ts';

/** What stands under `attune` in `adapter_config.json`, beside the keys of `peft` where that knows the kind of adapter. */
interface Own {
  readonly version: string;
  readonly method: string;
  readonly options: JsonObject;
  readonly task: TextTask;
  readonly base_model_sha256: string;
}

/** Writes the adapter into a run folder, so that Python's `peft` reads it where it has such a kind; `about` is kept beside it. */
export async function saveLanguageAdapter(
  dir: string,
  model: LanguageModel,
  adapter: LanguageAdapter,
  about: JsonObject = {},
): Promise<void> {
  const { method, options, task, tensors } = adapter;
  const files = toPeft(model, adapter) ?? { config: { base_model_name_or_path: model.spec }, tensors };
  const own = {
    ...{ version, method, options, task: { ...task } as unknown as JsonObject },
    ...{ base_model_sha256: await weightsDigest(model), ...about },
  };
  await saveAdapter(dir, { config: { ...files.config, attune: own }, tensors: files.tensors });
}

const ownOf = ({ attune }: JsonObject): Own | undefined =>
  typeof attune === 'object' ? (attune as unknown as Own) : undefined;

/** Whether a run folder holds an adapter of a language model, by Attune or by Python's `peft`. */
export async function isLanguageRun(dir: string): Promise<boolean> {
  const config = await readJson(join(dir, 'adapter_config.json'));
  return config !== undefined && (ownOf(config) !== undefined || isPeft(config));
}

export interface AdapterOptions {
  /** What the adapter is to say: another task's is refused, and of a file without one it is taken for granted. */
  readonly task?: TextTask;
  readonly onWarning?: (text: string) => void;
}

/** The adapter of a folder for a model that is there already. Throws where it was trained on other weights, or for other classes. */
export async function loadLanguageAdapter(
  dir: string,
  model: LanguageModel,
  { task: wanted, onWarning }: AdapterOptions = {},
): Promise<LanguageAdapter> {
  const files = await loadAdapter(dir);
  const own = ownOf(files.config);
  if (!own && !isPeft(files.config)) {
    throw new Error(
      `${dir}: adapter_config.json is neither of \`attune tune\` on a language model nor of peft`,
    );
  }
  if (own && (await weightsDigest(model)) !== own.base_model_sha256) {
    throw new Error(
      `${dir} was trained on other weights than ${model.spec} has (SHA-256 ${own.base_model_sha256.slice(0, 12)}… expected); ` +
        'give the base model of the training with --model',
    );
  }
  if (own && wanted && String(wanted.classes) !== String(own.task.classes)) {
    throw new Error(`${dir} was trained on the classes ${own.task.classes}, here are ${wanted.classes}`);
  }
  const task = own?.task ?? wanted;
  const read = isPeft(files.config)
    ? await fromPeft(model, files, dir, { task, ...(onWarning && { onWarning }) })
    : undefined;
  if (!own) return read!;
  return { method: own.method, options: own.options, task: own.task, tensors: (read ?? files).tensors };
}

export interface SavedLanguageRun {
  readonly model: LanguageModel;
  readonly adapter: LanguageAdapter;
}

/**
 * Opens a run folder, or one that Python's `peft` wrote: its adapter and the base model that it was trained on (`model` says where
 * that lies now, if it was moved).
 */
export async function openLanguageRun(
  dir: string,
  {
    model: moved,
    onWarning,
    ...options
  }: LoadOptions & { model?: string } & Pick<AdapterOptions, 'onWarning'> = {},
): Promise<SavedLanguageRun> {
  const base = (await loadAdapter(dir)).config.base_model_name_or_path;
  if (typeof base !== 'string') throw new Error(`${dir}: adapter_config.json names no base model`);
  const model = await loadLanguageModel(moved ?? base, options).catch((error: Error) => {
    const hint = moved === undefined ? '; say where the base model is with --model' : '';
    throw new Error(`${dir}: its base model cannot be loaded: ${error.message}${hint}`, { cause: error });
  });
  return { model, adapter: await loadLanguageAdapter(dir, model, onWarning ? { onWarning } : {}) };
}
