/** T5 (Raffel et al. 2020), v1.0 and v1.1, and mT5 (Xue et al. 2021) in the layout of Hugging Face checkpoints. */
export * from './config.ts';
export * from './t5.ts';
