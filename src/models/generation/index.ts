/** Text from language models: greedy, sampled, by beam search, with a cache of keys and values. */
export * from './generate.ts';
export { type GenerationOptions, generationOptions, parseGenerationOptions } from './options.ts';
export type { ProgramOptions, Writer } from './programs.ts';
