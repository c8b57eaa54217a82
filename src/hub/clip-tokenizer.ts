/** CLIP's tokenizer as a `tokenizer.json` object: the same pipeline as `CLIPTokenizer` of transformers. */

export interface BpeVocabulary {
  /** Token to id, special tokens included. */
  readonly vocab: Readonly<Record<string, number>>;
  /** Pairs in the order in which they are merged. */
  readonly merges: readonly (readonly [string, string])[];
}

export interface AddedToken {
  readonly content: string;
  readonly special?: boolean;
  /** Whether the token is looked for in the normalized text rather than in the raw one. */
  readonly normalized?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly single_word?: boolean;
}

export interface SpecialTokens {
  readonly bos: string;
  readonly eos: string;
  readonly unk: string;
  readonly pad: string;
}

export const clipSpecialTokens: SpecialTokens = {
  bos: '<|startoftext|>',
  eos: '<|endoftext|>',
  unk: '<|endoftext|>',
  pad: '<|endoftext|>',
};

export const endOfWord = '</w>';

const words = String.raw`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`;
const byteLevelWords = String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]+|[^\s\p{L}\p{N}]+`;

const split = (regex: string) => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: 'Removed',
  invert: true,
});

/**
 * The whole pipeline as data. It states two things that the Rust library does by itself and a JavaScript one
 * does otherwise: capital sigma becomes σ even at the end of a word, and the second split of the byte-level step
 * has Unicode's idea of white space (which U+FEFF is not).
 */
export function clipTokenizerJson(
  { vocab, merges }: BpeVocabulary,
  special: SpecialTokens = clipSpecialTokens,
  addedTokens: readonly AddedToken[] = [special.bos, special.eos].map((content) => ({
    content,
    special: true,
  })),
) {
  const ids = new Map(Object.entries(vocab));
  let next = Math.max(-1, ...ids.values()) + 1;
  const added_tokens = addedTokens.map((token) => {
    if (!ids.has(token.content)) ids.set(token.content, next++);
    return {
      id: ids.get(token.content)!,
      content: token.content,
      single_word: token.single_word ?? false,
      lstrip: token.lstrip ?? false,
      rstrip: token.rstrip ?? false,
      normalized: token.normalized ?? !token.special,
      special: token.special ?? false,
    };
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added_tokens.sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Replace', pattern: { String: 'Σ' }, content: 'σ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        split(words),
        split(byteLevelWords),
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [special.eos, ids.get(special.eos)],
      cls: [special.bos, ids.get(special.bos)],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: special.unk,
      continuing_subword_prefix: '',
      end_of_word_suffix: endOfWord,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}
