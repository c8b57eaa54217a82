import { nodesOf } from '../grad.ts';
import type { OpName } from '../rule.ts';
import { applyAll, type Node, Tensor } from '../tensor.ts';
import { cpu, cuda } from './cpu.ts';
import { type Keep, type Lowering, type Lowerings, plainMatmul } from './lowering.ts';
import { webgpu } from './webgpu.ts';

/** Where a program runs. `cpu` and `cuda` are Node's, `wasm` is the browser's CPU, `webgpu` is in both. */
export type Device = 'cpu' | 'cuda' | 'webgpu' | 'wasm';

/** Whether the device has 64-bit integers; where not, they are int32 in the model. */
export const hasInt64 = (device: Device): boolean => device !== 'webgpu';

/** What every device takes, of whichever ONNX Runtime will run the model: nodes of ONNX itself. */
const any: Lowerings = { matmul: plainMatmul };
const lowerings: Record<Device | 'any', Lowerings> = { any, cpu, wasm: cpu, cuda, webgpu };

/** The graph in the ops that `device` has good kernels for: the one place where devices differ. */
export function lower<Name extends string>(
  outputs: Record<Name, Tensor>,
  device: Device | 'any',
): Record<Name, Tensor> {
  const table = lowerings[device] as { readonly [N in OpName]?: Lowering<unknown> };
  const to = new Map<Tensor, Tensor>();
  const final = new Set<Node>();
  const keep: Keep = (op, inputs, attrs) => {
    const made = applyAll(op, inputs.map(settle), attrs);
    final.add(made[0]!.node);
    return made;
  };
  const settle = (t: Tensor): Tensor => {
    if (final.has(t.node)) return t;
    if (!to.has(t)) visit(t.node);
    return to.get(t)!;
  };
  const visit = (node: Node): void => {
    const inputs = node.inputs.map(settle);
    const lowered = table[node.op]?.(inputs, node.attrs, keep);
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
  // An output may become an Identity (of an input, a weight, another output), which WebGPU lacks for bool.
  const renamed = (t: Tensor) =>
    device === 'webgpu' && t.dtype === 'bool' ? keep('not', keep('not', [t], {}), {})[0]! : t;
  return Object.fromEntries(entries.map(([name, t]) => [name, renamed(to.get(t)!)])) as Record<Name, Tensor>;
}
