import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { constant, type HostTensor, type Tensor } from '../../graph/index.ts';
import {
  type JsonObject,
  type LanguageModel,
  readJson,
  writeAtomic,
  writeSafetensors,
} from '../../hub/index.ts';
import { mapTree, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { injectionOf, type LanguageAdapter } from './adapter.ts';
import { readWhole } from './families.ts';
import { injectScope } from './injection.ts';
import { findLanguageMethod } from './list.ts';
import { endsOf } from './texts.ts';

/** The change of an adapter as interceptors of weights alone, and what of it cannot be one. */
async function mergeOf(model: LanguageModel, adapter: LanguageAdapter) {
  const method = findLanguageMethod(adapter.method);
  const { soft, prefix, text, intercept } = await injectionOf(model, adapter);
  const options = method.options.parse(adapter.options);
  const merged = method.merged?.({ model, task: adapter.task }, options) ?? intercept;
  const rest = [
    soft && 'soft tokens',
    prefix && 'a prefix',
    text && 'an offset of embeddings',
    merged?.tap && 'changes of activations',
  ].find(Boolean);
  return { merged, rest: rest || undefined };
}

/** What of an adapter has no place in the weights, in words. */
export const notFoldable = async (
  model: LanguageModel,
  adapter: LanguageAdapter,
): Promise<string | undefined> => (await mergeOf(model, adapter)).rest;

/**
 * The weights that an adapter changes, by name, with the adapter in them, and those that it adds (a head): with these the plain model says what
 * the model with the adapter says.
 * @throws where the method cannot be folded into weights: prompts, prefixes, networks beside the layers.
 */
export async function foldWeights(model: LanguageModel, adapter: LanguageAdapter): Promise<Values> {
  const { merged, rest } = await mergeOf(model, adapter);
  if (rest)
    throw new Error(
      `${adapter.method}: ${rest} cannot be folded into weights; save the adapter, or export it as ONNX`,
    );
  const values = mapTree(adapter.tensors, (value): Tensor => constant(value));
  const { weights } = readWhole(model);
  const { result } = trace(
    model.weights,
    (s) => {
      const adapted = injectScope(s, merged ? { intercept: merged } : {}, values);
      const changed: Record<string, Tensor> = {};
      for (const name of weights) {
        const { shape } = model.weights.get(name)!;
        const own = adapted.weight(name, shape);
        // A tensor must be computed to be an output.
        if (own !== s.weight(name, shape)) changed[name] = own.mul(1);
      }
      return changed;
    },
    { partial: true },
  );
  const made: Values = Object.keys(result).length ? await runOnce(result, {}) : {};
  const heads = Object.entries(adapter.tensors).filter(
    ([name]) => !weights.has(name) && /^(classifier|.*\.pooler)\./.test(name),
  );
  return { ...made, ...Object.fromEntries(heads) };
}

/** Files of a model's folder that say nothing of its weights. */
const copied =
  /^(tokenizer.*|special_tokens_map|vocab|merges|added_tokens|generation_config|spiece)\.(json|txt|model)$/;

/** Writes the model with the adapter in its weights, in the layout of Hugging Face: `transformers` and Attune load it as any other. */
export async function saveFolded(dir: string, model: LanguageModel, adapter: LanguageAdapter): Promise<void> {
  const folded = await foldWeights(model, adapter);
  await mkdir(dir, { recursive: true });
  const tensors: Record<string, HostTensor> = {};
  for (const name of model.weights.names()) {
    const head = Object.keys(folded).find((own) => own === name);
    tensors[name] = head ? folded[head]! : await model.weights.get(name)!.load();
  }
  await writeSafetensors(join(dir, 'model.safetensors'), { ...tensors, ...folded }, { format: 'pt' });
  await saveDescription(dir, model, adapter);
}

/** Writes what a folder in the layout of Hugging Face says beside its weights: config.json, with the head of the adapter, and the tokenizer. */
export async function saveDescription(
  dir: string,
  model: LanguageModel,
  adapter: LanguageAdapter,
): Promise<void> {
  const config = (await readJson(join(model.folder, 'config.json'))) as JsonObject;
  const { classes, kind } = adapter.task;
  const labels = kind === 'regression' ? ['score'] : classes;
  const head: Record<LanguageModel['kind'], JsonObject> = {
    encoder: {
      architectures: [`${model.modelType === 'bert' ? 'Bert' : 'Roberta'}ForSequenceClassification`],
      id2label: Object.fromEntries(labels.map((label, i) => [String(i), label])),
      label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
      problem_type: kind === 'regression' ? 'regression' : 'single_label_classification',
    },
    // transformers.js does not know it by the type of the model.
    seq2seq: { is_encoder_decoder: true },
    causal: {},
  };
  await writeAtomic(join(dir, 'config.json'), [
    `${JSON.stringify({ ...config, ...head[model.kind] }, null, 2)}\n`,
  ]);
  if (model.kind !== 'encoder') {
    const start = model.kind === 'seq2seq' ? { decoder_start_token_id: model.model.startId } : {};
    const generation = { ...start, eos_token_id: [...endsOf(model)] };
    await writeAtomic(join(dir, 'generation_config.json'), [`${JSON.stringify(generation, null, 2)}\n`]);
  }
  for (const file of await readdir(model.folder)) {
    if (copied.test(file)) await copyFile(join(model.folder, file), join(dir, file));
  }
}
