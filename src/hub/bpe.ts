import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { writeAtomic } from './atomic.ts';
import { type BpeVocabulary, clipSpecialTokens, clipTokenizerJson, endOfWord } from './clip-tokenizer.ts';

/** How byte-level tokenizers write the 256 bytes as printable characters, in OpenAI's order. */
export function byteAlphabet(): string[] {
  const printable = (b: number) => (b > 32 && b < 127) || (b > 160 && b !== 173 && b < 256);
  const bytes = Array.from({ length: 256 }, (_, b) => b);
  const hidden = bytes.filter((b) => !printable(b));
  return [...bytes.filter(printable), ...hidden.map((_, i) => 256 + i)].map((code) =>
    String.fromCharCode(code),
  );
}

/** A word as symbol ids, and how often it occurs. */
interface Word {
  symbols: number[];
  readonly count: number;
}

/**
 * Trains a CLIP-style byte-pair vocabulary: 256 bytes, the same at the end of a word, merges, the two special
 * tokens. Deterministic; smaller than `vocabSize` where no pair occurs `minFrequency` (2) times any more.
 */
export function trainBpe(
  texts: Iterable<string>,
  { vocabSize, minFrequency = 2 }: { vocabSize: number; minFrequency?: number },
): BpeVocabulary {
  const bytes = byteAlphabet();
  const tokens = [...bytes, ...bytes.map((byte) => byte + endOfWord)];
  const { bos, eos } = clipSpecialTokens;
  const room = vocabSize - tokens.length - 2;
  if (!Number.isInteger(room) || room < 0) {
    throw new Error(
      `vocabSize ${vocabSize}: a byte-level CLIP vocabulary has at least ${tokens.length + 2} tokens`,
    );
  }
  const { normalizer, pre_tokenizer } = new Tokenizer(clipTokenizerJson({ vocab: {}, merges: [] }), {});
  const words = countWords(texts, (text) => pre_tokenizer!.pre_tokenize(normalizer!.normalize(text)));
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const symbolsOf = (word: string) =>
    Array.from(word, (char, i) => ids.get(i === word.length - 1 ? char + endOfWord : char)!);
  const merges = merge(
    [...words].map(([word, count]) => ({ symbols: symbolsOf(word), count })),
    tokens,
    room,
    minFrequency,
  );
  return { vocab: Object.fromEntries([...tokens, bos, eos].map((token, id) => [token, id])), merges };
}

/** The pairs to merge, at most `room`, each of which occurs `minFrequency` times; `tokens` grows by what they make. */
export function merge(
  words: readonly Word[],
  tokens: string[],
  room: number,
  minFrequency: number,
): [string, string][] {
  const pairs = new Map<number, { count: number; words: Set<Word> }>();
  const add = (word: Word, sign: 1 | -1) => {
    for (let i = 1; i < word.symbols.length; i++) {
      const key = pairKey(word.symbols[i - 1]!, word.symbols[i]!);
      const pair = pairs.get(key) ?? { count: 0, words: new Set() };
      pair.count += sign * word.count;
      pair.words.add(word);
      if (pair.count > 0) pairs.set(key, pair);
      else pairs.delete(key);
    }
  };
  for (const word of words) add(word, 1);

  const merges: [string, string][] = [];
  while (merges.length < room) {
    let best = -1;
    let count = minFrequency - 1;
    for (const [key, pair] of pairs) {
      if (pair.count > count || (pair.count === count && key < best)) [best, count] = [key, pair.count];
    }
    if (best < 0) break;
    const [left, right] = [Math.floor(best / pairBase), best % pairBase];
    const merged = tokens.push(tokens[left]! + tokens[right]!) - 1;
    merges.push([tokens[left]!, tokens[right]!]);
    for (const word of pairs.get(best)!.words) {
      add(word, -1);
      word.symbols = mergePair(word.symbols, left, right, merged);
      add(word, 1);
    }
  }
  return merges;
}

const pairBase = 2 ** 24;
const pairKey = (left: number, right: number) => left * pairBase + right;

function mergePair(symbols: number[], left: number, right: number, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    const hit = symbols[i] === left && symbols[i + 1] === right;
    out.push(hit ? merged : symbols[i]!);
    if (hit) i++;
  }
  return out;
}

/** How often each word occurs. */
export function countWords(texts: Iterable<string>, split: (text: string) => string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const word of split(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

/**
 * Writes tokenizer.json, vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json, which
 * transformers loads as `CLIPTokenizer` and which encode the same there. `maxLength` is the model's context.
 */
export async function writeClipTokenizer(
  folder: string,
  vocabulary: BpeVocabulary,
  { maxLength = 77 }: { maxLength?: number } = {},
): Promise<void> {
  const { bos, eos, unk, pad } = clipSpecialTokens;
  const special = { bos_token: bos, eos_token: eos, unk_token: unk, pad_token: pad };
  const config = { ...special, model_max_length: maxLength, tokenizer_class: 'CLIPTokenizer' };
  const lines = vocabulary.merges.map((pair) => `${pair.join(' ')}\n`);
  const files: Record<string, string> = {
    'tokenizer.json': JSON.stringify(clipTokenizerJson(vocabulary)),
    'vocab.json': JSON.stringify(vocabulary.vocab),
    'merges.txt': `#version: 0.2\n${lines.join('')}`,
    'tokenizer_config.json': `${JSON.stringify(config, null, 2)}\n`,
    'special_tokens_map.json': `${JSON.stringify(special, null, 2)}\n`,
  };
  for (const [name, text] of Object.entries(files)) await writeAtomic(join(folder, name), [text]);
}
