/** Compiles graphs to programs and runs them; seeded random numbers. */
export { type CompileOptions, compile, Program } from './program.ts';
export { Random } from './random.ts';
