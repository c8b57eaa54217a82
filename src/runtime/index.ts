/** Compiles graphs to programs and runs them; seeded random numbers. */

export { type Hosted, type JitOptions, type Jitted, jit, type Traced } from './jit.ts';
export type { OffDevice } from './placement.ts';
export { type CompileOptions, compile, Program, type RunOptions, runOnce } from './program.ts';
export { Random } from './random.ts';
