/** CLIP (Radford et al. 2021) in the layout of Hugging Face checkpoints. */
export * from './config.ts';
export * from './deep-tokens.ts';
export * from './soft-tokens.ts';
export * from './towers.ts';
