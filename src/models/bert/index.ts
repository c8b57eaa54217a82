/** BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019) in the layout of Hugging Face checkpoints. */
export * from './bert.ts';
export * from './config.ts';
