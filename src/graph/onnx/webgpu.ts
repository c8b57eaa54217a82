import { type HostTensor, narrowed, sizeOf } from '../host.ts';
import { slide } from '../ops/conv.ts';
import {
  add,
  and,
  cast,
  equal,
  exp,
  floor,
  less,
  log,
  maximum,
  mul,
  not,
  or,
  sub,
  where,
} from '../ops/elementwise.ts';
import { gather } from '../ops/gather.ts';
import { argMax, max, sum } from '../ops/reduce.ts';
import { expand, pad, reshape, slice, stack } from '../ops/shape.ts';
import type { OpAttrs, OpName } from '../rule.ts';
import { constant, type Tensor } from '../tensor.ts';
import { type Lowering, type Lowerings, plainMatmul } from './lowering.ts';

/**
 * What ONNX Runtime's WebGPU provider has no kernel for, in ops that it has. Integers are 32 bits there: int64 inputs and
 * constants are narrowed (`Program` does it for what is fed), and indices that ONNX gives as int64 with them.
 */
export const webgpu: Lowerings = {
  matmul: plainMatmul,
  logSoftmax: ([x], { axis }) => {
    const z = sub(x!, max(x!, axis, true));
    return sub(z, log(sum(exp(z), axis, true)));
  },
  sign: ([x]) => sub(cast(less(zero(x!), x!), x!.dtype), cast(less(x!, zero(x!)), x!.dtype)),
  round: ([x]) => {
    const down = floor(x!);
    const rest = sub(x!, down);
    const half = mul(down, 0.5);
    const odd = less(floor(half), half);
    return where(or(less(0.5, rest), and(equal(rest, 0.5), odd)), add(down, 1), down);
  },
  or: ([a, b]) => not(and(not(a!), not(b!))),
  neg: ([x]) => (x!.dtype === 'int32' ? sub(zero(x!), x!) : undefined),
  abs: ([x]) => (x!.dtype === 'int32' ? maximum(x!, sub(zero(x!), x!)) : undefined),
  relu: ([x]) => (x!.dtype === 'int32' ? maximum(x!, zero(x!)) : undefined),
  equal: ([a, b]) => (a!.dtype === 'bool' ? equal(cast(a!, 'int32'), cast(b!, 'int32')) : undefined),

  input: (_, attrs, keep) =>
    attrs.dtype === 'int64' ? keep('input', [], { ...attrs, dtype: 'int32' }) : undefined,
  constant: (_, { value }) => (value.dtype === 'int64' ? constant(narrowed(value, 'a constant')) : undefined),
  // ONNX Runtime folds the cast when it loads the model.
  weight: (_, attrs, keep) =>
    attrs.weight.dtype === 'int64' ? cast(keep('weight', [], attrs)[0]!, 'int32') : undefined,
  cast: ([x], { to }) => (to === 'int64' ? cast(x!, 'int32') : undefined),
  argMax: ([x], attrs, keep) => numbered(keep('argMax', [x!], attrs)[0]!, x!.dim(attrs.axis)),
  topK: ([x], attrs, keep) => {
    const [values, indices] = keep('topK', [x!], attrs) as [Tensor, Tensor];
    return [values, numbered(indices, x!.dim(attrs.axis))];
  },
  maxPool: ([x], attrs, keep) => [keep('maxPool', [x!], attrs)[0]!, maxPositions(x!, attrs)],

  gatherElements: ([x, indices], { axis }) => {
    if (x!.dtype === 'float32' || x!.dtype === 'float16') return undefined;
    const strides = x!.shape.map((_, i) => sizeOf(x!.shape.slice(i + 1)));
    const wrapped = where(less(indices!, 0), add(indices!, x!.dim(axis)), indices!);
    const flat = x!.shape.reduce(
      (at, _, i) => {
        const lead = indices!.shape.map((n, j) => (j === i ? n : 1));
        const place = i === axis ? wrapped : reshape(positions(indices!.dim(i)), lead);
        return add(at, mul(place, strides[i]!));
      },
      expand(zero(indices!), indices!.shape),
    );
    return gather(reshape(x!, [-1]), flat, 0);
  },
  slice: (inputs, attrs, keep) => {
    const { starts, ends, steps } = attrs;
    const [x] = inputs as [Tensor];
    if (x.dtype !== 'int32') return throughFloat('slice')(inputs, attrs, keep);
    return x.shape.reduce((y, n, i) => {
      const step = steps?.[i] ?? 1;
      const count = Math.max(0, Math.ceil((ends[i]! - starts[i]!) / step));
      return count === n && step === 1 ? y : gather(y, positions(count, starts[i]!, step), i);
    }, x);
  },
  transpose: throughFloat('transpose'),
  pad: throughFloat('pad'),
  concat: throughFloat('concat'),
  scatter: throughFloat('scatter'),
};

const zero = (x: Tensor): Tensor => constant(0, x.dtype);

/** start, start + step, … as int32. */
function positions(count: number, start = 0, step = 1): Tensor {
  const data = Int32Array.from({ length: count }, (_, i) => start + i * step);
  return constant({ dtype: 'int32', shape: [count], data });
}

/** int64 numbers below `n` as int32: there is a kernel that looks up by int64, but none that casts it. */
const numbered = (indices: Tensor, n: number): Tensor => gather(positions(n), indices, 0);

/** Moves bools as floats. */
function throughFloat<N extends OpName>(op: N): Lowering<OpAttrs[N]> {
  const float = (t: Tensor) => (t.dtype === 'bool' ? cast(t, 'float32') : t);
  return (inputs, attrs, keep) =>
    inputs[0]!.dtype === 'bool' ? cast(keep(op, inputs.map(float), attrs)[0]!, 'bool') : undefined;
}

/** Where in the flattened x [N, C, ...spatial] each window has its first largest element. */
function maxPositions(x: Tensor, c: OpAttrs['maxPool']): Tensor {
  const lengths = x.shape.slice(2);
  const counts = slide(lengths, c.kernel, c);
  const strides = lengths.map((_, i) => sizeOf(lengths.slice(i + 1)));
  const padded = pad(x, [0, 0, ...c.before], [0, 0, ...c.after], Number.NEGATIVE_INFINITY);
  const taps = c.kernel.reduce<number[][]>(
    (list, k) => list.flatMap((at) => Array.from({ length: k }, (_, j) => [...at, j])),
    [[]],
  );
  const shifted = taps.map((tap) =>
    tap.reduce((y, k, i) => {
      const start = k * c.dilations[i]!;
      return slice(y, i + 2, start, start + (counts[i]! - 1) * c.strides[i]! + 1, c.strides[i]!);
    }, padded),
  );
  const along = (axis: number, values: Tensor) =>
    reshape(
      values,
      Array.from({ length: x.rank }, (_, i) => (i === axis ? values.size : 1)),
    );
  const planes = reshape(positions(x.dim(0) * x.dim(1), 0, sizeOf(lengths)), [
    ...x.shape.slice(0, 2),
    ...lengths.map(() => 1),
  ]);
  const corners = counts.reduce(
    (at, m, i) =>
      add(at, along(i + 2, positions(m, -c.before[i]! * strides[i]!, c.strides[i]! * strides[i]!))),
    planes,
  );
  const offsets = taps.map((tap) => tap.reduce((n, k, i) => n + k * c.dilations[i]! * strides[i]!, 0));
  const first = argMax(stack(shifted, x.rank), -1);
  return add(corners, gather(constant(int32(offsets)), first, 0));
}

const int32 = (values: readonly number[]): HostTensor => ({
  dtype: 'int32',
  shape: [values.length],
  data: Int32Array.from(values),
});
