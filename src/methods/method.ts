import type { z } from 'zod';
import type { ClipModel } from '../hub/index.ts';
import type { Values } from '../train/index.ts';
import type { Adapter, TuneTask, Tuning } from './vlm/task.ts';

/** What a user does with a method. */
export type MethodKind = 'tune' | 'select' | 'distill' | 'edit' | 'adapt' | 'generate' | 'pretrain';

/** A published system: its options, and how to fit it. */
export interface Method<Options extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  readonly paper: string;
  readonly kind: MethodKind;
  /** Drives the command line's flags and the documentation's table; every option has a default and a description. */
  readonly options: Options;
  /** The options it takes for tests on class names that were not trained on, where its defaults cannot. */
  readonly acrossClasses?: Partial<z.input<Options>>;
  /** Of files that options lead to, where their content decides the result: runs of another digest are not reused. */
  digest?(model: ClipModel, options: z.output<Options>): Promise<string>;
  /** Trains (or only prepares) an adapter; the generator yields progress. */
  fit(task: TuneTask, options: z.output<Options>): Tuning;
  /** Restores an adapter from its saved tensors. */
  restore(saved: { options: z.output<Options>; tensors: Values }): Adapter;
}

export const defineMethod = <O extends z.ZodObject>(method: Method<O>): Method<O> => method;
