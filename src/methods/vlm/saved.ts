import { basename } from 'node:path';
import { type ClipModel, type ClipOptions, type JsonObject, loadAdapter, loadClip } from '../../hub/index.ts';
import { findMethod } from '../list.ts';
import { weightsDigest } from '../weights-digest.ts';
import type { Adapter } from './task.ts';

/** What `adapter_config.json` says about a tuned classifier. */
export interface SavedConfig {
  readonly method: string;
  readonly options: JsonObject;
  readonly base_model_name_or_path: string;
  readonly base_model_sha256: string;
  readonly classes: readonly string[];
  readonly template: string;
  readonly data: string;
  readonly shots: number;
  readonly seed: number;
}

export interface SavedRun {
  readonly config: SavedConfig;
  readonly model: ClipModel;
  readonly adapter: Adapter;
}

/**
 * Opens a run folder: its adapter, and the base model that it was trained on (`model` says where that lies now, if
 * it was moved). Throws where the weights are not those of the training.
 */
export async function openRun(
  dir: string,
  { model: moved, ...options }: ClipOptions & { model?: string } = {},
): Promise<SavedRun> {
  const files = await loadAdapter(dir);
  const config = files.config as unknown as SavedConfig;
  const { method: name, base_model_name_or_path: base, classes } = config;
  if (typeof name !== 'string' || typeof base !== 'string' || !Array.isArray(classes)) {
    throw new Error(`${dir}: adapter_config.json was not written by \`attune tune\``);
  }
  const method = findMethod(name);
  const model = await loadClip(moved ?? base, options).catch((error: Error) => {
    const hint = moved === undefined ? `; say where the base model is with --model` : '';
    throw new Error(`${dir}: its base model cannot be loaded: ${error.message}${hint}`, { cause: error });
  });
  if ((await weightsDigest(model)) !== config.base_model_sha256) {
    throw new Error(
      `${dir} was trained on other weights than ${moved ?? base} has now (${basename(model.weights.label)}, ` +
        `SHA-256 ${config.base_model_sha256.slice(0, 12)}… expected); give the base model of the training with --model`,
    );
  }
  const adapter = method.restore({ options: method.options.parse(config.options), tensors: files.tensors });
  return { config, model, adapter };
}
