import { type DType, type HostTensor, input, type Shape, Tensor } from '../graph/index.ts';
import { type CompileOptions, compile, type Program } from './program.ts';

/** What a traced function takes and gives: tensors, alone or in records and lists of any depth. */
export type Traced = Tensor | { readonly [name: string]: Traced } | readonly Traced[];
/** The same structure with values in place of symbols. */
export type Hosted<T> = T extends Tensor ? HostTensor : { [K in keyof T]: Hosted<T[K]> };

export interface JitOptions extends CompileOptions {
  /** How many programs are kept; beyond that the least recently used is released (default 16). */
  readonly maxPrograms?: number;
}

/** A function of host tensors that traces and compiles itself at the first call with new shapes. */
export interface Jitted<A extends readonly unknown[], R> {
  (...args: { [K in keyof A]: Hosted<A[K]> }): Promise<Hosted<R>>;
  /** Number of compiled programs that are kept. */
  readonly size: number;
  /** Frees all programs, those in use when their calls are done. A later call compiles anew. */
  release(): Promise<void>;
}

type Leaves<T> = Map<string, T>;

/** The leaves of a structure by path, in the order of sorted names. */
function leavesOf<T>(value: unknown, isLeaf: (v: unknown) => v is T, path = ''): Leaves<T> {
  if (isLeaf(value)) return new Map([[path || '/', value]]);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) {
    throw new Error(`jit: ${path || 'the value'} is ${String(value)}, not a tensor or a record of tensors`);
  }
  const keys = Array.isArray(value) ? [...value.keys()].map(String) : Object.keys(value).sort();
  const leaves = keys.map((key) =>
    leavesOf((value as Record<string, unknown>)[key], isLeaf, `${path}/${key.replace(/[~/]/g, '~$&')}`),
  );
  return new Map(leaves.flatMap((l) => [...l]));
}
/** The structure of `like` with the leaves that `at` gives for their paths. */
function rebuild<T>(
  like: unknown,
  isLeaf: (v: unknown) => boolean,
  at: (path: string, leaf: unknown) => T,
  path = '',
): unknown {
  if (isLeaf(like)) return at(path || '/', like);
  const child = (key: string, value: unknown) =>
    rebuild(value, isLeaf, at, `${path}/${key.replace(/[~/]/g, '~$&')}`);
  if (Array.isArray(like)) return like.map((value, i) => child(String(i), value));
  return Object.fromEntries(Object.entries(like as object).map(([key, value]) => [key, child(key, value)]));
}

const isTensor = (v: unknown): v is Tensor => v instanceof Tensor;
const isName = (v: unknown): v is string => typeof v === 'string';
const isHost = (v: unknown): v is HostTensor =>
  typeof v === 'object' &&
  v !== null &&
  'dtype' in v &&
  'shape' in v &&
  'data' in v &&
  ArrayBuffer.isView(v.data);

interface Compiled {
  readonly program: Program;
  /** The structure of the result with the names of the program's outputs as leaves. */
  readonly result: unknown;
}
interface Entry {
  readonly compiled: Promise<Compiled>;
  calls: number;
  evicted: boolean;
}

/**
 * Makes a function of tensors into one of values. `fn` is traced once for each combination of structure, shapes and
 * dtypes of its arguments, and each trace is compiled once; further calls only run. As in JAX, `fn` must be pure:
 * what it reads besides its arguments is fixed when it is traced. Pad inputs to a few sizes, or every new shape
 * costs a compilation.
 *
 *     const similarity = jit(({ a, b }: { a: Tensor; b: Tensor }) => l2Normalize(a).matmul(l2Normalize(b), { transB: true }));
 *     const { data } = await similarity({ a: f32([1, 2], [1, 2]), b: f32([3, 4], [1, 2]) });
 */
export function jit<const A extends readonly Traced[], R extends Traced>(
  fn: (...args: A) => R,
  options: JitOptions = {},
): Jitted<A, R> {
  const { maxPrograms = 16, name = fn.name || 'jit', ...compileOptions } = options;
  if (!(maxPrograms >= 1)) throw new Error(`${name}: maxPrograms must be at least 1, not ${maxPrograms}`);
  // Maps keep insertion order: the first entry is the least recently used.
  const entries = new Map<string, Entry>();

  const build = async (args: readonly unknown[]): Promise<Compiled> => {
    const hosts = leavesOf(args, isHost);
    const symbol = (path: string) => {
      const { shape, dtype } = hosts.get(path) as { shape: Shape; dtype: DType };
      return input(`in${path}`, shape, dtype);
    };
    const result = fn(...(rebuild(args, isHost, symbol) as unknown as A));
    const outputs = Object.fromEntries([...leavesOf(result, isTensor)].map(([path, t]) => [`out${path}`, t]));
    const names = rebuild(result, isTensor, (path) => `out${path}`);
    return { program: await compile(outputs, { ...compileOptions, name }), result: names };
  };
  const free = async (entry: Entry): Promise<void> => {
    const compiled = await entry.compiled.catch(() => undefined);
    await compiled?.program.release();
  };
  const evict = async (key: string, entry: Entry): Promise<void> => {
    if (entries.get(key) === entry) entries.delete(key);
    entry.evicted = true;
    if (entry.calls === 0) await free(entry);
  };

  const call = async (...args: readonly unknown[]): Promise<unknown> => {
    const leaves = leavesOf(args, isHost);
    const key = JSON.stringify([...leaves].map(([path, { dtype, shape }]) => [path, dtype, shape]));
    const entry = entries.get(key) ?? { compiled: build(args), calls: 0, evicted: false };
    entries.delete(key);
    entries.set(key, entry);
    entry.calls++;
    try {
      for (const [oldest, old] of entries) {
        if (entries.size <= maxPrograms) break;
        await evict(oldest, old);
      }
      const { program, result } = await entry.compiled.catch((error) => {
        // A failure is not kept: the next call tries again.
        if (entries.get(key) === entry) entries.delete(key);
        throw error;
      });
      const feeds = Object.fromEntries(
        [...leaves].flatMap(([path, value]) =>
          program.inputs.has(`in${path}`) ? [[`in${path}`, value]] : [],
        ),
      );
      const out = await program.run(feeds);
      return rebuild(result, isName, (_path, output) => out[output as string]!);
    } finally {
      entry.calls--;
      if (entry.evicted && entry.calls === 0) await free(entry);
    }
  };

  return Object.defineProperties(call, {
    size: { get: () => entries.size },
    release: {
      value: async () => {
        await Promise.all([...entries].map(([key, entry]) => evict(key, entry)));
      },
    },
  }) as unknown as Jitted<A, R>;
}
