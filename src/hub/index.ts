/** Load and save: safetensors, tokenizers, adapters, and models from folders, the zoo and the Hugging Face Hub. */
export { trainBpe, writeClipTokenizer } from './bpe.ts';
export type { AddedToken, BpeVocabulary, SpecialTokens } from './clip-tokenizer.ts';
export { clipTokenizer, loadTokenizer, type TokenBatch, type Tokenizer } from './tokenizer.ts';
