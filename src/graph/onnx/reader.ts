import { hostValue } from '../evaluate.ts';
import { type DType, f32, floats, type HostTensor, i64, type Shape } from '../host.ts';
import { isFloat } from '../ops/common.ts';
import { normalizeAxis, onnxTypes } from '../ops/index.ts';
import type { OnnxAttr } from '../rule.ts';
import { numbers } from '../simplify/fold.ts';
import { applyAll, constant, Tensor } from '../tensor.ts';
import { dtypeOf, isFourBits, type OnnxGraph, type OnnxNode, type OnnxValue, typeName } from './decode.ts';

/** A list of tensors, whose length is known when the graph is built. */
export class Sequence {
  constructor(readonly items: readonly Tensor[]) {}
}
/** What an ONNX value may be; null is an optional that holds nothing. */
export type Value = Tensor | Sequence | null;
/** An absent output is undefined. */
export type Importer = (n: NodeReader) => Value | readonly (Value | undefined)[];

/** What a node may ask of the import that it is part of. */
export interface Surroundings {
  readonly opset: number;
  /** The value of an initializer that is a weight, for operands that must be known. */
  weightValue(name: string): HostTensor | undefined;
  /** Builds a branch or body with the given inputs; names of the surrounding graph are visible there. */
  run(graph: OnnxGraph, inputs: readonly Value[]): Value[];
}

/** A node being imported: its operands and typed attributes, with errors that name it. */
export class NodeReader {
  constructor(
    readonly node: OnnxNode,
    readonly operands: readonly (Value | undefined)[],
    private readonly around: Surroundings,
  ) {}

  get opset(): number {
    return this.around.opset;
  }
  get place(): string {
    return `importOnnx: ${this.node.type} "${this.node.name || this.node.outputs[0]}"`;
  }
  fail(problem: string): never {
    throw new Error(`${this.place} ${problem}`);
  }
  /** Operand i, a tensor. */
  x(i = 0): Tensor {
    const value = this.operands[i];
    if (value instanceof Tensor) return value;
    if (value instanceof Sequence) this.fail(`got a sequence as its input ${i}, where a tensor belongs`);
    return this.fail(`lacks its input ${i}`);
  }
  /** Operand i, or undefined where it is left out. */
  maybe(i: number): Tensor | undefined {
    return this.operands[i] === undefined ? undefined : this.x(i);
  }
  get all(): Tensor[] {
    return this.operands.map((_, i) => this.x(i));
  }
  sequence(i = 0): readonly Tensor[] {
    const value = this.operands[i];
    return value instanceof Sequence ? value.items : this.fail(`needs a sequence as its input ${i}`);
  }
  has(output: number): boolean {
    return Boolean(this.node.outputs[output]);
  }

  private attr(name: string): OnnxValue | undefined {
    return this.node.attrs.get(name);
  }
  number(name: string, otherwise: number): number {
    const v = this.attr(name) ?? otherwise;
    return typeof v === 'number' ? v : this.fail(`has an attribute ${name} that is not a number`);
  }
  flag(name: string, otherwise = false): boolean {
    return this.number(name, Number(otherwise)) !== 0;
  }
  numbers(name: string): readonly number[] | undefined {
    const v = this.attr(name);
    if (v === undefined) return undefined;
    if (Array.isArray(v) && v.every((e) => typeof e === 'number')) return v;
    return this.fail(`has an attribute ${name} that is not a list of numbers`);
  }
  strings(name: string): readonly string[] | undefined {
    const v = this.attr(name);
    if (v === undefined) return undefined;
    if (Array.isArray(v) && v.every((e) => typeof e === 'string')) return v;
    return this.fail(`has an attribute ${name} that is not a list of strings`);
  }
  string(name: string, otherwise: string): string {
    const v = this.attr(name) ?? otherwise;
    return typeof v === 'string' ? v : this.fail(`has an attribute ${name} that is not a string`);
  }
  /** One of the strings that the op knows; another is an error. */
  choice<S extends string>(name: string, otherwise: S, choices: readonly S[]): S {
    const v = this.string(name, otherwise);
    return choices.find((c) => c === v) ?? this.fail(`has ${name} "${v}", which is not supported`);
  }
  tensor(name: string): HostTensor | undefined {
    const v = this.attr(name);
    if (v === undefined) return undefined;
    if (typeof v === 'object' && 'data' in v) return v;
    const what = typeof v === 'object' && 'unsupported' in v ? v.unsupported : 'no tensor';
    return this.fail(`has an attribute ${name} that is ${what}, which is not supported`);
  }
  graph(name: string): OnnxGraph {
    const v = this.attr(name);
    return typeof v === 'object' && 'nodes' in v ? v : this.fail(`lacks its graph ${name}`);
  }
  run(graph: OnnxGraph, inputs: readonly Value[]): Value[] {
    return this.around.run(graph, inputs);
  }
  /** An element type given by ONNX's number. */
  dtype(name: string, otherwise: DType): DType {
    const type = this.number(name, onnxTypes[otherwise]);
    return (
      (isFourBits(type) ? undefined : dtypeOf(type)) ??
      this.fail(`makes elements of type ${typeName(type)}, which is not supported`)
    );
  }
  axis(name: string, otherwise: number, rank = this.x().rank): number {
    return normalizeAxis(this.number(name, otherwise), rank);
  }

  /** The value of an operand that must be known when the graph is built; undefined where it is left out. */
  host(i: number): HostTensor | undefined {
    const t = this.maybe(i);
    if (!t) return undefined;
    return (
      hostValue(t) ??
      this.around.weightValue(this.node.inputs[i]!) ??
      this.fail(
        `needs its input ${i}, "${this.node.inputs[i]}", to be known when the graph is built: it must not depend on an input of the model, unless that is given as a constant`,
      )
    );
  }
  /** Its numbers: shapes, axes, bounds. */
  known(i: number): number[] | undefined {
    const value = this.host(i);
    return value && numbers(value);
  }
  /** The numbers of a value that may be known. */
  valueOf(t: Tensor): ArrayLike<number> | undefined {
    const value = hostValue(t);
    return value && numbers(value);
  }
  required(i: number): number[] {
    return this.known(i) ?? this.fail(`lacks its input ${i}`);
  }
  /** Numbers that were an attribute in older opsets and are an operand in newer ones. */
  either(name: string, i: number): number[] | undefined {
    return this.numbers(name)?.slice() ?? this.known(i);
  }

  /** The op as it stands, run by ONNX Runtime; a gradient through its floating-point results is an error. */
  foreign(
    inputs: readonly Tensor[],
    outputs: readonly { dtype: DType; shape: Shape }[],
    attrs: Record<string, OnnxAttr> = {},
  ): Tensor[] {
    const { type, domain } = this.node;
    return applyAll('onnx', inputs, { type, domain, attrs, outputs, place: this.place });
  }
}

/** A constant of int64, as ONNX gives shapes and axes. */
export const integers = (values: ArrayLike<number>, shape: Shape = [values.length]): Tensor =>
  constant(i64(values, shape));

/** Numbers as a constant of any dtype. */
export function numbersAs(values: ArrayLike<number>, shape: Shape, dtype: DType): Tensor {
  if (dtype === 'float32' || dtype === 'float64' || dtype === 'float16') {
    return constant(floats(values, shape, dtype));
  }
  if (dtype === 'int64') return integers(values, shape);
  const t = constant(f32(values, shape)).cast(dtype);
  return constant(hostValue(t) ?? i64(values, shape)).cast(dtype);
}

const small: ReadonlySet<DType> = new Set(['uint8', 'int8', 'uint16', 'int16', 'bool']);
/** The dtype in which ONNX Runtime computes with integers of `dtype`. */
export const wideDtype = (dtype: DType): DType =>
  small.has(dtype)
    ? 'int32'
    : dtype === 'uint32' || dtype === 'uint64'
      ? 'int64'
      : dtype === 'bfloat16'
        ? 'float32'
        : dtype;

/** Computes in a wider dtype where ONNX Runtime has no kernels for that of the operands. */
export function inWide(xs: readonly Tensor[], f: (...xs: Tensor[]) => Tensor): Tensor {
  const { dtype } = xs[0]!;
  const wide = wideDtype(dtype);
  const y = f(...xs.map((x) => x.cast(wide)));
  return y.dtype === wide ? y.cast(dtype) : y;
}
/** Computes integers in floating point, for kernels that know only that; exact up to 2^24 (float32) or 2^53. */
export const inFloat = (x: Tensor, f: (x: Tensor) => Tensor): Tensor =>
  isFloat(x) ? f(x) : f(x.cast(small.has(x.dtype) ? 'float32' : 'float64')).cast(x.dtype);
