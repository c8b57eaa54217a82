/** Load and save: safetensors, tokenizers, adapters, and models from folders, the zoo and the Hugging Face Hub. */
export { type AdapterFiles, type KeyMatch, loadAdapter, matchKeys, saveAdapter } from './adapter.ts';
export { writeAtomic } from './atomic.ts';
export { trainBpe, writeClipTokenizer } from './bpe.ts';
export { type ByteBpeSpecial, trainByteBpe, writeByteTokenizer } from './byte-bpe.ts';
export { checkWeights, type LoadOptions } from './check.ts';
export { type ClipModel, type ClipOptions, loadClip } from './clip.ts';
export type { AddedToken, BpeVocabulary, SpecialTokens } from './clip-tokenizer.ts';
export { type Progress, type ResolveOptions, resolveDataset, resolveFolder, zooRoot } from './hub.ts';
export { type JsonObject, readJson } from './json.ts';
export {
  type LanguageFunctions,
  type LanguageModel,
  type LanguageWeights,
  languageParts,
  loadLanguageModel,
  readLanguageModel,
} from './language.ts';
export {
  encodeSafetensors,
  readSafetensors,
  type SafetensorsSource,
  writeSafetensors,
} from './safetensors.ts';
export { clipTokenizer, loadTokenizer, type TokenBatch, type Tokenizer } from './tokenizer.ts';
