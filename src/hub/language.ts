import { basename, join } from 'node:path';
import { constant, i64, type WeightSource } from '../graph/index.ts';
import { gpt2, parseGpt2Config } from '../models/gpt2/index.ts';
import type { CausalModel } from '../models/language/index.ts';
import { llama, llamaTypes, parseLlamaConfig } from '../models/llama/index.ts';
import { type Scope, trace } from '../nn/index.ts';
import { checkWeights, type LoadOptions } from './check.ts';
import { resolveFolder } from './hub.ts';
import { type JsonObject, readJson } from './json.ts';
import { readSafetensors } from './safetensors.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

/** The functions of a language model; `kind` says which. */
export type LanguageFunctions = { readonly kind: 'causal'; readonly model: CausalModel };

/** A language model and its weights, by the names of `transformers`' class with the head. */
export type LanguageWeights = LanguageFunctions & {
  readonly folder: string;
  readonly modelType: string;
  readonly weights: WeightSource;
};
export type LanguageModel = LanguageWeights & {
  /** What the user called it: `zoo:words-gpt`, a folder, `owner/name`. */
  readonly spec: string;
  readonly tokenizer: Tokenizer;
};

interface Family {
  make(json: JsonObject): LanguageFunctions;
  /** Where the names of the bare model lie in those of the class with the head. */
  readonly base: string;
  /** Names that are stored though they are no weights, or copies of others. */
  readonly ignored: RegExp;
}

const llamaFamily: Family = {
  make: (json) => ({ kind: 'causal', model: llama(parseLlamaConfig(json)) }),
  base: 'model',
  ignored: /(^|\.)rotary_emb\.inv_freq$|^lm_head\.weight$/,
};
const families: Record<string, Family> = {
  ...Object.fromEntries(llamaTypes.map((type) => [type, llamaFamily])),
  gpt2: {
    make: (json) => ({ kind: 'causal', model: gpt2(parseGpt2Config(json)) }),
    base: 'transformer',
    ignored: /(^|\.)attn\.(masked_)?bias$|^lm_head\.weight$/,
  },
};

/**
 * Loads a language model from `zoo:NAME`, a folder in the layout of Hugging Face, or the Hub. Only headers of the weights
 * are read. Throws when weights, config.json and tokenizer do not belong together.
 */
export async function loadLanguageModel(spec: string, options: LoadOptions = {}): Promise<LanguageModel> {
  const folder = await resolveFolder(spec, options);
  const loaded = await readLanguageModel(folder, options);
  const tokenizer = await loadTokenizer(folder);
  const { vocabulary } = loaded.model;
  if (tokenizer.vocabSize > vocabulary) {
    throw new Error(
      `${basename(folder)}: the tokenizer has ${tokenizer.vocabSize} tokens, the model only ${vocabulary}`,
    );
  }
  return { ...loaded, spec, tokenizer };
}

/** The model of a folder without its tokenizer. */
export async function readLanguageModel(
  folder: string,
  options: Pick<LoadOptions, 'onUnusedWeights'> = {},
): Promise<LanguageWeights> {
  const json = await readJson(join(folder, 'config.json'));
  if (!json) throw new Error(`${folder} has no config.json`);
  const modelType = String(json.model_type);
  const family = Object.hasOwn(families, modelType) ? families[modelType]! : undefined;
  if (!family) {
    const known = Object.keys(families).join(', ');
    throw new Error(`${folder}: config.json describes a "${modelType}" model; language models are ${known}`);
  }
  const functions = family.make(json);
  const read = trace('scratch', (s) => readAll(s, functions));
  const weights = renamed(await readSafetensors(folder), read.weights, family.base);
  checkWeights(weights, read, family.ignored, options.onUnusedWeights);
  return { ...functions, folder, modelType, weights };
}

/** Reads every weight once. */
function readAll(s: Scope, { model }: LanguageFunctions): void {
  model.logits(s, model.decode(s, { tokens: constant(i64([0], [1, 1])) }).last);
}

/**
 * A file by the names that the model reads: checkpoints of the bare model leave out the name of its place, and those
 * made from TensorFlow call the weights of a LayerNorm gamma and beta.
 */
function renamed(source: WeightSource, wanted: ReadonlySet<string>, base: string): WeightSource {
  const names = new Map(
    source.names().map((stored) => {
      const name = stored
        .replace(/LayerNorm\.gamma$/, 'LayerNorm.weight')
        .replace(/LayerNorm\.beta$/, 'LayerNorm.bias');
      const inside = `${base}.${name}`;
      return [!wanted.has(name) && wanted.has(inside) ? inside : name, stored];
    }),
  );
  return {
    label: source.label,
    names: () => [...names.keys()],
    get(name) {
      const stored = names.get(name);
      const weight = stored === undefined ? undefined : source.get(stored);
      return weight && { ...weight, name };
    },
  };
}
