/** What language models share: attention with a past, the inputs and outputs of their stacks, losses of pairs. */
export * from './attention.ts';
export * from './decoder.ts';
export * from './encoder.ts';
export * from './seq2seq.ts';
