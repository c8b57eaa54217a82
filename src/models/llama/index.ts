/** Decoders of LLaMA's kind (Touvron et al. 2023): LLaMA, Mistral, Qwen2, Qwen3, in the layout of Hugging Face checkpoints. */
export * from './config.ts';
export * from './llama.ts';
export type { Rope } from './rope.ts';
