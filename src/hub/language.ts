import { basename, join } from 'node:path';
import { constant, f32, i64, type WeightSource } from '../graph/index.ts';
import { bert, parseBertConfig, robertaTypes } from '../models/bert/index.ts';
import { gpt2, parseGpt2Config } from '../models/gpt2/index.ts';
import type { CausalModel, EncoderModel, Seq2SeqModel } from '../models/language/index.ts';
import { llama, llamaTypes, parseLlamaConfig } from '../models/llama/index.ts';
import { parseT5Config, t5, t5Types } from '../models/t5/index.ts';
import { type Scope, trace } from '../nn/index.ts';
import { checkWeights, type LoadOptions } from './check.ts';
import { resolveFolder } from './hub.ts';
import { type JsonObject, readJson } from './json.ts';
import { readSafetensors } from './safetensors.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

/** The functions of a language model; `kind` says which. */
export type LanguageFunctions =
  | { readonly kind: 'causal'; readonly model: CausalModel }
  | { readonly kind: 'encoder'; readonly model: EncoderModel }
  | { readonly kind: 'seq2seq'; readonly model: Seq2SeqModel };

/** A language model and its weights, by the names of `transformers`' class with the head. */
export type LanguageWeights = LanguageFunctions & {
  readonly folder: string;
  readonly modelType: string;
  readonly weights: WeightSource;
  /** Ids that end a text, by generation_config.json, else config.json; empty where they name none. */
  readonly eosIds: readonly number[];
  /** The functions whose weights the file holds, of those that it need not: `maskedLogits`, `pool`, `classify`. */
  readonly heads: ReadonlySet<string>;
};
export type LanguageModel = LanguageWeights & {
  /** What the user called it: `zoo:words-gpt`, a folder, `owner/name`. */
  readonly spec: string;
  readonly tokenizer: Tokenizer;
};

interface Family {
  make(json: JsonObject, stored: ReadonlySet<string>): LanguageFunctions;
  /** Where the names of the bare model lie in those of the class with the head; absent where both have the same. */
  readonly base?: string;
  /** Names of copies, by what they are copies of: one of them may be stored in its place. */
  readonly copies?: Readonly<Record<string, readonly string[]>>;
  /** Names that are stored though they are no weights, are copies of others, or belong to heads that nobody reads. */
  readonly ignored: RegExp;
}

const llamaFamily: Family = {
  make: (json) => ({ kind: 'causal', model: llama(parseLlamaConfig(json)) }),
  base: 'model',
  ignored: /(^|\.)rotary_emb\.inv_freq$|^lm_head\.weight$/,
};
const bertFamily = (base: string): Family => ({
  make: (json) => ({ kind: 'encoder', model: bert(parseBertConfig(json)) }),
  base,
  ignored: /(^|\.)(position_ids|decoder\.(weight|bias))$|(^|\.)pooler\.dense\.|^cls\.seq_relationship\./,
});
const t5Family: Family = {
  make: (json, stored) => ({ kind: 'seq2seq', model: t5(parseT5Config(json, stored.has('lm_head.weight'))) }),
  copies: { 'shared.weight': ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'] },
  // The second was never computed with: old files have it all the same.
  ignored:
    /^(en|de)coder\.embed_tokens\.weight$|^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$/,
};
const families: Record<string, Family> = {
  ...Object.fromEntries(llamaTypes.map((type) => [type, llamaFamily])),
  bert: bertFamily('bert'),
  ...Object.fromEntries(robertaTypes.map((type) => [type, bertFamily('roberta')])),
  ...Object.fromEntries(t5Types.map((type) => [type, t5Family])),
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
  const source = await readSafetensors(folder);
  const functions = family.make(json, new Set(source.names()));
  const { body, heads } = languageParts(functions);
  const wanted = trace('scratch', (s) => [body, ...Object.values(heads)].forEach((read) => void read(s)));
  const weights = renamed(source, wanted.weights, family);
  const held = new Set(weights.names());
  const there = Object.entries(heads).filter(([, read]) =>
    [...trace('scratch', read).weights].every((name) => held.has(name)),
  );
  const read = trace('scratch', (s) =>
    [body, ...there.map(([, head]) => head)].forEach((part) => void part(s)),
  );
  checkWeights(weights, read, family.ignored, options.onUnusedWeights);
  const generation = await readJson(join(folder, 'generation_config.json'));
  const eosIds = [generation?.eos_token_id ?? json.eos_token_id ?? []].flat() as number[];
  return { ...functions, folder, modelType, weights, eosIds, heads: new Set(there.map(([name]) => name)) };
}

type Part = (s: Scope) => unknown;

/** What reads every weight and passes every tap once: the body, and each head that a file may lack. */
export function languageParts({ kind, model }: LanguageFunctions): {
  body: Part;
  heads: Record<string, Part>;
} {
  const tokens = constant(i64([0], [1, 1]));
  if (kind === 'causal') {
    return { body: (s) => model.logits(s, model.decode(s, { tokens }).last), heads: {} };
  }
  if (kind === 'seq2seq') {
    const body: Part = (s) => {
      const memory = model.memory(s, model.encode(s, { tokens }).last);
      return model.logits(s, model.decode(s, { tokens }, memory).last);
    };
    return { body, heads: {} };
  }
  const last = constant(f32(new Float32Array(model.width), [1, 1, model.width]));
  return {
    body: (s) => model.encode(s, { tokens }),
    heads: {
      maskedLogits: (s) => model.maskedLogits(s, last),
      pool: (s) => model.pool(s, last),
      classify: (s) => model.classify(s, last.slice(1, 0, 1).reshape([1, model.width])),
    },
  };
}

/**
 * A file by the names that the model reads: checkpoints of the bare model leave out the name of its place, and those
 * made from TensorFlow call the weights of a LayerNorm gamma and beta.
 */
function renamed(
  source: WeightSource,
  wanted: ReadonlySet<string>,
  { base, copies = {} }: Family,
): WeightSource {
  const held = new Set(source.names());
  const original = new Map(
    Object.entries(copies).flatMap(([name, others]) => {
      const copy = held.has(name) ? undefined : others.find((other) => held.has(other));
      return copy ? [[copy, name]] : [];
    }),
  );
  const names = new Map(
    source.names().map((stored) => {
      const name = (original.get(stored) ?? stored)
        .replace(/LayerNorm\.gamma$/, 'LayerNorm.weight')
        .replace(/LayerNorm\.beta$/, 'LayerNorm.bias');
      const inside = `${base}.${name}`;
      return [base && !wanted.has(name) && wanted.has(inside) ? inside : name, stored];
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
