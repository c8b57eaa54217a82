import { isFloat, sameShape, show } from './ops/common.ts';
import { add, rules } from './ops/index.ts';
import { expand } from './ops/shape.ts';
import { nonDifferentiable } from './rule.ts';
import { constant, type Node, type Tensor } from './tensor.ts';

export interface GradOptions {
  /** Gradient of what is minimised with respect to `loss`; needed where `loss` is not a scalar. */
  seed?: Tensor;
  /** What to do with tensors that `loss` does not depend on: refuse (default), or give zeros. */
  unused?: 'error' | 'zero';
}

/** The nodes that `outputs` are computed from, in an order in which inputs come before their readers. */
export function nodesOf(outputs: readonly Tensor[]): Node[] {
  const seen = new Set<Node>();
  const stack = outputs.map((t) => t.node);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const t of node.inputs) stack.push(t.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/**
 * Gradients of a scalar `loss` with respect to each of `wrt`: symbolic tensors of the same shapes, which can be
 * differentiated again. The walk visits only nodes between `wrt` and `loss`, so frozen parts cost nothing.
 */
export function grad(loss: Tensor, wrt: readonly Tensor[], options: GradOptions = {}): Tensor[] {
  const { seed = expand(constant(1, loss.dtype), loss.shape), unused = 'error' } = options;
  if (!options.seed && loss.size !== 1) {
    throw new Error(`grad: the loss must be a scalar, or give a seed (got ${show(loss)})`);
  }
  if (!sameShape(seed.shape, loss.shape)) {
    throw new Error(`grad: the seed ${show(seed)} must have the shape of the loss ${show(loss)}`);
  }
  const wanted = new Set(wrt);
  const nodes = nodesOf([loss]);
  const onPath = new Set<Node>();
  const leads = (t: Tensor) => wanted.has(t) || onPath.has(t.node);
  for (const node of nodes) {
    if (rules[node.op].grad !== nonDifferentiable && node.inputs.some(leads)) onPath.add(node);
  }

  const gradients = new Map<Tensor, Tensor>([[loss, seed]]);
  for (const node of nodes.reverse()) {
    const rule = rules[node.op].grad;
    if (!onPath.has(node) || rule === nonDifferentiable) continue;
    const g = node.outputs.map((t) => gradients.get(t));
    if (g.every((t) => t === undefined)) continue;
    const needs = node.inputs.map((t) => leads(t) && isFloat(t));
    rule(g, node, node.attrs, needs).forEach((d, i) => {
      const t = node.inputs[i]!;
      if (!d || !needs[i]) return;
      const sum = gradients.get(t);
      gradients.set(t, sum ? add(sum, d) : d);
    });
  }

  return wrt.map((t, i) => {
    const d = gradients.get(t);
    if (d) return d;
    if (unused === 'zero') return expand(constant(0, t.dtype), t.shape);
    const name =
      t.node.op === 'input' ? `"${(t.node as Node<'input'>).attrs.name}"` : `number ${i}, ${show(t)},`;
    throw new Error(`grad: the loss does not depend on ${name} (pass { unused: 'zero' } if that is meant)`);
  });
}
