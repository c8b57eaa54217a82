import { nodesOf } from './grad.ts';
import { isFloat, sameShape } from './ops/common.ts';
import type { OpName } from './rule.ts';
import { apply, applyAll, constant, constantNumber, type Node, type Tensor } from './tensor.ts';

/**
 * The same values by fewer nodes: views of views become one view, double negation vanishes, and arithmetic with a
 * number spread over a whole array becomes arithmetic with the number. Done when a graph is
 * encoded and not while it is traced, so that `grad` still finds every tensor that it may be asked about.
 */
export function simplify<Name extends string>(outputs: Record<Name, Tensor>): Record<Name, Tensor> {
  const to = new Map<Tensor, Tensor>();
  const entries = Object.entries(outputs) as [Name, Tensor][];
  for (const node of nodesOf(entries.map(([, t]) => t))) {
    const inputs = node.inputs.map((t) => to.get(t)!);
    const short = shortcut(node, inputs[0]) ?? withoutSpread(node, inputs);
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

/** What arithmetic makes of two numbers, and the operands that change nothing: x + 0, x − 0, x·1, x / 1. */
const arithmetic: Partial<
  Record<OpName, { of: (a: number, b: number) => number; left?: number; right: number }>
> = {
  add: { of: (a, b) => a + b, left: 0, right: 0 },
  sub: { of: (a, b) => a - b, right: 0 },
  mul: { of: (a, b) => a * b, left: 1, right: 1 },
  div: { of: (a, b) => a / b, right: 1 },
};

/** Arithmetic of an array and an expanded number, such as the seed of a gradient. */
function withoutSpread(node: Node, inputs: readonly Tensor[]): Tensor | undefined {
  const rule = arithmetic[node.op];
  if (!rule || !isFloat(inputs[0]!)) return undefined;
  const { shape, dtype } = node.outputs[0]!;
  const [x, y] = inputs.map((t) => constantNumber(t.node.op === 'expand' ? t.node.inputs[0]! : t));
  if (x !== undefined && y !== undefined) {
    return apply('expand', [constant(rule.of(x, y), dtype)], { shape });
  }
  for (const [i, value] of [x, y].entries()) {
    const other = inputs[1 - i]!;
    if (value === undefined || !sameShape(other.shape, shape)) continue;
    if (value === (i === 0 ? rule.left : rule.right)) return other;
    if (inputs[i]!.rank === 0) continue;
    const number = constant(value, dtype);
    return apply(node.op, i === 0 ? [number, other] : [other, number], node.attrs);
  }
  return undefined;
}
