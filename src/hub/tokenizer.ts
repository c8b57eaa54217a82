import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { type HostTensor, i64 } from '../graph/host.ts';
import {
  type AddedToken,
  type BpeVocabulary,
  clipSpecialTokens,
  clipTokenizerJson,
  endOfWord,
  type SpecialTokens,
} from './clip-tokenizer.ts';
import { type JsonObject, readJson } from './json.ts';

export interface TokenBatch {
  /** int64 [texts, length]. */
  readonly ids: HostTensor<'int64'>;
  /** Tokens of each text before the padding, special tokens included. */
  readonly lengths: readonly number[];
}

export interface Tokenizer {
  readonly vocabSize: number;
  /** The model's context as the tokenizer's configuration has it; else 77 for CLIP, infinite for others. */
  readonly maxLength: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  /** All token ids of `text`, between the special tokens; never truncated. */
  encode(text: string): number[];
  /**
   * Truncates each text to `maxLength` (the end token stays last) and pads on the right to `padTo`, by default
   * to the longest of the batch.
   */
  encodeBatch(texts: readonly string[], options?: { maxLength?: number; padTo?: number }): TokenBatch;
  /**
   * The tokens of two texts in one, between and around them the special tokens, and to which of the two each belongs (0 or 1,
   * where the tokenizer tells them apart). What is more than `maxLength` is cut from the end of the longer text.
   */
  encodePair(first: string, second: string, maxLength?: number): { ids: number[]; types: number[] };
  /** Text without the special tokens. */
  decode(ids: Iterable<number | bigint>): string;
  idOf(token: string): number | undefined;
}

/**
 * The tokenizer of a Hugging Face folder. CLIP's is the same as in transformers, also from vocab.json and
 * merges.txt alone; any other is what its tokenizer.json says.
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const read = (name: string) => readJson(join(folder, name));
  const names = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'config.json'];
  const [json, given = {}, special, model] = await Promise.all(names.map(read));
  // As in transformers: the older file counts where the newer list is absent.
  const config = given.added_tokens_decoder ? given : { ...given, ...special };
  const vocabulary = json ? vocabularyOf(json) : await readVocabulary(folder);
  if (vocabulary && isClip(vocabulary, config.tokenizer_class ?? model?.model_type)) {
    return clipTokenizer(vocabulary, clipOptions(config, json), config);
  }
  if (!json) {
    const found = (await readdir(folder).catch(() => [])).join(', ') || 'nothing';
    throw new Error(`${folder}: no tokenizer.json, nor CLIP's vocab.json with merges.txt (found: ${found})`);
  }
  // As in transformers: not by default, and never for byte pairs, whose spaces it would spoil.
  const clean = config.clean_up_tokenization_spaces === true && !vocabulary;
  const engine = new Engine(json, { ...config, clean_up_tokenization_spaces: clean });
  return wrap(engine, namedTokens(config), config, Number.POSITIVE_INFINITY);
}

/** By the name of its class or model; where there is none, by the ends of its words. */
const isClip = ({ vocab }: BpeVocabulary, family: unknown): boolean =>
  family ? /^clip/i.test(String(family)) : Object.keys(vocab).some((token) => token.endsWith(endOfWord));

/** A CLIP tokenizer of a vocabulary in memory, for instance one from `trainBpe`. */
export function clipTokenizer(
  vocabulary: BpeVocabulary,
  options: { special?: SpecialTokens; addedTokens?: readonly AddedToken[] } = {},
  config: JsonObject = {},
): Tokenizer {
  const special = options.special ?? clipSpecialTokens;
  const json = clipTokenizerJson(vocabulary, special, options.addedTokens);
  const engine = new Engine(json, { ...config, clean_up_tokenization_spaces: false });
  // The end of a word becomes a space here: the engine would also trim U+FEFF, which Python does not.
  engine.decoder!.end_of_word_suffix = null;
  keepRaw(engine, json.added_tokens);
  const wrapped = wrap(engine, special, config, 77);
  const decode: Tokenizer['decode'] = (ids) =>
    wrapped.decode(ids).replaceAll(endOfWord, ' ').replace(outerSpace, '');
  return { ...wrapped, decode };
}

/**
 * A token that is looked for in the raw text must not be found in the normalized one (`<|ENDOFTEXT|>`), as the
 * engine does where nothing stands beside it: there, a space that the split drops again keeps it apart.
 */
function keepRaw(engine: Engine, tokens: readonly AddedToken[]): void {
  const normalizer = engine.normalizer!;
  const normalize = (text: string): string => normalizer.normalize(text);
  const contents = (normalized: boolean) =>
    tokens.filter((token) => token.normalized === normalized).map((token) => token.content);
  const raw = new Set(contents(false));
  const found = contents(true).map((content) => normalize(content).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  const between = new RegExp(found.length ? `(${found.join('|')})` : '$^');
  const kept = (text: string) =>
    normalize(text)
      .split(between)
      .map((part) => (raw.has(part) ? `${part} ` : part))
      .join('');
  engine.normalizer = kept as unknown as typeof engine.normalizer;
}

/** What Python's `strip` removes. */
const space = String.raw`[\p{White_Space}\x1c-\x1f]+`;
const outerSpace = new RegExp(`^${space}|${space}$`, 'gu');

function wrap(
  engine: Engine,
  special: Partial<SpecialTokens>,
  config: JsonObject,
  defaultLength: number,
): Tokenizer {
  const id = (token?: string) => (token === undefined ? undefined : engine.token_to_id(token));
  const bare = (text: string): number[] => engine.encode(text, { add_special_tokens: false }).ids;
  const around = surroundings(engine);
  const [bosId, eosId, padId] = [special.bos, special.eos, special.pad].map(id);
  const limit = Number(config.model_max_length);
  const contextLength = limit > 0 && limit < 1e6 ? limit : defaultLength;
  return {
    vocabSize: engine.get_vocab().size,
    maxLength: contextLength,
    bosId,
    eosId,
    padId,
    encode: (text) => engine.encode(text).ids,
    encodeBatch(texts, { maxLength = contextLength, padTo } = {}) {
      const room = Math.min(maxLength, padTo ?? maxLength) - around.before.length - around.after.length;
      if (!(room >= 0)) throw new Error(`maxLength ${maxLength} leaves no room for the special tokens`);
      const rows = texts.map((text) => [...around.before, ...bare(text).slice(0, room), ...around.after]);
      const lengths = rows.map((row) => row.length);
      const width = padTo ?? Math.max(0, ...lengths);
      if (padId === undefined && lengths.some((length) => length < width)) {
        throw new Error('this tokenizer has no padding token: encode texts of one length at a time');
      }
      const flat = rows.flatMap((row) => [...row, ...Array<number>(width - row.length).fill(padId ?? 0)]);
      return { ids: i64(flat, [rows.length, width]), lengths };
    },
    encodePair(first, second, maxLength = contextLength) {
      const options = { text_pair: second, return_token_type_ids: true } as const;
      const { ids, token_type_ids: types } = engine.encode(first, options);
      const lengths = [bare(first).length, bare(second).length] as const;
      const kept: [number, number] = [...lengths];
      for (let over = ids.length - maxLength; over > 0; over--) kept[kept[0] > kept[1] ? 0 : 1]--;
      if (kept[1] < 0) throw new Error(`maxLength ${maxLength} leaves no room for the special tokens`);
      const from = around.before.length;
      const second0 = ids.length - around.after.length - lengths[1];
      const cut = (i: number) =>
        (i >= from + kept[0] && i < from + lengths[0]) ||
        (i >= second0 + kept[1] && i < second0 + lengths[1]);
      const rest = [...ids.keys()].filter((i) => !cut(i));
      return { ids: rest.map((i) => ids[i]!), types: rest.map((i) => types[i]!) };
    },
    decode(ids) {
      const list = Array.from(ids, Number);
      return list.length ? engine.decode(list, { skip_special_tokens: true }) : '';
    },
    idOf: id,
  };
}

/** What the post-processor puts before and after a text. */
function surroundings(engine: Engine): { before: number[]; after: number[] } {
  const ids: number[] = engine.encode('a').ids;
  const inner: number[] = engine.encode('a', { add_special_tokens: false }).ids;
  const start = ids.findIndex((_, i) => inner.every((id, k) => ids[i + k] === id));
  return { before: ids.slice(0, start), after: ids.slice(start + inner.length) };
}

/** The byte-pair vocabulary inside a tokenizer.json. */
function vocabularyOf(json: JsonObject): BpeVocabulary | undefined {
  const { vocab, merges } = (json.model ?? {}) as { vocab?: unknown; merges?: (string | [string, string])[] };
  if (!merges) return undefined;
  const pairs = merges.map((pair) => (typeof pair === 'string' ? toPair(pair) : pair));
  return { vocab: vocab as Record<string, number>, merges: pairs };
}

async function readVocabulary(folder: string): Promise<BpeVocabulary | undefined> {
  const vocab = await readJson(join(folder, 'vocab.json'));
  const text = await readFile(join(folder, 'merges.txt'), 'utf8').catch(() => undefined);
  if (!vocab || text === undefined) return undefined;
  const lines = text.split('\n').map((line) => line.trimEnd());
  const merges = lines.filter((line) => line && !line.startsWith('#version')).map(toPair);
  return { vocab: vocab as Record<string, number>, merges };
}

function toPair(line: string): [string, string] {
  const [left, right] = line.split(' ');
  return [left!, right!];
}

type TokenEntry = string | AddedToken | null | undefined;
const kinds = ['bos', 'eos', 'unk', 'pad'] as const;
const textOf = (entry: TokenEntry) => (typeof entry === 'string' ? entry : entry?.content);

function namedTokens(config: JsonObject): Partial<SpecialTokens> {
  const entries = kinds.map((kind) => [kind, textOf(config[`${kind}_token`] as TokenEntry)] as const);
  return Object.fromEntries(entries.filter(([, text]) => text !== undefined));
}

/** Special and added tokens in transformers' order of precedence. */
function clipOptions(config: JsonObject, json: JsonObject | undefined) {
  const byId = config.added_tokens_decoder as Record<string, AddedToken> | undefined;
  const added = byId ? Object.values(byId) : ((json?.added_tokens ?? []) as AddedToken[]);
  const special = { ...clipSpecialTokens, ...namedTokens(config) };
  // A named token that is not listed is added; where two spell the same one, the later overrides.
  const extra = Object.values(config.extra_special_tokens ?? config.additional_special_tokens ?? {});
  const named: TokenEntry[] = kinds.map((kind) => (config[`${kind}_token`] as TokenEntry) ?? special[kind]);
  const tokens = new Map(added.map((token) => [token.content, token]));
  for (const entry of [...named, ...(extra as TokenEntry[])]) {
    const content = textOf(entry)!;
    if (added.some((token) => token.content === content)) continue;
    tokens.set(content, { ...(typeof entry === 'object' ? entry : null), content, special: true });
  }
  return { special, addedTokens: [...tokens.values()] };
}
