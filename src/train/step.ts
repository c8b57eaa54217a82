import {
  type DType,
  grad,
  type HostTensor,
  input,
  type Shape,
  type Tensor,
  type TensorType,
  type WeightSource,
  zeros,
} from '../graph/index.ts';
import {
  type Buffer,
  type Initializer,
  mapTree,
  type Param,
  type Progress,
  type Scope,
  type Transform,
  type Tree,
  trace,
} from '../nn/index.ts';
import { type CompileOptions, compile, type Program, Random } from '../runtime/index.ts';

export type Values = Record<string, HostTensor>;

/** All that training changes: what a checkpoint must hold. */
export interface TrainState {
  /** Parameters, and buffers beside them. */
  readonly params: Values;
  readonly optimizer: Values;
}

/** The tensors of a step while it is traced. */
export interface TracedStep {
  readonly params: Tree;
  readonly batch: Tree;
  /** What `build` returned. */
  readonly metrics: { readonly loss: Tensor } & Tree;
}

export interface StepOptions {
  /** Weights of the base model, or 'scratch' to train all of them from their initial values. */
  readonly source: WeightSource | 'scratch';
  /** Types of the batch by name. */
  readonly batch: Record<string, TensorType>;
  /** Builds the scalar `loss`, any further scalars to report, and other tensors to look at after each step. */
  readonly build: (scope: Scope, batch: Tree) => { loss: Tensor } & Tree;
  readonly optimizer: Transform;
  /** What the optimizer gets in place of the raw gradients of `loss`, by parameter: projected, regulated, dropped. */
  readonly gradients?: (raw: Tree, step: TracedStep) => Tree;
  /**
   * Updates buffers by the parameters after the optimizer's update: `scope.param` gives those. What `build` updates, it
   * updates by those before. (Weights from scratch stay those before.)
   */
  readonly after?: (scope: Scope, batch: Tree) => void;
  /** Replaces initial values, by the parameter's name. */
  readonly init?: (param: Param) => Initializer;
  readonly compile?: CompileOptions;
}

/**
 * One training step as one program: forward, gradients and the optimizer's update, with parameters and optimizer
 * state in and out. Compiled once, run at every step.
 */
export class TrainStep {
  private constructor(
    private readonly program: Program,
    readonly params: readonly Param[],
    readonly buffers: readonly Buffer[],
    private readonly stateShapes: Record<string, Shape>,
    private readonly hypers: ReadonlyMap<string, (t: Progress) => number>,
    /** Names of the scalars, and of what else `build` returned. */
    readonly metrics: readonly string[],
    private readonly observed: readonly string[],
    private readonly initializer: (param: Param) => Initializer,
  ) {}

  static async compile(options: StepOptions): Promise<TrainStep> {
    const batch: Tree = {};
    for (const [name, { shape, dtype }] of Object.entries(options.batch)) {
      batch[name] = input(`batch/${name}`, shape, dtype);
    }
    const traced = trace(options.source, (scope) => ({ scope, metrics: options.build(scope, batch) }));
    const { params, buffers } = traced;
    const { scope, metrics } = traced.result;
    if (params.length === 0) throw new Error('Nothing is trained: the model declares no parameters');
    const tree: Tree = Object.fromEntries(params.map((p) => [p.name, p.tensor]));
    const raw = gradTree(metrics.loss, tree);
    const gradients = options.gradients?.(raw, { params: tree, batch, metrics }) ?? raw;
    for (const { name, shape } of params) {
      const got = gradients[name]?.shape;
      if (String(got) !== String(shape)) {
        throw new Error(
          `The gradient of "${name}" [${shape}] that \`gradients\` returned is ${got ? `[${got}]` : 'missing'}`,
        );
      }
    }
    const stateShapes = options.optimizer.init(Object.fromEntries(params.map((p) => [p.name, p.shape])));
    const state: Tree = Object.fromEntries(
      Object.entries(stateShapes).map(([name, shape]) => [name, input(`state/${name}`, shape)]),
    );
    const hypers = new Map<string, (t: Progress) => number>();
    const result = options.optimizer.update(gradients, state, {
      params: tree,
      hyper(name, value) {
        const unique = hypers.has(name) ? `${name}.${hypers.size}` : name;
        hypers.set(unique, value);
        return input(`hyper/${unique}`, []);
      },
    });
    const updated = mapTree(tree, (param, name) => param.sub(result.updates[name]!));
    options.after?.(scope.bind(updated), batch);
    const outputs: Tree = {};
    for (const [name, t] of Object.entries(updated)) outputs[`param/${name}`] = t;
    for (const { name, next } of buffers.values()) outputs[`param/${name}`] = next;
    for (const [name, t] of Object.entries(result.state)) outputs[`state/${name}`] = t;
    for (const [name, t] of Object.entries(metrics)) outputs[`metric/${name}`] = t;
    // ONNX names are shared by inputs and outputs, so outputs get their own.
    const program = await compile(
      Object.fromEntries(Object.entries(outputs).map(([name, t]) => [`next/${name}`, t])),
      { name: 'training step', ...options.compile },
    );
    for (const { name } of buffers.values()) {
      if (!program.inputs.has(`param/${name}`))
        throw new Error(`Buffer "${name}" is updated, but never read`);
    }
    return new TrainStep(
      program,
      params,
      [...buffers.values()],
      stateShapes,
      hypers,
      Object.keys(metrics).filter((name) => metrics[name]!.size === 1),
      Object.keys(metrics).filter((name) => metrics[name]!.size !== 1),
      options.init ?? ((p) => p.init),
    );
  }

  /** Number of trained scalars. */
  get parameterCount(): number {
    return this.params.reduce((n, p) => n + p.tensor.size, 0);
  }

  /** Initial parameters and buffers drawn from `seed`, each from its own stream, and a zero optimizer state. */
  async init(seed: number): Promise<TrainState> {
    const optimizer = Object.fromEntries(
      Object.entries(this.stateShapes).map(([name, shape]) => [name, zeros(shape)]),
    );
    return {
      params: await initParams(
        [...this.params.map((p) => ({ ...p, init: this.initializer(p) })), ...this.buffers],
        seed,
      ),
      optimizer,
    };
  }

  /**
   * Takes one step. `state` is left as it was; the returned metrics (`observed`: what is no scalar, by the parameters before
   * the step) are finite or the caller's to judge. A state that
   * nobody needs any more can be given as `recycle`: its arrays may hold the new state.
   */
  async run(
    state: TrainState,
    batch: Values,
    progress: Progress,
    { signal, recycle }: { signal?: AbortSignal | undefined; recycle?: TrainState | undefined } = {},
  ): Promise<{ state: TrainState; metrics: Record<string, number>; observed: Values }> {
    const feeds: Values = {};
    for (const [name, v] of Object.entries(state.params)) feeds[`param/${name}`] = v;
    for (const [name, v] of Object.entries(state.optimizer)) feeds[`state/${name}`] = v;
    for (const [name, v] of Object.entries(batch)) feeds[`batch/${name}`] = v;
    for (const [name, f] of this.hypers) {
      feeds[`hyper/${name}`] = { dtype: 'float32', shape: [], data: Float32Array.of(f(progress)) };
    }
    const spare: Values = {};
    for (const [name, v] of Object.entries(recycle?.params ?? {})) spare[`next/param/${name}`] = v;
    for (const [name, v] of Object.entries(recycle?.optimizer ?? {})) spare[`next/state/${name}`] = v;
    const out = await this.program.run(feeds, { ...(signal && { signal }), recycle: spare });
    const pick = (names: readonly string[], kind: string): Values =>
      Object.fromEntries(names.map((name) => [name, out[`next/${kind}/${name}`]!]));
    return {
      state: {
        params: pick(Object.keys(state.params), 'param'),
        optimizer: pick(Object.keys(state.optimizer), 'state'),
      },
      metrics: Object.fromEntries(
        this.metrics.map((name) => [name, Number(out[`next/metric/${name}`]!.data[0])]),
      ),
      observed: pick(this.observed, 'metric'),
    };
  }

  release(): Promise<void> {
    return this.program.release();
  }
}

/** Gradients of a scalar by parameter. */
export function gradTree(loss: Tensor, params: Tree): Tree {
  const gradients = grad(loss, Object.values(params));
  return Object.fromEntries(Object.keys(params).map((name, i) => [name, gradients[i]!]));
}

/** Initial values: each parameter draws from a stream of its own name, so order does not matter. */
export async function initParams(params: readonly Param[], seed: number): Promise<Values> {
  const values: Values = {};
  for (const { name, shape, init } of params) {
    values[name] = { dtype: 'float32', shape, data: await init(shape, new Random(seed, 'init', name)) };
  }
  return values;
}

/** A type for `StepOptions.batch`. */
export const batchOf = (shape: Shape, dtype: DType = 'float32'): TensorType => ({ shape, dtype });
