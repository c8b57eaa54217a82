import { isFloat, sameShape, show } from './ops/common.ts';
import { add, expand, rules, stopGradient } from './ops/index.ts';
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
  return backward([loss], [seed], wrt).map((d, i) => {
    const t = wrt[i]!;
    if (d) return d;
    if (unused === 'zero') return zerosLike(t);
    const name =
      t.node.op === 'input' ? `"${(t.node as Node<'input'>).attrs.name}"` : `number ${i}, ${show(t)},`;
    throw new Error(`grad: the loss does not depend on ${name} (pass { unused: 'zero' } if that is meant)`);
  });
}

/**
 * Vectors times the Jacobian of `outputs` with respect to `wrt`, in reverse: Σ seedᵢ·∂outputᵢ/∂wrt. Zeros where nothing
 * depends on a tensor.
 */
export const vjp = (outputs: readonly Tensor[], wrt: readonly Tensor[], seeds: readonly Tensor[]): Tensor[] =>
  backward(outputs, seeds, wrt).map((d, i) => d ?? zerosLike(wrt[i]!));

/**
 * The Jacobian of `outputs` with respect to `wrt`, times vectors: how the outputs move when the inputs move along
 * `tangents`. Reverse mode twice: the vector-Jacobian product is linear in its seed, and is differentiated by it.
 */
export function jvp(
  outputs: readonly Tensor[],
  wrt: readonly Tensor[],
  tangents: readonly Tensor[],
): Tensor[] {
  // What the seeds are does not matter; they must not be folded away.
  const seeds = outputs.map((y) => stopGradient(zerosLike(y)));
  return vjp(vjp(outputs, wrt, seeds), seeds, tangents);
}

/** The Hessian of a scalar `loss` with respect to `wrt`, times `vectors`, which are held constant. */
export const hvp = (loss: Tensor, wrt: readonly Tensor[], vectors: readonly Tensor[]): Tensor[] =>
  vjp(grad(loss, wrt, { unused: 'zero' }), wrt, vectors.map(stopGradient));

const zerosLike = (t: Tensor): Tensor => expand(constant(0, t.dtype), t.shape);

/** Gradients of Σ seedᵢ·outputᵢ; undefined for what the outputs do not depend on. */
export function backward(
  outputs: readonly Tensor[],
  seeds: readonly Tensor[],
  wrt: readonly Tensor[],
): (Tensor | undefined)[] {
  const wanted = new Set(wrt);
  const nodes = nodesOf(outputs);
  const onPath = new Set<Node>();
  const leads = (t: Tensor) => wanted.has(t) || onPath.has(t.node);
  for (const node of nodes) {
    if (rules[node.op].grad !== nonDifferentiable && node.inputs.some(leads)) onPath.add(node);
  }
  const gradients = new Map<Tensor, Tensor>();
  const accumulate = (t: Tensor, d: Tensor) => {
    const sum = gradients.get(t);
    gradients.set(t, sum ? add(sum, d) : d);
  };
  outputs.forEach((t, i) => {
    const seed = seeds[i]!;
    if (!sameShape(seed.shape, t.shape)) {
      throw new Error(`grad: the seed ${show(seed)} must have the shape of the loss ${show(t)}`);
    }
    accumulate(t, seed);
  });
  for (const node of nodes.reverse()) {
    const rule = rules[node.op].grad;
    if (!onPath.has(node) || rule === nonDifferentiable) continue;
    const g = node.outputs.map((t) => gradients.get(t));
    if (g.every((t) => t === undefined)) continue;
    const needs = node.inputs.map((t) => leads(t) && isFloat(t));
    rule(g, node, node.attrs, needs).forEach((d, i) => {
      if (d && needs[i]) accumulate(node.inputs[i]!, d);
    });
  }
  return wrt.map((t) => gradients.get(t));
}
