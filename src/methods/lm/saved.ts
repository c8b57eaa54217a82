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
import type { TextTask } from './score.ts';

/** What `adapter_config.json` of a language run says for Attune. */
interface SavedConfig {
  readonly method: string;
  readonly options: JsonObject;
  readonly task: TextTask;
  readonly base_model_name_or_path: string;
  readonly base_model_sha256: string;
}

/** Writes the adapter into a run folder; `about` is kept beside it. */
export async function saveLanguageAdapter(
  dir: string,
  model: LanguageModel,
  { method, options, task, tensors }: LanguageAdapter,
  about: JsonObject = {},
): Promise<void> {
  const config = {
    attune: version,
    ...{ method, options, task: { ...task } as unknown as JsonObject },
    base_model_name_or_path: model.spec,
    base_model_sha256: await weightsDigest(model),
    ...about,
  };
  await saveAdapter(dir, { config, tensors });
}

/** The adapter of a run folder for a model that is there already. Throws where it was trained on other weights, or for other classes. */
export async function loadLanguageAdapter(
  dir: string,
  model: LanguageModel,
  wanted?: TextTask,
): Promise<LanguageAdapter> {
  const files = await loadAdapter(dir);
  const { method, options, task, base_model_sha256: digest } = files.config as unknown as SavedConfig;
  if (typeof method !== 'string' || !task) {
    throw new Error(`${dir}: adapter_config.json is not of a language model that \`attune tune\` adapted`);
  }
  if ((await weightsDigest(model)) !== digest) {
    throw new Error(
      `${dir} was trained on other weights than ${model.spec} has (SHA-256 ${String(digest).slice(0, 12)}… expected); ` +
        'give the base model of the training with --model',
    );
  }
  if (wanted && String(wanted.classes) !== String(task.classes)) {
    throw new Error(`${dir} was trained on the classes ${task.classes}, here are ${wanted.classes}`);
  }
  return { method, options, task, tensors: files.tensors };
}

export interface SavedLanguageRun {
  readonly model: LanguageModel;
  readonly adapter: LanguageAdapter;
}

/** Whether a run folder holds an adapter of a language model. */
export const isLanguageRun = async (dir: string): Promise<boolean> =>
  (await readJson(join(dir, 'adapter_config.json')))?.task !== undefined;

/**
 * Opens a run folder: its adapter and the base model that it was trained on (`model` says where that lies now, if it was moved).
 * Throws where the weights are not those of the training.
 */
export async function openLanguageRun(
  dir: string,
  { model: moved, ...options }: LoadOptions & { model?: string } = {},
): Promise<SavedLanguageRun> {
  const base = (await loadAdapter(dir)).config.base_model_name_or_path;
  if (typeof base !== 'string') throw new Error(`${dir}: adapter_config.json names no base model`);
  const model = await loadLanguageModel(moved ?? base, options).catch((error: Error) => {
    const hint = moved === undefined ? '; say where the base model is with --model' : '';
    throw new Error(`${dir}: its base model cannot be loaded: ${error.message}${hint}`, { cause: error });
  });
  return { model, adapter: await loadLanguageAdapter(dir, model) };
}
