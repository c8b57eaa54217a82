import { backward } from '../grad.ts';
import type { Rules } from '../rule.ts';
import { apply, applyAll, constant, type Node, Tensor } from '../tensor.ts';
import { isFloat } from './common.ts';

export const checkpointRules: Rules<'checkpoint' | 'alias'> = {
  /** Inputs: the results, then all that they were computed from. Passes the results on; its gradient recomputes them. */
  checkpoint: {
    type: (inputs, { results }) => inputs.slice(0, results).map(({ dtype, shape }) => ({ dtype, shape })),
    grad: (g, node, { results }) => {
      const sources = node.inputs.slice(results);
      const later = g.find((d) => d !== undefined)!;
      // Fresh names, so that what is found is the part of the gradient that goes through this piece alone.
      const again = sources.map((t) => apply('alias', isLeaf(t.node) ? [t] : [t, later], {}));
      const ys = replay(node.inputs.slice(0, results), new Map(sources.map((t, i) => [t, again[i]!])));
      const used = ys.filter((_, i) => g[i]);
      const seeds = g.filter((d) => d !== undefined);
      return [...ys.map(() => undefined), ...backward(used, seeds, again)];
    },
    emit: (_e, inputs, { results }) => inputs.slice(0, results),
  },
  /**
   * The same value as another tensor. A second input only says when: what is computed from the alias waits for it, and
   * is not merged with equal nodes that came before.
   */
  alias: {
    type: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
    grad: ([g]) => [g],
    emit: (e, [x, later], _attrs, node) => {
      if (!later || node.inputs[1]!.size === 0) return x!;
      // Either branch is x, so the condition decides nothing; it only has to come from `later`.
      const [flat] = e.node('Reshape', [later, e.ints([-1])]);
      const [first] = e.node('Gather', [flat!, e.scalar(0, 'int64')], { axis: 0 });
      const [flag] = e.node('Equal', [first!, first!]);
      return e.node('Where', [flag!, x!, x!]);
    },
  },
};

/** What is there from the start: it costs no memory to keep. */
const isLeaf = (node: Node): boolean => node.inputs.length === 0;

/** The tensors computed anew, with some of those that they come from replaced. */
function replay(tensors: readonly Tensor[], replaced: Map<Tensor, Tensor>): Tensor[] {
  const visit = (t: Tensor): Tensor => {
    const known = replaced.get(t);
    if (known) return known;
    const inputs = t.node.inputs.map(visit);
    const same = inputs.every((x, i) => x === t.node.inputs[i]);
    const outputs = same ? t.node.outputs : applyAll(t.node.op, inputs, t.node.attrs);
    t.node.outputs.forEach((old, i) => {
      replaced.set(old, outputs[i]!);
    });
    return replaced.get(t)!;
  };
  return tensors.map(visit);
}

/**
 * Makes a piece of a model cheap in memory: its intermediate values are not kept for the backward pass but computed
 * again from its inputs. What `fn` captures (weights, masks) gets its gradients as usual.
 *
 *     for (const block of blocks) x = checkpoint((x: Tensor) => encoderLayer(block, x))(x);
 */
export function checkpoint<A extends readonly Tensor[], R extends Tensor | readonly Tensor[]>(
  fn: (...xs: A) => R,
): (...xs: A) => R {
  return (...xs) => {
    // Ids grow: what was there before the call has a smaller one.
    const start = constant(0).node.id;
    const result = fn(...xs);
    const ys: readonly Tensor[] = result instanceof Tensor ? [result] : result;
    const sources = new Set<Tensor>(xs);
    const seen = new Set<Tensor>();
    const visit = (t: Tensor): void => {
      if (seen.has(t) || sources.has(t)) return;
      seen.add(t);
      if (t.node.id < start || t.node.op === 'input') sources.add(t);
      else t.node.inputs.forEach(visit);
    };
    ys.forEach(visit);
    const inputs = [...ys, ...[...sources].filter(isFloat)];
    const outputs = applyAll('checkpoint', inputs, { results: ys.length });
    return (result instanceof Tensor ? outputs[0]! : outputs) as R;
  };
}
