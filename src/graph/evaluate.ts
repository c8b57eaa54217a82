import { nodesOf } from './grad.ts';
import { emptyArray, type HostTensor, type Shape, sizeOf } from './host.ts';
import type { OpAttrs, OpName } from './rule.ts';
import { evaluate, indices, numbers, tensorOf } from './simplify/fold.ts';
import type { Node, Tensor } from './tensor.ts';

/**
 * The value of a constant expression, computed on the host: what exporters compute from shapes, masks, tables. Undefined
 * where it depends on an input or a weight, on an op that is not known here, or on integers that a double cannot hold.
 */
export function hostValue(t: Tensor): HostTensor | undefined {
  for (const node of nodesOf([t])) if (!known.has(node)) known.set(node, compute(node));
  return t.index === 0 ? known.get(t.node) : undefined;
}
/** Of first outputs. */
const known = new WeakMap<Node, HostTensor | undefined>();

function compute(node: Node): HostTensor | undefined {
  if (node.op === 'constant') return (node as Node<'constant'>).attrs.value;
  const inputs = node.inputs.flatMap((x) => (x.index === 0 && known.get(x.node)) || []);
  if (inputs.length === 0 || inputs.length < node.inputs.length) return undefined;
  const more = evaluators[node.op] as Evaluate<unknown> | undefined;
  if (more) return more(inputs, node.attrs, node);
  return evaluate(node.op, node.attrs, inputs, node.outputs[0]!, Number.POSITIVE_INFINITY);
}

type Evaluate<A> = (xs: readonly HostTensor[], attrs: A, node: Node) => HostTensor | undefined;

const reduction =
  (start: number, of: (a: number, b: number) => number, average = false) =>
  ([x]: readonly HostTensor[], { axes }: { axes: readonly number[] }, node: Node): HostTensor | undefined => {
    const { shape } = node.outputs[0]!;
    const out = new Array<number>(sizeOf(shape)).fill(start);
    const values = numbers(x!);
    const to = indices(x!.shape, shape, (c) => c.map((v, i) => (axes.includes(i) ? 0 : v)));
    for (const [i, at] of to.entries()) out[at] = of(out[at]!, values[i]!);
    return tensorOf(average ? out.map((v) => (v * out.length) / values.length) : out, x!.dtype, shape);
  };

/** Flat positions in `shape` that indices along `axis` name, as ONNX's GatherElements counts them. */
function along(shape: Shape, at: HostTensor, axis: number): number[] {
  const values = numbers(at).map((v) => (v < 0 ? v + shape[axis]! : v));
  let next = 0;
  return indices(at.shape, shape, (c) => c.with(axis, values[next++]!));
}

/** Ops beyond those that simplification folds. */
const evaluators: { [K in OpName]?: Evaluate<OpAttrs[K]> } = {
  stopGradient: ([x]) => x,
  sum: reduction(0, (a, b) => a + b),
  mean: reduction(0, (a, b) => a + b, true),
  max: reduction(Number.NEGATIVE_INFINITY, Math.max),
  min: reduction(Number.POSITIVE_INFINITY, Math.min),
  cumSum: ([x], { axis, reverse }) => {
    const values = numbers(x!);
    const n = x!.shape[axis]!;
    const step = sizeOf(x!.shape.slice(axis + 1));
    for (const start of indices(x!.shape.with(axis, 1), x!.shape, (c) => c)) {
      for (let k = 1; k < n; k++) {
        const [from, to] = reverse ? [n - k, n - k - 1] : [k - 1, k];
        values[start + to * step]! += values[start + from * step]!;
      }
    }
    return tensorOf(values, x!.dtype, x!.shape);
  },
  gatherElements: ([x, at], { axis }) => {
    const data = emptyArray(x!.dtype, at!.data.length);
    for (const [i, from] of along(x!.shape, at!, axis).entries()) data[i] = x!.data[from]!;
    return { dtype: x!.dtype, shape: at!.shape, data } as HostTensor;
  },
  scatter: ([x, at, updates], { axis, reduction }) => {
    const out = numbers(x!);
    const values = numbers(updates!);
    for (const [i, to] of along(x!.shape, at!, axis).entries()) {
      out[to] = values[i]! + (reduction === 'add' ? out[to]! : 0);
    }
    return tensorOf(out, x!.dtype, x!.shape);
  },
};
