import {
  type DType,
  emptyArray,
  f32,
  type HostTensor,
  i64,
  type Shape,
  sizeOf,
  type TypedArray,
  toFloat16,
  toFloat32,
  type Weight,
} from './host.ts';
import * as ops from './ops/index.ts';
import type { OpAttrs, OpName, TensorType } from './rule.ts';

/** One application of an op. A graph is nothing but tensors that point to the nodes that made them. */
export interface Node<N extends OpName = OpName> {
  readonly op: N;
  readonly inputs: readonly Tensor[];
  readonly attrs: OpAttrs[N];
  readonly outputs: readonly Tensor[];
  /** Creation order: inputs always have a smaller id than the nodes that read them. */
  readonly id: number;
}

/** What every operand may be: a tensor, or a number that becomes a scalar constant of the other operand's dtype. */
export type Operand = Tensor | number;

/** A symbolic array: a shape, a dtype and the node that computes it. Immutable; shapes are static. */
export class Tensor {
  constructor(
    readonly node: Node,
    /** Which of the node's outputs this is. */
    readonly index: number,
    readonly shape: Shape,
    readonly dtype: DType,
  ) {}

  get rank(): number {
    return this.shape.length;
  }
  get size(): number {
    return sizeOf(this.shape);
  }
  /** Length of an axis; negative axes count from the end. */
  dim(axis: number): number {
    return this.shape[ops.normalizeAxis(axis, this.rank)]!;
  }
  toString(): string {
    return `Tensor<${this.dtype}[${this.shape.join(',')}]> from ${this.node.op}`;
  }

  add(b: Operand): Tensor {
    return ops.add(this, b);
  }
  sub(b: Operand): Tensor {
    return ops.sub(this, b);
  }
  mul(b: Operand): Tensor {
    return ops.mul(this, b);
  }
  div(b: Operand): Tensor {
    return ops.div(this, b);
  }
  pow(b: Operand): Tensor {
    return ops.pow(this, b);
  }
  neg(): Tensor {
    return ops.neg(this);
  }
  exp(): Tensor {
    return ops.exp(this);
  }
  log(): Tensor {
    return ops.log(this);
  }
  sqrt(): Tensor {
    return ops.sqrt(this);
  }
  abs(): Tensor {
    return ops.abs(this);
  }
  square(): Tensor {
    return ops.mul(this, this);
  }
  matmul(b: Tensor, options?: ops.MatmulOptions): Tensor {
    return ops.matmul(this, b, options);
  }
  sum(axes?: ops.Axes, keepDims?: boolean): Tensor {
    return ops.sum(this, axes, keepDims);
  }
  mean(axes?: ops.Axes, keepDims?: boolean): Tensor {
    return ops.mean(this, axes, keepDims);
  }
  max(axes?: ops.Axes, keepDims?: boolean): Tensor {
    return ops.max(this, axes, keepDims);
  }
  min(axes?: ops.Axes, keepDims?: boolean): Tensor {
    return ops.min(this, axes, keepDims);
  }
  reshape(shape: Shape): Tensor {
    return ops.reshape(this, shape);
  }
  transpose(perm?: readonly number[]): Tensor {
    return ops.transpose(this, perm);
  }
  expand(shape: Shape): Tensor {
    return ops.expand(this, shape);
  }
  /** Elements [start, end) of one axis. */
  slice(axis: number, start: number, end?: number, step?: number): Tensor {
    return ops.slice(this, axis, start, end, step);
  }
  cast(to: DType): Tensor {
    return ops.cast(this, to);
  }
}

let nextId = 0;

/** Applies an op by name: checks the inputs by its rule and returns all its outputs. */
export function applyAll<N extends OpName>(op: N, inputs: readonly Tensor[], attrs: OpAttrs[N]): Tensor[] {
  const types = ops.rules[op].type(inputs, attrs);
  return make(op, inputs, attrs, Array.isArray(types) ? types : [types]);
}

/** The same op on other inputs of the same types, which nobody needs to check again. */
export const reapply = (node: Node, inputs: readonly Tensor[]): Tensor[] =>
  make(node.op, inputs, node.attrs, node.outputs);

function make<N extends OpName>(
  op: N,
  inputs: readonly Tensor[],
  attrs: OpAttrs[N],
  types: readonly TensorType[],
): Tensor[] {
  const node: Node<N> = { op, inputs: [...inputs], attrs, outputs: [], id: nextId++ };
  const outputs = types.map((t, i) => new Tensor(node as unknown as Node, i, t.shape, t.dtype));
  (node as { outputs: readonly Tensor[] }).outputs = outputs;
  return outputs;
}

/** Applies an op with one output. */
export const apply = <N extends OpName>(op: N, inputs: readonly Tensor[], attrs: OpAttrs[N]): Tensor =>
  applyAll(op, inputs, attrs)[0]!;

/** A value fed at every run. */
export const input = (name: string, shape: Shape, dtype: DType = 'float32'): Tensor =>
  apply('input', [], { name, shape, dtype });

/** A value fixed at trace time: a host tensor, or a number as a scalar. */
export function constant(value: HostTensor | number, dtype: DType = 'float32'): Tensor {
  if (typeof value !== 'number') return apply('constant', [], { value });
  return apply('constant', [], { value: scalarOf(value, dtype) });
}

function scalarOf(value: number, dtype: DType): HostTensor {
  const whole = dtype !== 'bool' && !ops.isFloat({ dtype, shape: [] });
  if (whole && !Number.isInteger(value)) {
    throw ops.opError('constant', `${value} is no ${dtype}; cast the other operand first`);
  }
  const one = (data: TypedArray) => ({ dtype, shape: [], data }) as HostTensor;
  switch (dtype) {
    case 'float16':
      return toFloat16(f32([value], []));
    case 'bfloat16':
      throw new Error(`A bfloat16 scalar constant needs a host tensor, not the number ${value}`);
    case 'int64':
      return one(BigInt64Array.of(BigInt(value)));
    case 'uint64':
      return one(BigUint64Array.of(BigInt(value)));
    case 'bool':
      return one(Uint8Array.of(value ? 1 : 0));
    default: {
      const data = emptyArray(dtype, 1);
      data[0] = value;
      return one(data);
    }
  }
}

/** The int64 numbers start, start + 1, …: [length]. */
export const arange = (length: number, start = 0): Tensor =>
  constant(i64(Array.from({ length }, (_, i) => start + i)));

/** Frozen values that stay in their file until the program is loaded. */
export const weight = (w: Weight): Tensor => apply('weight', [], { weight: w });

/** The number that a constant tensor holds in every place, if it is one. */
export function constantNumber(t: Tensor): number | undefined {
  if (t.node.op !== 'constant') return undefined;
  const { value } = (t.node as Node<'constant'>).attrs;
  if (value.data.length !== 1) return undefined;
  const bits = value.dtype === 'float16' || value.dtype === 'bfloat16';
  return Number(bits ? toFloat32(value).data[0] : value.data[0]);
}
