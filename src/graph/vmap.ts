import { grad, nodesOf } from './grad.ts';
import { i64, type Shape } from './host.ts';
import * as ops from './ops/index.ts';
import type { OpAttrs, OpName } from './rule.ts';
import { applyAll, constant, type Node, Tensor } from './tensor.ts';

/** The operands of one node: with a batch axis in front where they depend on the example, else as they are. */
interface Batch<N extends OpName> {
  readonly n: number;
  readonly node: Node<N>;
  readonly attrs: OpAttrs[N];
  /** Operand i, and whether it is batched. */
  readonly at: (i: number) => Tensor;
  readonly batched: (i: number) => boolean;
  /** Operand i with a batch axis, whether or not it depends on the example. */
  readonly full: (i: number) => Tensor;
}
type BatchRule<N extends OpName> = (b: Batch<N>) => Tensor | Tensor[];

const one = <N extends OpName>(op: N, inputs: readonly Tensor[], attrs: OpAttrs[N]): Tensor[] =>
  applyAll(op, inputs, attrs);
const shifted = (axes: readonly number[]): number[] => axes.map((a) => a + 1);

/** Elementwise ops align their operands from the right, so the batch axis needs ones behind it. */
function aligned(b: Batch<OpName>, rank: number): Tensor[] {
  return b.node.inputs.map((x, i) => {
    const t = b.at(i);
    return b.batched(i)
      ? ops.reshape(t, [b.n, ...Array<number>(Math.max(0, rank - x.rank)).fill(1), ...x.shape])
      : t;
  });
}
/** The rule of an op along one axis, all of whose operands have the same rank. */
const alongAxis =
  <
    N extends
      | 'argMax'
      | 'cumSum'
      | 'topK'
      | 'softmax'
      | 'logSoftmax'
      | 'concat'
      | 'gatherElements'
      | 'scatter',
  >(
    op: N,
  ): BatchRule<N> =>
  ({ node, attrs, full }) =>
    one(
      op,
      node.inputs.map((_, i) => full(i)),
      { ...attrs, axis: attrs.axis + 1 },
    );
const overAxes =
  <N extends 'sum' | 'mean' | 'max' | 'min'>(op: N): BatchRule<N> =>
  ({ at, attrs }) =>
    one(op, [at(0)], { axes: shifted(attrs.axes) } as OpAttrs[N]);

/** [N, B, …] ↔ [N·B, …] */
const folded = (x: Tensor): Tensor => ops.flatten(x, 0, 1);
const unfolded = (x: Tensor, n: number): Tensor => ops.reshape(x, [n, x.dim(0) / n, ...x.shape.slice(1)]);

const rules: { [N in OpName]?: BatchRule<N> } = {
  sum: overAxes('sum'),
  mean: overAxes('mean'),
  max: overAxes('max'),
  min: overAxes('min'),
  argMax: alongAxis('argMax'),
  cumSum: alongAxis('cumSum'),
  topK: alongAxis('topK'),
  softmax: alongAxis('softmax'),
  logSoftmax: alongAxis('logSoftmax'),
  concat: alongAxis('concat'),
  gatherElements: alongAxis('gatherElements'),
  scatter: alongAxis('scatter'),
  reshape: ({ n, at, attrs }) => ops.reshape(at(0), [n, ...attrs.shape]),
  transpose: ({ at, attrs }) => ops.transpose(at(0), [0, ...shifted(attrs.perm)]),
  expand: ({ n, attrs, ...b }) =>
    ops.expand(aligned({ n, attrs, ...b } as Batch<OpName>, attrs.shape.length)[0]!, [n, ...attrs.shape]),
  slice: ({ n, at, attrs: { starts, ends, steps } }) =>
    one('slice', [at(0)], {
      starts: [0, ...starts],
      ends: [n, ...ends],
      ...(steps ? { steps: [1, ...steps] } : {}),
    }),
  pad: ({ at, attrs: { before, after, value } }) => ops.pad(at(0), [0, ...before], [0, ...after], value),
  matmul: ({ node, attrs, ...b }) =>
    one('matmul', aligned({ node, attrs, ...b } as Batch<OpName>, node.outputs[0]!.rank), attrs),
  layerNorm: ({ node, attrs, at, batched }) => {
    const next = { ...attrs, axis: attrs.axis + 1 };
    if (!batched(1) && !batched(2)) return one('layerNorm', [at(0), at(1), at(2)], next);
    const { shape, dtype } = node.inputs[1]!;
    const plain = (value: number) => ops.expand(constant(value, dtype), shape);
    const [unit, ...statistics] = one('layerNorm', [at(0), plain(1), plain(0)], next);
    const own = (i: number) =>
      batched(i) ? ops.reshape(at(i), [at(i).dim(0), ...Array<number>(attrs.axis).fill(1), ...shape]) : at(i);
    return [ops.add(ops.mul(unit!, own(1)), own(2)), ...statistics];
  },
  conv: ({ n, node, attrs, at, batched, full }) => {
    const bias = node.inputs.length > 2;
    if (!batched(1)) {
      const y = unfolded(one('conv', [folded(full(0)), at(1)], attrs)[0]!, n);
      return bias ? ops.add(y, ops.reshape(at(2), biasShape(batched(2) ? n : 1, y))) : y;
    }
    // Each example has its own weights: they are groups of one convolution over all examples' channels.
    const x = ops.flatten(ops.transpose(full(0), swapped(node.inputs[0]!.rank + 1)), 1, 2);
    const y = one('conv', [x, folded(at(1))], { ...attrs, groups: attrs.groups * n })[0]!;
    const split = ops.reshape(y, [y.dim(0), n, y.dim(1) / n, ...y.shape.slice(2)]);
    const own = ops.transpose(split, swapped(split.rank));
    return bias ? ops.add(own, ops.reshape(at(2), biasShape(batched(2) ? n : 1, own))) : own;
  },
  maxPool: ({ n, node, at, attrs }) => {
    const [y, places] = one('maxPool', [folded(at(0))], attrs) as [Tensor, Tensor];
    // Places count from the first element of the whole input.
    const rank = y.rank + 1;
    const start = constant(
      i64(
        Array.from({ length: n }, (_, i) => i * node.inputs[0]!.size),
        front(n, rank),
      ),
    );
    return [unfolded(y, n), ops.sub(unfolded(places, n), start)];
  },
  gather: ({ n, node, attrs: { axis }, at, batched }) => {
    if (!batched(1)) return one('gather', [at(0), at(1)], { axis: axis + 1 });
    const x = node.inputs[0]!;
    const k = node.inputs[1]!.rank;
    const length = x.shape[axis]!;
    let ids = ops.cast(at(1), 'int64');
    let table = ops.moveAxis(at(0), axis, 0);
    if (batched(0)) {
      // One table of all examples' rows: example i's begin at row i·length.
      table = folded(ops.moveAxis(at(0), axis + 1, 1));
      const start = constant(
        i64(
          Array.from({ length: n }, (_, i) => i * length),
          front(n, k + 1),
        ),
      );
      ids = ops.add(ops.where(ops.less(ids, 0), ops.add(ids, length), ids), start);
    }
    // [N, …ids, …rest]: the axes before the gathered one go back before the ids.
    const rows = ops.gather(table, ids, 0);
    const before = Array.from({ length: axis }, (_, i) => 1 + k + i);
    const middle = Array.from({ length: k }, (_, i) => 1 + i);
    const after = Array.from({ length: x.rank - 1 - axis }, (_, i) => 1 + k + axis + i);
    return ops.transpose(rows, [0, ...before, ...middle, ...after]);
  },
  checkpoint: ({ attrs, full }) => Array.from({ length: attrs.results }, (_, i) => full(i)),
  alias: ({ at }) => at(0),
  custom: ({ node, attrs, full }) => {
    const [y, ...xs] = node.inputs.map((_, i) => full(i)) as [Tensor, ...Tensor[]];
    return ops.customGradient(y, xs, (g, inputs, needs) => {
      let at: number[] = [];
      const made = vmap((d: Tensor, ...examples: Tensor[]) => {
        const gradients = attrs.gradient(d, examples, needs);
        at = [...gradients.keys()].filter((i) => gradients[i]);
        return at.map((i) => gradients[i]!);
      })(g, ...inputs);
      return inputs.map((_, i) => made[at.indexOf(i)]);
    });
  },
};

const swapped = (rank: number): number[] => [1, 0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)];
const front = (n: number, rank: number): Shape => [n, ...Array<number>(rank - 1).fill(1)];
const biasShape = (n: number, y: Tensor): Shape => [n, 1, y.dim(2), ...Array<number>(y.rank - 3).fill(1)];

/** Ops of one element at a time: their shape is that of their operands, broadcast. */
const elementwise = new Set<OpName>(
  (
    'add sub mul div pow maximum minimum equal less lessEqual and or not where neg exp log sqrt reciprocal abs sign ' +
    'floor ceil round sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf sigmoid softplus relu gelu silu ' +
    'cast stopGradient'
  ).split(' ') as OpName[],
);

/** What an op without a rule does: each example by itself. */
const unrolled = (b: Batch<OpName>): Tensor[] => {
  const each = Array.from({ length: b.n }, (_, k) =>
    one(
      b.node.op,
      b.node.inputs.map((_, i) => (b.batched(i) ? ops.squeeze(ops.slice(b.at(i), 0, k, k + 1), 0) : b.at(i))),
      b.attrs,
    ),
  );
  return b.node.outputs.map((_, i) => ops.stack(each.map((outputs) => outputs[i]!)));
};

/**
 * Turns a function of one example into a function of batches: every argument has a first axis of the same length, and
 * so has every result. `fn` is traced once; each of its ops becomes one op over the batch (an op that has no rule for
 * that is unrolled). What `fn` captures is shared by all examples. `fn` may take gradients:
 *
 *     const perExample = vmap((x: Tensor, y: Tensor) => grad(loss(w, x, y), [w])[0]!)(xs, ys); // [N, ...w.shape]
 */
export function vmap<A extends readonly Tensor[], R extends Tensor | readonly Tensor[]>(
  fn: (...example: A) => R,
): (...xs: A) => R {
  return (...xs) => {
    const n = xs[0]?.shape[0];
    if (n === undefined || xs.some((x) => x.shape[0] !== n)) {
      throw ops.opError('vmap', 'every argument needs a first axis of the same length', xs);
    }
    const examples = xs.map((x) => example(x)) as unknown as A;
    const result = fn(...examples);
    const ys: readonly Tensor[] = result instanceof Tensor ? [result] : result;
    const known = new Map<Tensor, Tensor>(examples.map((t, i) => [t, xs[i]!]));
    const spread = (t: Tensor) => known.get(t) ?? ops.expand(ops.unsqueeze(t, 0), [n, ...t.shape]);
    for (const node of nodesOf(ys)) {
      if (!node.inputs.some((t) => known.has(t))) continue;
      const b: Batch<OpName> = {
        n,
        node,
        attrs: node.attrs,
        at: (i) => known.get(node.inputs[i]!) ?? node.inputs[i]!,
        batched: (i) => known.has(node.inputs[i]!),
        full: (i) => spread(node.inputs[i]!),
      };
      const rule = rules[node.op] as BatchRule<OpName> | undefined;
      const made = rule
        ? rule(b)
        : elementwise.has(node.op)
          ? one(node.op, aligned(b, node.outputs[0]!.rank), node.attrs)
          : unrolled(b);
      const outputs = made instanceof Tensor ? [made] : made;
      node.outputs.forEach((t, i) => {
        known.set(t, outputs[i]!);
      });
    }
    const batch = ys.map(spread);
    return (result instanceof Tensor ? batch[0]! : batch) as R;
  };
}

/** A stand-in with the type of one example; nothing ever reads its value. */
const example = (x: Tensor): Tensor =>
  one('input', [], { name: '%example', shape: x.shape.slice(1), dtype: x.dtype })[0]!;

/**
 * Gradients of each example's loss with respect to `wrt`, which all share: for each of `wrt`, [N, ...its shape].
 *
 *     const [dw] = perExampleGrad((x, y) => crossEntropy(model(w, x), y), [w])(xs, ys);
 */
export const perExampleGrad = <A extends readonly Tensor[]>(
  loss: (...example: A) => Tensor,
  wrt: readonly Tensor[],
): ((...xs: A) => readonly Tensor[]) =>
  vmap((...example: A): readonly Tensor[] => grad(loss(...example), wrt, { unused: 'zero' }));
