import { mul } from '../ops/elementwise.ts';
import { matmul } from '../ops/linear.ts';
import { transpose } from '../ops/shape.ts';
import type { OpAttrs, OpName } from '../rule.ts';
import type { Tensor } from '../tensor.ts';

/** Applies an op that is not lowered again. */
export type Keep = <N extends OpName>(op: N, inputs: readonly Tensor[], attrs: OpAttrs[N]) => Tensor[];

/**
 * What an op becomes on a device, written in ops again, which are lowered in turn; undefined where its own emission
 * serves.
 */
export type Lowering<A> = (
  inputs: readonly Tensor[],
  attrs: A,
  keep: Keep,
) => Tensor | readonly Tensor[] | undefined;
export type Lowerings = { readonly [N in OpName]?: Lowering<OpAttrs[N]> };

/** The flags of a product as nodes of their own. */
export const plainMatmul: Lowering<OpAttrs['matmul']> = ([a, b], { transA, transB, alpha }) =>
  transA || transB || alpha !== 1
    ? mul(matmul(transA ? transpose(a!) : a!, transB ? transpose(b!) : b!), alpha)
    : undefined;
