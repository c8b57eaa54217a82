import type { z } from 'zod';
import type { Tensor } from '../../graph/index.ts';
import type { LanguageModel } from '../../hub/index.ts';
import type { Initializer, Interceptors, Param, Scope, Tree } from '../../nn/index.ts';
import type { Injection } from './injection.ts';
import type { TuningOptions } from './options.ts';
import type { TextTask, TextTensors } from './score.ts';

/** What a method is made for. */
export interface Subject {
  readonly model: LanguageModel;
  readonly task: TextTask;
}

/** What a step has computed when a method's own objective is asked for. */
export interface Scored {
  readonly loss: Tensor;
  /** Of an encoder's classification [B, C]; of texts the scores at the places of the target, [B, K, vocabulary]. */
  readonly logits: Tensor;
  readonly batch: TextTensors;
}

/** What an adapter keeps of what was trained. */
export interface Folded {
  readonly injection: Injection;
  tensors(s: Scope): Tree;
}

/** A published way of adapting a language model. */
export interface LanguageMethod<
  Options extends z.ZodObject & z.ZodType<TuningOptions> = z.ZodObject & z.ZodType<TuningOptions>,
> {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  readonly paper: string;
  /** Drives the command line's flags and the documentation's table; every option has a default and a description. */
  readonly options: Options;
  /** Kinds of models on which it is defined; all by default. */
  readonly kinds?: readonly LanguageModel['kind'][];
  /** What it puts into the model; the `param`s declared there are what is trained. */
  inject(subject: Subject, options: z.output<Options>): Injection | Promise<Injection>;
  /**
   * What is left after training, where that is less than what is trained: a plain prompt in place of the network that makes it.
   * `tensors` gives the adapter's, from trained parameters; `injection` reads them.
   */
  folded?(subject: Subject, options: z.output<Options>): Folded | undefined | Promise<Folded | undefined>;
  /** The same change of what the model computes as interceptors of weights alone, where `inject` changes activations. */
  merged?(subject: Subject, options: z.output<Options>): Interceptors;
  /** The peak learning rate where the options say 0. */
  rate?(subject: Subject, options: z.output<Options>): number | Promise<number>;
  /** Peak learning rates of some parameters, by name pattern. */
  rates?(options: z.output<Options>): Readonly<Record<string, number>>;
  /** Other initial values. */
  init?(subject: Subject, options: z.output<Options>): (param: Param) => Initializer;
  /** The loss in place of the task's own, and further scalars to report. */
  objective?(
    subject: Subject,
    options: z.output<Options>,
  ): Promise<(s: Scope, scored: Scored) => { loss: Tensor } & Tree>;
}

export const defineLanguageMethod = <O extends z.ZodObject & z.ZodType<TuningOptions>>(
  method: LanguageMethod<O>,
): LanguageMethod<O> => method;
