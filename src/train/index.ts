/** The training step as one program, and the loop around it: events, checkpoints, resume, early stop; what epochs see. */
export * from './loop.ts';
export * from './sampler.ts';
export * from './step.ts';
