import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { writeAtomic } from './atomic.ts';
import { byteAlphabet, countWords, merge } from './bpe.ts';
import type { BpeVocabulary } from './clip-tokenizer.ts';
import type { JsonObject } from './json.ts';

/** Special tokens by what they are for; each is looked for in the raw text and never split. */
export interface ByteBpeSpecial {
  /** The first ids, in this order. */
  readonly first: readonly string[];
  /** The last ids. */
  readonly last?: readonly string[];
  /** What stands around one text, `A` itself, and around two, `A` and `B`. */
  readonly single: readonly string[];
  readonly pair: readonly string[];
  /** Roles in tokenizer_config.json: `pad_token`, `eos_token`, … */
  readonly roles: Readonly<Record<string, string>>;
}

/** Lower case, words with the space before them, bytes: GPT-2's pipeline for text without capitals. */
function pipeline({ vocab, merges }: BpeVocabulary, special: ByteBpeSpecial): JsonObject {
  const idOf = (token: string) => vocab[token]!;
  const all = [...special.first, ...(special.last ?? [])];
  const template = (tokens: readonly string[]) => {
    let type = 0;
    return tokens.map((token) => {
      if (token === 'B') type = 1;
      return token.length === 1
        ? { Sequence: { id: token, type_id: type } }
        : { SpecialToken: { id: token, type_id: type } };
    });
  };
  const around = [...new Set([...special.single, ...special.pair])].filter((token) => token.length > 1);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: all.map((content) => ({
      ...{ id: idOf(content), content, single_word: false, lstrip: false, rstrip: false },
      ...{ normalized: false, special: true },
    })),
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: template(special.single),
      pair: template(special.pair),
      special_tokens: Object.fromEntries(
        around.map((token) => [token, { id: token, ids: [idOf(token)], tokens: [token] }]),
      ),
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      ...{
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: '',
        end_of_word_suffix: '',
      },
      ...{ fuse_unk: false, byte_fallback: false, vocab, merges },
    },
  } as unknown as JsonObject;
}

/**
 * Trains a byte-level BPE vocabulary (Radford et al. 2019) on texts in lower case: first special tokens, 256 bytes, merges, last
 * special tokens. Deterministic; smaller than `vocabSize` where no pair occurs twice any more.
 */
export function trainByteBpe(
  texts: Iterable<string>,
  special: ByteBpeSpecial,
  vocabSize: number,
): BpeVocabulary {
  const tokens = [...special.first, ...byteAlphabet()];
  const last = special.last ?? [];
  const room = vocabSize - tokens.length - last.length;
  if (!Number.isInteger(room) || room < 0) {
    throw new Error(`vocabSize ${vocabSize}: 256 bytes and the special tokens alone are ${vocabSize - room}`);
  }
  const { normalizer, pre_tokenizer } = new Tokenizer(pipeline({ vocab: {}, merges: [] }, special), {});
  const words = countWords(texts, (text) => pre_tokenizer!.pre_tokenize(normalizer!.normalize(text)));
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const symbols = [...words].map(([word, count]) => ({
    symbols: Array.from(word, (c) => ids.get(c)!),
    count,
  }));
  const merges = merge(symbols, tokens, room, 2);
  return { vocab: Object.fromEntries([...tokens, ...last].map((token, id) => [token, id])), merges };
}

/** Writes tokenizer.json and tokenizer_config.json; `transformers` loads them as PreTrainedTokenizerFast. `maxLength`: the model's context. */
export async function writeByteTokenizer(
  folder: string,
  vocabulary: BpeVocabulary,
  special: ByteBpeSpecial,
  maxLength: number,
): Promise<void> {
  const config = {
    ...special.roles,
    model_max_length: maxLength,
    clean_up_tokenization_spaces: false,
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
  await writeAtomic(join(folder, 'tokenizer.json'), [JSON.stringify(pipeline(vocabulary, special))]);
  await writeAtomic(join(folder, 'tokenizer_config.json'), [`${JSON.stringify(config, null, 2)}\n`]);
}
