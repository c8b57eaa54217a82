import { nodesOf } from './grad.ts';
import { sameShape } from './ops/common.ts';
import { apply, applyAll, type Node, type Tensor } from './tensor.ts';

/**
 * The same values by fewer nodes: views of views become one view, double negation vanishes. Done when a graph is
 * encoded and not while it is traced, so that `grad` still finds every tensor that it may be asked about.
 */
export function simplify<Name extends string>(outputs: Record<Name, Tensor>): Record<Name, Tensor> {
  const to = new Map<Tensor, Tensor>();
  const entries = Object.entries(outputs) as [Name, Tensor][];
  for (const node of nodesOf(entries.map(([, t]) => t))) {
    const inputs = node.inputs.map((t) => to.get(t)!);
    const short = shortcut(node, inputs[0]);
    if (short) {
      to.set(node.outputs[0]!, short);
      continue;
    }
    const same = inputs.every((t, i) => t === node.inputs[i]);
    const made = same ? node.outputs : applyAll(node.op, inputs, node.attrs);
    node.outputs.forEach((t, i) => {
      to.set(t, made[i]!);
    });
  }
  return Object.fromEntries(entries.map(([name, t]) => [name, to.get(t)!])) as Record<Name, Tensor>;
}

/** What `node` becomes when its first input is a node of the same kind. */
function shortcut(node: Node, x: Tensor | undefined): Tensor | undefined {
  if (!x || x.node.op !== node.op) return undefined;
  const base = x.node.inputs[0]!;
  if (node.op === 'neg') return base;
  if (node.op === 'reshape') {
    const { shape } = (node as Node<'reshape'>).attrs;
    return sameShape(shape, base.shape) ? base : apply('reshape', [base], { shape });
  }
  if (node.op === 'transpose') {
    const inner = (x.node as Node<'transpose'>).attrs.perm;
    const perm = (node as Node<'transpose'>).attrs.perm.map((p) => inner[p]!);
    return perm.every((p, i) => p === i) ? base : apply('transpose', [base], { perm });
  }
  return undefined;
}
