import {
  type DType,
  emptyArray,
  type HostTensor,
  type Shape,
  sizeOf,
  toFloat16,
  toFloat32,
} from '../host.ts';
import type { OpAttrs, OpName, TensorType } from '../rule.ts';

/** Results larger than this are left to ONNX Runtime, which folds constants too. */
const LIMIT = 1024;

const halfToEven = (x: number): number => {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
};
const flag = (x: boolean): number => (x ? 1 : 0);
/** As in C: JavaScript's 1 ** ∞ is NaN. */
const power = (a: number, b: number): number =>
  a === 1 || (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY) ? 1 : a ** b;

/** What elementwise ops make of numbers. */
const numeric: Partial<Record<OpName, (...xs: number[]) => number>> = {
  add: (a, b) => a! + b!,
  sub: (a, b) => a! - b!,
  mul: (a, b) => a! * b!,
  div: (a, b) => a! / b!,
  pow: (a, b) => power(a!, b!),
  maximum: Math.max,
  minimum: Math.min,
  equal: (a, b) => flag(a === b),
  less: (a, b) => flag(a! < b!),
  lessEqual: (a, b) => flag(a! <= b!),
  and: (a, b) => flag(a === 1 && b === 1),
  or: (a, b) => flag(a === 1 || b === 1),
  not: (a) => 1 - a!,
  where: (c, a, b) => (c ? a! : b!),
  neg: (a) => -a!,
  abs: (a) => Math.abs(a!),
  sign: (a) => Math.sign(a!),
  reciprocal: (a) => 1 / a!,
  sqrt: (a) => Math.sqrt(a!),
  exp: (a) => Math.exp(a!),
  log: (a) => Math.log(a!),
  tanh: (a) => Math.tanh(a!),
  sin: (a) => Math.sin(a!),
  cos: (a) => Math.cos(a!),
  floor: (a) => Math.floor(a!),
  ceil: (a) => Math.ceil(a!),
  round: (a) => halfToEven(a!),
  relu: (a) => Math.max(0, a!),
  cast: (a) => a!,
};

export const isElementwise = (op: OpName): boolean => numeric[op] !== undefined;

/** Where element `i` of `shape` lies in a row-major array of `lengths`, by the coordinates that `at` makes of its own. */
export function indices(
  shape: Shape,
  lengths: Shape,
  at: (coordinates: readonly number[]) => readonly number[],
): number[] {
  const coordinates = shape.map(() => 0);
  return Array.from({ length: sizeOf(shape) }, () => {
    const index = at(coordinates).reduce((sum, c, axis) => sum * lengths[axis]! + c, 0);
    for (let axis = shape.length - 1; axis >= 0 && ++coordinates[axis]! === shape[axis]; axis--)
      coordinates[axis] = 0;
    return index;
  });
}

const broadcast = (from: Shape, to: Shape): number[] =>
  indices(to, from, (c) => from.map((n, i) => (n === 1 ? 0 : c[to.length - from.length + i]!)));

/** Ops that only move elements: for each element of the result, its operand's number and its place there. */
const moves: {
  [K in OpName]?: (attrs: OpAttrs[K], inputs: readonly HostTensor[], shape: Shape) => [number, number][];
} = {
  transpose: ({ perm }, [x], shape) =>
    indices(shape, x!.shape, (c) => x!.shape.map((_, i) => c[perm.indexOf(i)]!)).map((i) => [0, i]),
  expand: (_, [x], shape) => broadcast(x!.shape, shape).map((i) => [0, i]),
  slice: ({ starts, steps }, [x], shape) =>
    indices(shape, x!.shape, (c) => c.map((v, i) => starts[i]! + v * (steps?.[i] ?? 1))).map((i) => [0, i]),
  gather({ axis }, [x, at], shape) {
    const rows = numbers(at!).map((v) => (v < 0 ? v + x!.shape[axis]! : v));
    const rank = at!.shape.length;
    const row = indices(shape, at!.shape, (c) => c.slice(axis, axis + rank));
    let next = 0;
    return indices(shape, x!.shape, (c) => [
      ...c.slice(0, axis),
      rows[row[next++]!]!,
      ...c.slice(axis + rank),
    ]).map((i) => [0, i]);
  },
  concat({ axis }, inputs, shape) {
    const owner = inputs.flatMap((t, k) =>
      Array.from({ length: t.shape[axis]! }, (_, i): [number, number] => [k, i]),
    );
    const inner = sizeOf(shape.slice(axis + 1));
    return Array.from({ length: sizeOf(shape) }, (_, i) => {
      const outer = Math.floor(i / (inner * shape[axis]!));
      const [k, along] = owner[Math.floor(i / inner) % shape[axis]!]!;
      return [k, (outer * inputs[k]!.shape[axis]! + along) * inner + (i % inner)];
    });
  },
};

/**
 * The value of an op on known operands, where the host knows how: elementwise ops, and those that move elements. Undefined
 * for all else, for results that are large, and where an integer would not be exact or a NaN would have to be read.
 */
export function evaluate<N extends OpName>(
  op: N,
  attrs: OpAttrs[N],
  inputs: readonly HostTensor[],
  { dtype, shape }: TensorType,
  limit = LIMIT,
): HostTensor | undefined {
  if (op === 'reshape') return { ...inputs[0]!, shape };
  if (sizeOf(shape) > limit || inputs.some((t) => t.data.length > limit)) return undefined;
  const move = moves[op];
  if (move) return pick(inputs, move(attrs, inputs, shape), dtype, shape);
  const f = numeric[op];
  if (!f) return undefined;
  const operands = inputs.map((t) => ({ values: numbers(t), at: broadcast(t.shape, shape) }));
  const values = Array.from({ length: sizeOf(shape) }, (_, i) =>
    f(...operands.map((o) => o.values[o.at[i]!]!)),
  );
  const read = operands.flatMap((o) => o.values);
  return [...read, ...values].some(Number.isNaN) ? undefined : tensorOf(values, dtype, shape);
}

function pick(
  inputs: readonly HostTensor[],
  from: [number, number][],
  dtype: DType,
  shape: Shape,
): HostTensor {
  const data = emptyArray(dtype, from.length);
  for (const [i, [k, at]] of from.entries()) data[i] = inputs[k]!.data[at]!;
  return { dtype, shape, data } as HostTensor;
}

/** Elements as numbers; integers beyond 2^53 are rounded. */
export const numbers = (t: HostTensor): number[] =>
  Array.from(t.dtype === 'float16' || t.dtype === 'bfloat16' ? toFloat32(t).data : t.data, Number);

/** Numbers as `dtype`, rounded or cut as a cast does; undefined where the dtype does not hold them. */
export function tensorOf(values: readonly number[], dtype: DType, shape: Shape): HostTensor | undefined {
  if (dtype === 'float32') return { dtype, shape, data: Float32Array.from(values) };
  if (dtype === 'float64') return { dtype, shape, data: Float64Array.from(values) };
  if (dtype === 'float16') return toFloat16({ dtype: 'float32', shape, data: Float32Array.from(values) });
  if (dtype === 'bool') return { dtype, shape, data: Uint8Array.from(values, (v) => flag(v !== 0)) };
  const whole = values.map((v) => Math.trunc(v) + 0);
  if (dtype === 'int64' && whole.every(Number.isSafeInteger)) {
    return { dtype, shape, data: BigInt64Array.from(whole, BigInt) };
  }
  if (dtype === 'int64' || dtype === 'uint64' || dtype === 'bfloat16') return undefined;
  const data = emptyArray(dtype, whole.length);
  data.set(whole);
  return whole.every((v, i) => v === data[i]) ? ({ dtype, shape, data } as HostTensor) : undefined;
}
