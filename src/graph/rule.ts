import type { DType, HostTensor, Shape, Weight } from './host.ts';
import type { Node, Tensor } from './tensor.ts';

/** The attributes of every op. A name added here must get a rule in the table of `ops/index.ts`, or nothing compiles. */
export interface OpAttrs {
  // leaves
  input: { name: string; shape: Shape; dtype: DType };
  constant: { value: HostTensor };
  weight: { weight: Weight };
  // elementwise, with NumPy broadcasting
  add: None;
  sub: None;
  mul: None;
  div: None;
  pow: None;
  maximum: None;
  minimum: None;
  equal: None;
  less: None;
  lessEqual: None;
  and: None;
  or: None;
  not: None;
  where: None;
  neg: None;
  exp: None;
  log: None;
  sqrt: None;
  reciprocal: None;
  abs: None;
  sign: None;
  floor: None;
  ceil: None;
  round: None;
  sin: None;
  cos: None;
  tan: None;
  asin: None;
  acos: None;
  atan: None;
  sinh: None;
  cosh: None;
  tanh: None;
  asinh: None;
  acosh: None;
  atanh: None;
  erf: None;
  sigmoid: None;
  softplus: None;
  relu: None;
  gelu: { approximate: 'none' | 'tanh' };
  silu: { alpha: number };
  cast: { to: DType };
  stopGradient: None;
  checkpoint: { results: number };
  custom: { gradient: CustomGradient };
  alias: None;
  // reductions
  sum: Reduce;
  mean: Reduce;
  max: Reduce;
  min: Reduce;
  argMax: { axis: number };
  cumSum: { axis: number; reverse: boolean };
  topK: { k: number; axis: number; largest: boolean };
  // linear
  matmul: { transA: boolean; transB: boolean; alpha: number };
  conv: Conv;
  maxPool: Window & { kernel: readonly number[] };
  // normalisation
  softmax: { axis: number };
  logSoftmax: { axis: number };
  layerNorm: { axis: number; eps: number };
  // shape
  reshape: { shape: Shape };
  transpose: { perm: readonly number[] };
  expand: { shape: Shape };
  slice: { starts: readonly number[]; ends: readonly number[]; steps?: readonly number[] };
  pad: { before: readonly number[]; after: readonly number[]; value: number };
  concat: { axis: number };
  // indexing
  gather: { axis: number };
  gatherElements: { axis: number };
  scatter: { axis: number; reduction: 'none' | 'add' | 'max' | 'min' };
  // ops of imported models that have no rule of their own
  onnx: Foreign;
}
/**
 * From the gradient of a value to those of the tensors that it was made of; undefined for none. `needs[i]` says whether
 * tensor i leads to anything that is differentiated.
 */
export type CustomGradient = (
  g: Tensor,
  inputs: readonly Tensor[],
  needs: readonly boolean[],
) => readonly (Tensor | undefined)[];
export type None = Record<never, never>;
/** Axes are sorted and non-negative; reduced axes stay as size 1 (the function drops them with a reshape). */
export interface Reduce {
  axes: readonly number[];
}
/** How a window slides: one entry per spatial axis; padding before and after may differ. */
export interface Window {
  strides: readonly number[];
  before: readonly number[];
  after: readonly number[];
  dilations: readonly number[];
}
export interface Conv extends Window {
  groups: number;
}
/** An ONNX op as it stands. `place` names it where a gradient through it is asked for. */
export interface Foreign {
  type: string;
  domain: string;
  attrs: Record<string, OnnxAttr>;
  outputs: readonly TensorType[];
  place: string;
}
export type OpName = keyof OpAttrs;

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Why an op has no gradient: its output is discrete or constant almost everywhere, or it has no inputs. */
export const nonDifferentiable = 'nonDifferentiable';

/**
 * Gradients with respect to each input, given the gradients `g` of each output (undefined where nothing flows).
 * Return undefined for an input that receives nothing. Rules are written in ops, so gradients differentiate again.
 * `needs[i]` says whether input i leads to anything that is differentiated: what it does not need may be left out.
 */
export type GradRule<A> = (
  g: readonly (Tensor | undefined)[],
  node: Node,
  attrs: A,
  needs: readonly boolean[],
) => (Tensor | undefined)[];

/** Writes ONNX nodes. Names are those of ONNX values. */
export interface Emitter {
  /** Adds a node and returns the names of its outputs. */
  node(
    type: string,
    inputs: readonly string[],
    attrs?: Record<string, OnnxAttr>,
    options?: { outputs?: number; domain?: string },
  ): string[];
  /** A small constant as an initializer. */
  constant(value: HostTensor): string;
  /** A one-dimensional int64 constant (shapes, axes). */
  ints(values: readonly number[]): string;
  /** A constant scalar of `dtype`. */
  scalar(value: number, dtype: DType): string;
  leaf(node: Node): string;
  /** Whether anything reads this output: what nothing reads need not be computed. */
  used(t: Tensor): boolean;
}
export type OnnxAttr = number | string | readonly number[] | { float: number };

export interface OpRule<A> {
  /** Output types; throws an error that names the shapes when the inputs do not fit. */
  type(inputs: readonly Tensor[], attrs: A): TensorType | TensorType[];
  grad: GradRule<A> | typeof nonDifferentiable;
  emit(e: Emitter, inputs: readonly string[], attrs: A, node: Node): string | string[];
}
export type Rules<N extends OpName = OpName> = { [K in N]: OpRule<OpAttrs[K]> };
