import { type HostTensor, type Shape, sizeOf } from '../host.ts';
import { expand } from '../ops/index.ts';
import type { OpAttrs, OpName } from '../rule.ts';
import { constant, constantNumber, type Node, type Tensor } from '../tensor.ts';

/** What a rewrite may ask about the graph around a tensor. */
export interface Context {
  /** Whether a single node reads the tensor, so that it is gone once that node no longer does. */
  readonly single: (t: Tensor) => boolean;
  /** The nodes that read the tensor; undefined where that is not known or it is a result. */
  readonly readers: (t: Tensor) => readonly Node[] | undefined;
  /** Whether an operand of such a reader has become `t`. */
  readonly became: (operand: Tensor, t: Tensor) => boolean;
}

/** What an application of an op may become: a tensor of the same values, or undefined where nothing is gained. */
export type Rewrite<N extends OpName> = (
  node: Node<N>,
  attrs: OpAttrs[N],
  context: Context,
) => Tensor | undefined;
export type Rewrites = { [K in OpName]?: readonly Rewrite<K>[] };

/** The node that made `t`, if it is an `op`. */
export const made = <N extends OpName>(t: Tensor | undefined, op: N): Node<N> | undefined =>
  t?.node.op === op ? (t.node as unknown as Node<N>) : undefined;

/** `t` before it was expanded. */
export const unexpanded = (t: Tensor): Tensor => made(t, 'expand')?.inputs[0] ?? t;

/** The scalar that `t` holds in every place: a constant of one element, or one that is expanded. */
export function fillOf(t: Tensor): HostTensor | undefined {
  const value = made(unexpanded(t), 'constant')?.attrs.value;
  return value?.data.length === 1 ? { ...value, shape: [] } : undefined;
}
export const numberOf = (t: Tensor): number | undefined => constantNumber(unexpanded(t));

/** An array of one value. */
export const filled = (value: HostTensor, shape: Shape): Tensor =>
  sizeOf(shape) === 1 ? constant({ ...value, shape }) : expand(constant(value), shape);

/** Operands of a product with a number: [the other one, the number]. */
export function scaled(t: Tensor | undefined): [x: Tensor, factor: number] | undefined {
  if (!t) return undefined;
  const { op, inputs, outputs } = t.node;
  if (op === 'neg') return [inputs[0]!, -1];
  if (op !== 'mul' && op !== 'div') return undefined;
  const [a, b] = inputs as [Tensor, Tensor];
  const right = numberOf(b);
  const whole = (x: Tensor) => x.size === outputs[0]!.size && x.rank === outputs[0]!.rank;
  if (right !== undefined && whole(a)) return [a, op === 'mul' ? right : 1 / right];
  const left = op === 'mul' ? numberOf(a) : undefined;
  return left !== undefined && whole(b) ? [b, left] : undefined;
}

/**
 * Whether factors may be joined into this one. A product of two that leaves the range of float32 would turn values into
 * infinities or zeros; float16 is too narrow for any factor to move past a sum.
 */
export const joinable = (t: Tensor, factor: number): boolean => {
  const size = Math.abs(factor);
  return (t.dtype === 'float32' || t.dtype === 'float64') && size > 1e-30 && size < 1e30;
};
