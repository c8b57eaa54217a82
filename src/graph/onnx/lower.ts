import { nodesOf } from '../grad.ts';
import { i64 } from '../host.ts';
import { mul } from '../ops/elementwise.ts';
import { gather } from '../ops/gather.ts';
import { matmul } from '../ops/linear.ts';
import { expand, reshape, transpose } from '../ops/shape.ts';
import type { OpAttrs, OpName } from '../rule.ts';
import { applyAll, constant, type Node, Tensor } from '../tensor.ts';

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

/**
 * The CPU's Expand copies piece by piece, and pieces of a few numbers take four times as long as looking each of them up:
 * [..., n, 1] → [..., n, k], as in the gradient of a mean over small windows.
 */
const expandShort: Lowering<OpAttrs['expand']> = ([x], { shape }) => {
  const last = shape.length - 1;
  const [rows, columns] = [x!.shape[x!.rank - 2] ?? 1, shape[last] ?? 1];
  if (x!.rank !== shape.length || x!.shape[last] !== 1 || columns === 1 || columns >= 16 || rows === 1) {
    return undefined;
  }
  const source = i64(Array.from({ length: rows * columns }, (_, i) => Math.floor(i / columns)));
  const outer = x!.shape.slice(0, -2);
  const wide = gather(reshape(x!, [...outer, rows]), constant(source), outer.length);
  return expand(reshape(wide, [...outer, rows, columns]), shape);
};

const cpu: Lowerings = { matmul: fusedMatmul, expand: expandShort };
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
