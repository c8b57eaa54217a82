/** The training step as one program, and the loop around it: events, checkpoints, resume, early stop. */
export * from './loop.ts';
export * from './step.ts';
