import {
  type Device,
  type DType,
  encodeOnnx,
  type HostTensor,
  hasInt64,
  type Memory,
  type Node,
  narrowed,
  nodesOf,
  type Shape,
  sizeOf,
  type Tensor,
  type TensorType,
  type TypedArray,
} from '../graph/index.ts';
import { defaultDevice, onNode } from './ort.ts';
import { packOutputs } from './packing.ts';
import { describe, type OffDevice, openPlaced } from './placement.ts';
import { type Feeds, openSession, type Session, type SessionOptions } from './session.ts';
import { openWorkerSession } from './worker/client.ts';

export interface CompileOptions extends SessionOptions {
  /** Whether the graph is simplified (default true); not to is for comparing. */
  simplify?: boolean;
  /** What to call the program in error messages. */
  name?: string;
  /**
   * Loads and runs the program in a worker thread, so that the event loop of this one stays free. All programs of the
   * process share one worker, and it runs one at a time. It costs 0.1 to 0.3 s to start, and a copy of the feeds
   * in every run.
   */
  worker?: boolean;
}

export interface RunOptions {
  /**
   * Rejects with the signal's reason. A run that waits never begins. ONNX Runtime cannot be stopped in a run: one
   * under way in a worker is given up at once, but finished there before the worker turns to the next.
   */
  signal?: AbortSignal;
  /**
   * Values that nobody needs any more, by the output whose type they have. In this thread large results are written into
   * their arrays: memory that is there already, where a new array would be paid for page by page.
   */
  recycle?: Feeds;
}

/** A compiled graph: named host tensors in, named host tensors out. */
export class Program<Name extends string = string> {
  /** Settled when no run is under way. */
  private running: Promise<unknown> = Promise.resolve();

  constructor(
    private session: Session | undefined,
    readonly name: string,
    readonly inputs: ReadonlyMap<string, TensorType>,
    readonly outputs: ReadonlyMap<string, TensorType>,
    readonly device: Device,
    /** What is not computed on `device` but on the CPU; empty where all is well. */
    readonly placement: readonly OffDevice[],
    private readonly planned: () => Memory,
  ) {}

  /** What a run needs, by a plan of the graph. */
  get memory(): Memory {
    return this.planned();
  }

  /**
   * Runs once. Every input must be given with its exact shape and dtype; unknown names are errors. Calls queue: each
   * run begins when the last one is done, and feeds must stay as they are until then.
   *
   * Without `worker` the promise hides no thread: in Node the run begins at the next turn of the event loop and
   * blocks it until it is done, although ONNX Runtime's own threads share the work.
   */
  async run(feeds: Feeds, { signal, recycle = {} }: RunOptions = {}): Promise<Record<Name, HostTensor>> {
    const { session } = this;
    if (!session) throw new Error(`${this.name}: the program was released`);
    this.check(feeds);
    for (const [name, value] of Object.entries(recycle)) {
      const type = this.outputs.get(name);
      if (!type) throw new Error(`${this.name}: no output "${name}" to recycle an array for`);
      this.require(`the array recycled for "${name}"`, value, type);
    }
    signal?.throwIfAborted();
    const run = this.running.then(() => {
      signal?.throwIfAborted();
      return session.run(hasInt64(this.device) ? feeds : this.narrow(feeds), recycle);
    });
    // The chain must not keep the results: they would never be freed.
    this.running = run.then(nothing, nothing);
    const results = await unlessAborted(run, signal).catch((error) => {
      throw signal?.aborted && error === signal.reason ? error : named(this.name, error);
    });
    const out: Record<string, HostTensor> = {};
    for (const [name, type] of this.outputs) {
      out[name] = { ...type, data: widened(type.dtype, results[name]!) } as HostTensor;
    }
    return out as Record<Name, HostTensor>;
  }

  private check(feeds: Feeds): void {
    for (const [name, type] of this.inputs) {
      const value = feeds[name];
      if (!value) throw new Error(`${this.name}: input "${name}" [${type.shape}] is missing`);
      this.require(`input "${name}"`, value, type);
    }
    for (const name of Object.keys(feeds)) {
      if (!this.inputs.has(name)) {
        throw new Error(`${this.name}: no input "${name}"; inputs are ${[...this.inputs.keys()].join(', ')}`);
      }
    }
  }

  private require(what: string, { dtype, shape, data }: HostTensor, type: TensorType): void {
    const wanted = `${this.name}: ${what} must be ${type.dtype}[${type.shape}], not`;
    if (dtype !== type.dtype || !sameShape(shape, type.shape))
      throw new Error(`${wanted} ${dtype}[${shape}]`);
    if (data.length !== sizeOf(shape)) throw new Error(`${wanted} ${data.length} values`);
  }

  /** int64 as int32, for devices that have nothing wider. */
  private narrow(feeds: Feeds): Feeds {
    const entries = Object.entries(feeds).map(([name, t]) => [
      name,
      t.dtype === 'int64' ? narrowed(t, `input "${name}"`) : t,
    ]);
    return Object.fromEntries(entries);
  }

  /** Frees the session's memory once runs under way are done; the program cannot run afterwards. */
  async release(): Promise<void> {
    const session = this.session;
    this.session = undefined;
    await this.running;
    await session?.release();
  }
}

const nothing = () => undefined;

/** The value of `work`, or an error as soon as the signal comes. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

const widened = (dtype: DType, data: TypedArray): TypedArray =>
  dtype === 'int64' && data instanceof Int32Array ? BigInt64Array.from(data, BigInt) : data;

const named = (name: string, error: unknown): Error =>
  new Error(`${name}: ${error instanceof Error ? error.message.trim() : error}`, { cause: error });

const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((n, i) => n === b[i]);

/**
 * Compiles the graph behind `outputs` for a device. Weights are read by ONNX Runtime from their own files. Compile
 * once and run often: a session costs milliseconds to seconds.
 */
export async function compile<Name extends string>(
  outputs: Record<Name, Tensor>,
  options: CompileOptions = {},
): Promise<Program<Name>> {
  const { name = 'program', worker = false, strict = false, simplify, ...sessionOptions } = options;
  const { device = defaultDevice } = options;
  const { outputs: computed, unpack } = packOutputs(outputs, device);
  const { model, session, placement } = await openPlaced(
    () => encodeOnnx(computed, { device, weights: onNode ? 'external' : 'inline', simplify }),
    device,
    strict,
    (model, only) => (worker ? openWorkerSession : openSession)(model, { ...sessionOptions, strict: only }),
  ).catch((error) => {
    throw named(`${name} cannot be loaded`, error);
  });
  if (placement.length > 0) {
    console.warn(
      `${name}: ${describe(device, placement)}. compile(…, { strict: true }) makes this an error.`,
    );
  }
  // By the caller's dtypes, which the model has not where the device lacks them.
  const traced = nodesOf(Object.values(outputs)) as Node<'input'>[];
  const dtypes = new Map(
    traced.flatMap(({ op, attrs }) => (op === 'input' ? [[attrs.name, attrs.dtype]] : [])),
  );
  return new Program(
    {
      run: async (feeds, spare) => unpack(await session.run(feeds, spare)),
      release: () => session.release(),
    },
    name,
    new Map(model.inputs.map(({ name, shape }) => [name, { shape, dtype: dtypes.get(name)! }])),
    new Map(Object.entries<Tensor>(outputs).map(([name, { shape, dtype }]) => [name, { shape, dtype }])),
    device,
    placement,
    model.memory,
  );
}

/** Compiles the graph behind `outputs`, runs it once and frees it. */
export async function runOnce<Name extends string>(
  outputs: Record<Name, Tensor>,
  feeds: Feeds,
  options?: CompileOptions,
): Promise<Record<Name, HostTensor>> {
  const program = await compile(outputs, options);
  try {
    return await program.run(feeds);
  } finally {
    await program.release();
  }
}
