import { grad, input, type Tensor, type WeightSource } from '../src/graph/index.ts';
import { type Scope, type Transform, type Tree, trace, weightInit } from '../src/nn/index.ts';
import type { CompileOptions } from '../src/runtime/index.ts';
import { type StepOptions, TrainStep, type Values } from '../src/train/step.ts';
import { FastRandom } from './data.ts';

/** One comparison: the same step, from the same weights and data, here and in PyTorch. */
export interface Benchmark {
  readonly name: string;
  /** What one step is, for the table. */
  readonly about: string;
  /** The peer's module under `bench/torch` and what it is told. */
  readonly torch: { readonly script: string; readonly settings?: object };
  /** Relative difference of losses and gradients that is put down to rounding; default 1e-3. */
  readonly tolerance?: number;
  /** What both sides read: the values of all weights, and the data of one step. */
  prepare(): Promise<{ weights: Values; batch: Values }>;
  /** Everything that one step computes, to count its products. */
  graph(source: WeightSource, batch: Values): Tensor[];
  start(source: WeightSource, batch: Values, compile: CompileOptions): Promise<Running>;
}

/** A compiled step. */
export interface Running {
  /** One step; returns its loss, or another number that says whether both sides compute the same. */
  step(): Promise<number>;
  /** Arrays that both sides must agree on after the first step. */
  results(): Values;
  release(): Promise<void>;
}

export const inputsOf = (batch: Values): Tree =>
  Object.fromEntries(
    Object.entries(batch).map(([name, { shape, dtype }]) => [name, input(`batch/${name}`, shape, dtype)]),
  );

/** Initial values of all weights of `build`. */
export async function freshWeights(build: (s: Scope) => unknown): Promise<Values> {
  const weights: Values = {};
  for (const { name, shape, init } of trace('scratch', build).params) {
    weights[name] = { dtype: 'float32', shape, data: await init(shape, new FastRandom('init', name)) };
  }
  return weights;
}

export interface TrainingOptions extends Pick<Benchmark, 'name' | 'about' | 'torch' | 'tolerance'> {
  /** Whether weights are frozen that are no param; else all are trained. */
  readonly frozen: boolean;
  batch(): Values | Promise<Values>;
  build(s: Scope, batch: Tree): { loss: Tensor } & Tree;
  readonly optimizer: Transform;
  readonly gradients?: StepOptions['gradients'];
}

/** A training step. What is compared is what the optimizer saw first: its momentum, or Adam's first moment. */
export function training(options: TrainingOptions): Benchmark {
  const { name, about, torch, tolerance, frozen, build, optimizer } = options;
  return {
    name,
    about,
    torch,
    ...(tolerance && { tolerance }),
    async prepare() {
      const batch = await options.batch();
      return { batch, weights: await freshWeights((s) => build(s, inputsOf(batch))) };
    },
    graph(source, batch) {
      const { result, params } = trace(frozen ? source : 'scratch', (s) => build(s, inputsOf(batch)));
      return [
        ...Object.values(result),
        ...grad(
          result.loss,
          params.map((p) => p.tensor),
        ),
      ];
    },
    async start(source, batch, compile) {
      const step = await TrainStep.compile({
        source: frozen ? source : 'scratch',
        batch: Object.fromEntries(
          Object.entries(batch).map(([key, { shape, dtype }]) => [key, { shape, dtype }]),
        ),
        build,
        optimizer,
        gradients: options.gradients,
        init: (p) => weightInit(source.get(p.name)!),
        compile,
      });
      return stepping(step, () => batch);
    },
  };
}

/** Training with `count` of the program's steps at a time; what is compared is what the optimizer saw. */
export async function stepping(step: TrainStep, batch: () => Values, count = 1): Promise<Running> {
  let state = await step.init(0);
  let spare: typeof state | undefined;
  let done = 0;
  return {
    async step() {
      let loss = 0;
      for (let i = 0; i < count; i++) {
        const progress = { step: done++, epoch: 0, stepsPerEpoch: 1, totalSteps: 1 };
        // As `train` does: the memory of the state before last takes the next one.
        const next = await step.run(state, batch(), progress, { recycle: spare });
        [spare, state] = [state, next.state];
        loss += next.metrics.loss! / count;
      }
      return loss;
    },
    results: () =>
      Object.fromEntries(
        Object.entries(state.optimizer).flatMap(([key, value]) => {
          const match = /^(?:\d+\.)+(?:m\/)?(?!v\/)(.*)$/.exec(key);
          return match ? [[match[1]!, value]] : [];
        }),
      ),
    release: () => step.release(),
  };
}
