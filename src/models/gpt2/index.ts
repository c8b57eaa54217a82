/** GPT-2 (Radford et al. 2019) in the layout of Hugging Face checkpoints. */
export * from './config.ts';
export * from './gpt2.ts';
