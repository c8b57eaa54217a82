import { constant, type Tensor } from '../../graph/index.ts';
import type { JsonObject, LanguageFunctions, LanguageModel } from '../../hub/index.ts';
import { mapTree, type Scope } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';
import { type Injection, inject, injectScope } from './injection.ts';
import { findLanguageMethod } from './list.ts';
import type { TextTask } from './score.ts';

/** What a method learned for a model and a task: small tensors and how they act. */
export interface LanguageAdapter {
  readonly method: string;
  readonly options: JsonObject;
  readonly task: TextTask;
  /** By the names of its parameters; of an encoder the head's too. */
  readonly tensors: Values;
}

/** A model with an adapter in it. */
export type AdaptedModel = Omit<LanguageModel, 'kind' | 'model'> &
  LanguageFunctions & {
    readonly task: TextTask;
    /** The scope with the adapter's interceptors and values: what its functions are to be called with. */
    adapt(s: Scope): Scope;
  };

/** What an adapter's tensors are in the model. */
export async function injectionOf(model: LanguageModel, adapter: LanguageAdapter): Promise<Injection> {
  const method = findLanguageMethod(adapter.method);
  const subject = { model, task: adapter.task };
  const options = method.options.parse(adapter.options);
  const folded = await method.folded?.(subject, options);
  return folded ? folded.injection : method.inject(subject, options);
}

/** The model with the adapter in its functions; nothing is copied or computed yet. */
export async function attach(model: LanguageModel, adapter: LanguageAdapter): Promise<AdaptedModel> {
  const injection = await injectionOf(model, adapter);
  const values: Record<string, Tensor> = mapTree(adapter.tensors, (value) => constant(value));
  return {
    ...model,
    ...inject(model, injection),
    task: adapter.task,
    adapt: (s) => injectScope(s, injection, values),
  };
}
