import { nodesOf } from '../grad.ts';
import { mul } from '../ops/elementwise.ts';
import { matmul } from '../ops/linear.ts';
import { transpose } from '../ops/shape.ts';
import type { OpAttrs, OpName } from '../rule.ts';
import { applyAll, type Node, Tensor } from '../tensor.ts';

/** Where a program runs. `cpu` and `cuda` are Node's, `wasm` is the browser's CPU, `webgpu` is in both. */
export type Device = 'cpu' | 'cuda' | 'webgpu' | 'wasm';

/**
 * What an op becomes on a device, written in ops again; undefined where its own emission serves. What it is made of
 * is lowered in turn.
 */
type Lowering<A> = (inputs: readonly Tensor[], attrs: A) => Tensor | readonly Tensor[] | undefined;
type Lowerings = { readonly [N in OpName]?: Lowering<OpAttrs[N]> };

/** The flags of a product as nodes of their own. */
const plainMatmul: Lowering<OpAttrs['matmul']> = ([a, b], { transA, transB, alpha }) =>
  transA || transB || alpha !== 1
    ? mul(matmul(transA ? transpose(a!) : a!, transB ? transpose(b!) : b!), alpha)
    : undefined;

/** FusedMatMul, which takes the flags, has a float32 kernel only. */
const fusedMatmul: Lowering<OpAttrs['matmul']> = (inputs, attrs) =>
  inputs[0]!.dtype === 'float32' ? undefined : plainMatmul(inputs, attrs);

const cpu: Lowerings = { matmul: fusedMatmul };
const webgpu: Lowerings = { matmul: plainMatmul };

const lowerings: Record<Device, Lowerings> = { cpu, wasm: cpu, cuda: cpu, webgpu };

/** The graph in the ops that `device` has good kernels for: the one place where devices differ. */
export function lower<Name extends string>(
  outputs: Record<Name, Tensor>,
  device: Device,
): Record<Name, Tensor> {
  const table = lowerings[device] as { readonly [N in OpName]?: Lowering<unknown> };
  const to = new Map<Tensor, Tensor>();
  const final = new Set<Node>();
  const settle = (t: Tensor): Tensor => {
    if (final.has(t.node)) return t;
    if (!to.has(t)) visit(t.node);
    return to.get(t)!;
  };
  const visit = (node: Node): void => {
    const inputs = node.inputs.map(settle);
    const lowered = table[node.op]?.(inputs, node.attrs);
    let made: readonly Tensor[];
    if (lowered) {
      made = (lowered instanceof Tensor ? [lowered] : lowered).map(settle);
    } else {
      const same = inputs.every((t, i) => t === node.inputs[i]);
      made = same ? node.outputs : applyAll(node.op, inputs, node.attrs);
      final.add(made[0]!.node);
    }
    node.outputs.forEach((t, i) => {
      to.set(t, made[i]!);
    });
  };
  const entries = Object.entries(outputs) as [Name, Tensor][];
  for (const node of nodesOf(entries.map(([, t]) => t))) visit(node);
  return Object.fromEntries(entries.map(([name, t]) => [name, to.get(t)!])) as Record<Name, Tensor>;
}
