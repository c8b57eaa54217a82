import { nodesOf } from './grad.ts';
import { type DType, emptyArray, type HostTensor, type Shape, sizeOf, toFloat16, toFloat32 } from './host.ts';
import type { OpAttrs, OpName } from './rule.ts';
import type { Node, Tensor } from './tensor.ts';

/**
 * The value of a constant expression, computed on the host: what exporters compute from shapes, masks, tables. Undefined
 * where it depends on an input or a weight, on an op that is not known here, or on integers that a double cannot hold.
 */
export function hostValue(t: Tensor): HostTensor | undefined {
  for (const node of nodesOf([t])) {
    if (known.has(node)) continue;
    const operands = node.inputs.map((x) => known.get(x.node)?.[x.index]);
    const evaluate = evaluators[node.op] as Evaluate<unknown> | undefined;
    const complete = operands.every((x) => x !== undefined);
    known.set(node, complete ? evaluate?.(operands, node.attrs, node) : undefined);
  }
  return known.get(t.node)?.[t.index];
}
const known = new WeakMap<Node, readonly HostTensor[] | undefined>();

type Values = readonly HostTensor[] | undefined;
type Evaluate<A> = (xs: readonly HostTensor[], attrs: A, node: Node) => Values;

/** Elements as numbers; integers beyond 2^53 are rounded. */
export const numbersOf = (t: HostTensor): ArrayLike<number> =>
  t.dtype === 'float16' || t.dtype === 'bfloat16'
    ? toFloat32(t).data
    : t.data instanceof BigInt64Array || t.data instanceof BigUint64Array
      ? Array.from(t.data, Number)
      : t.data;

/** Numbers in a dtype; undefined where they do not fit into it without loss. */
function pack(values: ArrayLike<number>, dtype: DType, shape: Shape): Values {
  if (dtype === 'bfloat16') return undefined;
  if (dtype === 'float16') {
    return [toFloat16({ dtype: 'float32', shape, data: Float32Array.from(values) })];
  }
  const data = emptyArray(dtype, values.length);
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
      if (!Number.isSafeInteger(v)) return undefined;
      data[i] = BigInt(v);
    } else data[i] = dtype === 'bool' ? Number(v !== 0) : v;
  }
  return [{ dtype, shape, data } as HostTensor];
}

const stridesOf = (shape: Shape): number[] => shape.map((_, i) => sizeOf(shape.slice(i + 1)));

/** Positions offset + Σ indexᵢ·stridesᵢ of all elements of an array of `shape`, in order. */
function walk(shape: Shape, strides: readonly number[], offset = 0): Int32Array {
  let at = Int32Array.of(offset);
  shape.forEach((n, axis) => {
    const next = new Int32Array(at.length * n);
    for (let i = 0; i < next.length; i++) {
      next[i] = at[Math.floor(i / n)]! + (i % n) * strides[axis]!;
    }
    at = next;
  });
  return at;
}
/** Strides that read `from` as broadcast to `shape`. */
const spread = (from: Shape, shape: Shape): number[] => {
  const lead = shape.length - from.length;
  const strides = stridesOf(from);
  return shape.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : strides[i - lead]!));
};
/** The elements of `x` at flat positions. */
function pick(x: HostTensor, at: ArrayLike<number>, shape: Shape): Values {
  const data = emptyArray(x.dtype, at.length);
  for (let i = 0; i < at.length; i++) data[i] = x.data[at[i]!]!;
  return [{ dtype: x.dtype, shape, data } as HostTensor];
}

/** Elementwise, with broadcasting. */
const elementwise =
  <A>(of: (...v: number[]) => number, exact = true): Evaluate<A> =>
  (xs, _attrs, node) => {
    const { shape, dtype } = node.outputs[0]!;
    const integer = dtype.includes('int') && !exact;
    const parts = xs.map((x) => ({ v: numbersOf(x), at: walk(shape, spread(x.shape, shape)) }));
    const out = Float64Array.from({ length: sizeOf(shape) }, (_, i) => {
      const y = of(...parts.map(({ v, at }) => v[at[i]!]!));
      return integer ? Math.trunc(y) : y;
    });
    return pack(out, dtype, shape);
  };
const half = (x: number): number => {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
};

const reduction =
  (start: number, of: (a: number, b: number) => number, average = false) =>
  ([x]: readonly HostTensor[], { axes }: { axes: readonly number[] }, node: Node): Values => {
    const { shape } = node.outputs[0]!;
    const strides = stridesOf(shape).map((s, i) => (axes.includes(i) ? 0 : s));
    const out = new Float64Array(sizeOf(shape)).fill(start);
    const values = numbersOf(x!);
    walk(x!.shape, strides).forEach((to, i) => {
      out[to] = of(out[to]!, values[i]!);
    });
    return pack(average ? out.map((v) => (v * out.length) / values.length) : out, x!.dtype, shape);
  };

/** Flat positions in x that indices along `axis` name, as ONNX's GatherElements counts them. */
function along(x: HostTensor, indices: HostTensor, axis: number): Int32Array {
  const strides = stridesOf(x.shape);
  const at = walk(indices.shape, strides.with(axis, 0));
  const values = numbersOf(indices);
  const n = x.shape[axis]!;
  return at.map((base, i) => base + (values[i]! < 0 ? values[i]! + n : values[i]!) * strides[axis]!);
}

const evaluators: { [K in OpName]?: Evaluate<OpAttrs[K]> } = {
  constant: (_xs, { value }) => [value],
  add: elementwise((a, b) => a + b),
  sub: elementwise((a, b) => a - b),
  mul: elementwise((a, b) => a * b),
  div: elementwise((a, b) => a / b, false),
  pow: elementwise((a, b) => a ** b),
  maximum: elementwise(Math.max),
  // The largest int64 stands for the end of an axis: it may be an operand, but not a result.
  minimum: elementwise(Math.min),
  equal: (xs, attrs, node) => elementwise((a, b) => Number(a === b))(xs, attrs, node),
  less: elementwise((a, b) => Number(a < b)),
  lessEqual: elementwise((a, b) => Number(a <= b)),
  and: elementwise((a, b) => a & b),
  or: elementwise((a, b) => a | b),
  not: elementwise((a) => 1 - a),
  where: ([condition, a, b], _attrs, node) => {
    const { shape, dtype } = node.outputs[0]!;
    const data = emptyArray(dtype, sizeOf(shape));
    const [c, x, y] = [condition!, a!, b!].map((t) => walk(shape, spread(t.shape, shape)));
    for (let i = 0; i < data.length; i++) {
      data[i] = condition!.data[c![i]!] ? a!.data[x![i]!]! : b!.data[y![i]!]!;
    }
    return [{ dtype, shape, data } as HostTensor];
  },
  neg: elementwise((x) => -x),
  exp: elementwise(Math.exp),
  log: elementwise(Math.log),
  sqrt: elementwise(Math.sqrt),
  reciprocal: elementwise((x) => 1 / x),
  abs: elementwise(Math.abs),
  sign: elementwise(Math.sign),
  floor: elementwise(Math.floor),
  ceil: elementwise(Math.ceil),
  round: elementwise(half),
  sin: elementwise(Math.sin),
  cos: elementwise(Math.cos),
  relu: elementwise((x) => Math.max(x, 0)),
  cast: ([x], { to }) => {
    if (to === x!.dtype) return [x!];
    const values = numbersOf(x!);
    return pack(to.includes('int') ? Float64Array.from(values, Math.trunc) : values, to, x!.shape);
  },
  stopGradient: ([x]) => [x!],
  sum: reduction(0, (a, b) => a + b),
  mean: reduction(0, (a, b) => a + b, true),
  max: reduction(Number.NEGATIVE_INFINITY, Math.max),
  min: reduction(Number.POSITIVE_INFINITY, Math.min),
  cumSum: ([x], { axis, reverse }) => {
    const values = Float64Array.from(numbersOf(x!));
    const [n, stride] = [x!.shape[axis]!, stridesOf(x!.shape)[axis]!];
    const starts = walk(x!.shape.with(axis, 1), stridesOf(x!.shape));
    for (const start of starts) {
      for (let k = 1; k < n; k++) {
        const [from, to] = reverse ? [n - k, n - k - 1] : [k - 1, k];
        values[start + to * stride]! += values[start + from * stride]!;
      }
    }
    return pack(values, x!.dtype, x!.shape);
  },
  reshape: ([x], { shape }) => [{ ...x!, shape }],
  transpose: ([x], { perm }, node) => {
    const strides = stridesOf(x!.shape);
    const { shape } = node.outputs[0]!;
    return pick(
      x!,
      walk(
        shape,
        perm.map((p) => strides[p]!),
      ),
      shape,
    );
  },
  expand: ([x], { shape }) => pick(x!, walk(shape, spread(x!.shape, shape)), shape),
  slice: ([x], { starts, steps }, node) => {
    const strides = stridesOf(x!.shape);
    const offset = starts.reduce((sum, s, i) => sum + s * strides[i]!, 0);
    const { shape } = node.outputs[0]!;
    return pick(
      x!,
      walk(
        shape,
        strides.map((s, i) => s * (steps?.[i] ?? 1)),
        offset,
      ),
      shape,
    );
  },
  concat: (xs, { axis }, node) => {
    const { shape, dtype } = node.outputs[0]!;
    const strides = stridesOf(shape);
    const data = emptyArray(dtype, sizeOf(shape));
    let start = 0;
    for (const x of xs) {
      walk(x.shape, strides, start * strides[axis]!).forEach((to, i) => {
        data[to] = x.data[i]!;
      });
      start += x.shape[axis]!;
    }
    return [{ dtype, shape, data } as HostTensor];
  },
  gather: ([x, indices], { axis }, node) => {
    const n = x!.shape[axis]!;
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const places = Array.from(numbersOf(indices!), (i) => (i < 0 ? i + n : i));
    if (places.some((i) => i < 0 || i >= n)) return undefined;
    const outer = sizeOf(x!.shape.slice(0, axis));
    const at = Array.from({ length: outer }, (_, o) =>
      places.flatMap((i) => Array.from({ length: inner }, (_, k) => (o * n + i) * inner + k)),
    ).flat();
    return pick(x!, at, node.outputs[0]!.shape);
  },
  gatherElements: ([x, indices], { axis }) => pick(x!, along(x!, indices!, axis), indices!.shape),
  scatter: ([x, indices, updates], { axis, reduction }) => {
    const out = Float64Array.from(numbersOf(x!));
    const values = numbersOf(updates!);
    along(x!, indices!, axis).forEach((to, i) => {
      out[to] = values[i]! + (reduction === 'add' ? out[to]! : 0);
    });
    return pack(out, x!.dtype, x!.shape);
  },
};
