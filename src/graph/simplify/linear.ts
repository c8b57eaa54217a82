import { type Shape, sizeOf } from '../host.ts';
import { isFloat, sameShape } from '../ops/common.ts';
import { div, einsum, expand, matmul, mul, neg, reshape, sum } from '../ops/index.ts';
import type { Reduce } from '../rule.ts';
import { apply, type Node, type Tensor } from '../tensor.ts';
import { type Context, joinable, made, type Rewrite, type Rewrites, scaled } from './match.ts';

/** Whether a transposition swaps the last two axes and no others. */
const swapsLast = (perm: readonly number[]): boolean =>
  perm.length >= 2 && perm.every((p, i) => p === (i < perm.length - 2 ? i : 2 * perm.length - 3 - i));

/** Transpositions become flags, numbers become alpha, expanded batch axes broadcast by themselves. */
const operands: Rewrite<'matmul'> = ({ inputs: [a, b], outputs: [y] }, attrs) => {
  for (const [i, t] of [a!, b!].entries()) {
    const inputs = (other: Tensor) => (i === 0 ? [other, b!] : [a!, other]);
    const turned = made(t, 'transpose');
    if (turned && swapsLast(turned.attrs.perm)) {
      const flag = i === 0 ? { transA: !attrs.transA } : { transB: !attrs.transB };
      return apply('matmul', inputs(turned.inputs[0]!), { ...attrs, ...flag });
    }
    const inner = scaled(t);
    if (inner && joinable(t, inner[1] * attrs.alpha)) {
      return apply('matmul', inputs(inner[0]), { ...attrs, alpha: inner[1] * attrs.alpha });
    }
    const base = made(t, 'expand')?.inputs[0];
    if (base && base.rank >= 2 && sameShape(base.shape.slice(-2), t.shape.slice(-2))) {
      const product = apply('matmul', inputs(base), attrs);
      return expand(product, y!.shape);
    }
  }
  return undefined;
};

/** A product that only this op reads is scaled, or turned, as it is made. */
const scaledProduct: Rewrite<'mul' | 'neg' | 'div'> = ({ outputs: [y] }, _attrs, { single }) => {
  const outer = scaled(y);
  if (!outer || !single(outer[0])) return undefined;
  const [x, factor] = outer;
  const view = made(x, 'reshape');
  const product = made(view?.inputs[0] ?? x, 'matmul');
  if (!product || (view && !single(view.inputs[0]!))) return undefined;
  const alpha = product.attrs.alpha * factor;
  if (!joinable(x, alpha)) return undefined;
  return reshape(apply('matmul', product.inputs, { ...product.attrs, alpha }), x.shape);
};

const turnedProduct: Rewrite<'transpose'> = ({ inputs: [x] }, { perm }, { single }) => {
  const product = made(x, 'matmul');
  if (!product || !swapsLast(perm) || !single(x!)) return undefined;
  const [a, b] = product.inputs as [Tensor, Tensor];
  const { transA, transB, alpha } = product.attrs;
  return a.rank === b.rank ? matmul(b, a, { transA: !transB, transB: !transA, alpha }) : undefined;
};

/** Multiplications of a product of matrices [m, k]·[k, n]. */
const cost = (m: number, k: number, n: number): number => m * k * n;
const innerOf = ({ inputs: [a], attrs }: Node<'matmul'>): number => a!.dim(attrs.transA ? -2 : -1);

/**
 * (A·B)·C as A·(B·C) where all that read A·B are such products and together are cheaper so: the gradients of a low-rank
 * factor, which come through the gradient of the whole matrix.
 */
const reassociated: Rewrite<'matmul'> = (node, _attrs, context) => {
  for (const side of [0, 1] as const) {
    const inner = made(node.inputs[side], 'matmul');
    if (!inner || !pays(inner, context)) continue;
    // The inner product as this one reads it: M = P·Q, or its transpose Qᵀ·Pᵀ.
    const turned = side === 0 ? node.attrs.transA : node.attrs.transB;
    const [p, q] = inner.inputs as [Tensor, Tensor];
    const { transA: turnP, transB: turnQ } = inner.attrs;
    const [left, right] = turned
      ? [
          { x: q, turn: !turnQ },
          { x: p, turn: !turnP },
        ]
      : [
          { x: p, turn: turnP },
          { x: q, turn: turnQ },
        ];
    const alpha = node.attrs.alpha * inner.attrs.alpha;
    const other = node.inputs[1 - side]!;
    if (side === 0) {
      const first = matmul(right.x, other, { transA: right.turn, transB: node.attrs.transB });
      return matmul(left.x, first, { transA: left.turn, alpha });
    }
    const first = matmul(other, left.x, { transA: node.attrs.transA, transB: left.turn });
    return matmul(first, right.x, { transB: right.turn, alpha });
  }
  return undefined;
};

/** Whether the readers of `inner` [m, n] = P [m, k]·Q [k, n] are cheaper without it. */
function pays(inner: Node<'matmul'>, context: Context): boolean {
  const [y] = inner.outputs as [Tensor];
  const list = context.readers(y);
  if (!list || y.rank !== 2 || inner.inputs.some((t) => t.rank !== 2)) return false;
  const [m, n] = y.shape as [number, number];
  const k = innerOf(inner);
  let before = cost(m, k, n);
  let after = 0;
  for (const reader of list) {
    const [a, b] = reader.inputs as [Tensor, Tensor];
    const left = context.became(a, y);
    if (reader.op !== 'matmul' || a.rank !== 2 || b.rank !== 2 || left === context.became(b, y)) return false;
    const { attrs } = reader as Node<'matmul'>;
    const product = reader.outputs[0]!;
    const [rows, columns] = product.shape as [number, number];
    before += cost(rows, innerOf(reader as Node<'matmul'>), columns);
    const turned = left ? attrs.transA : attrs.transB;
    const [outer, far] = turned ? [n, m] : [m, n];
    // Left: (outer × k)·((k × far)·(far × columns)); right: ((rows × outer)·(outer × k))·(k × far).
    after += left
      ? cost(k, far, columns) + cost(outer, k, columns)
      : cost(rows, outer, k) + cost(rows, k, far);
  }
  return after < before;
}

const reducedShape = (shape: Shape, axes: readonly number[]): Shape =>
  shape.map((n, i) => (axes.includes(i) ? 1 : n));

/** Where `t` was reshaped only by axes of length 1: what it was, and its axes that became `axes`. */
function withoutUnits(t: Tensor, axes: readonly number[]): { x: Tensor; axes: number[] } | undefined {
  const x = made(t, 'reshape')?.inputs[0];
  const long = (shape: Shape) => shape.flatMap((n, i) => (n === 1 ? [] : [i]));
  const [before, after] = [long(x?.shape ?? []), long(t.shape)];
  if (!x || before.length !== after.length) return undefined;
  if (!before.every((axis, i) => x.shape[axis] === t.shape[after[i]!])) return undefined;
  return { x, axes: axes.map((axis) => before[after.indexOf(axis)]!) };
}

type Reduction = 'sum' | 'mean' | 'max' | 'min';

/** Reductions over axes of length 1, and of reductions. */
const reductions =
  <N extends Reduction>(op: N): Rewrite<N> =>
  ({ inputs: [x] }, attrs) => {
    const { axes }: Reduce = attrs;
    const long = axes.filter((a) => x!.shape[a] !== 1);
    if (long.length === 0) return x;
    if (long.length < axes.length) return apply<Reduction>(op, [x!], { axes: long });
    const inner = x!.node.op === op ? (x!.node as Node<Reduction>) : undefined;
    if (inner) {
      const union = [...new Set([...axes, ...inner.attrs.axes])].sort((a, b) => a - b);
      return apply<Reduction>(op, [inner.inputs[0]!], { axes: union });
    }
    const view = withoutUnits(x!, axes);
    if (view?.x.node.op === op) {
      const total = apply<Reduction>(op, [view.x], { axes: view.axes });
      return reshape(total, reducedShape(x!.shape, axes));
    }
    if (x!.node.op !== 'expand') return undefined;
    const base = aligned(x!.node.inputs[0]!, x!.rank);
    const count = sizeOf(axes.filter((a) => base.shape[a] === 1).map((a) => x!.shape[a]!));
    if (op === 'sum' && !isFloat(x!)) return undefined;
    const reduced = apply<Reduction>(op, [base], { axes });
    const total = op === 'sum' ? mul(reduced, count) : reduced;
    return expand(total, reducedShape(x!.shape, axes));
  };

/** `t` with as many axes as `rank`. */
const aligned = (t: Tensor, rank: number): Tensor =>
  t.rank === rank ? t : reshape(t, [...Array<number>(rank - t.rank).fill(1), ...t.shape]);

/** Factors that are equal along the reduced axes come out of the sum. */
const factors =
  <N extends 'sum' | 'mean'>(op: N): Rewrite<N> =>
  ({ inputs: [x] }, attrs) => {
    if (x!.dtype !== 'float32' && x!.dtype !== 'float64') return undefined;
    const { axes }: Reduce = attrs;
    const minus = made(x, 'neg');
    if (minus) return neg(apply<'sum' | 'mean'>(op, [minus.inputs[0]!], attrs));
    const product = made(x, 'mul');
    const quotient = made(x, 'div');
    const [a, b] = (product ?? quotient)?.inputs ?? [];
    if (!a || !b) return undefined;
    const constantAlong = (t: Tensor) => axes.every((i) => (t.shape[i - (x!.rank - t.rank)] ?? 1) === 1);
    const pairs = product
      ? [
          [a, b],
          [b, a],
        ]
      : [[a, b]];
    for (const [varies, factor] of pairs as [Tensor, Tensor][]) {
      const whole = axes.every((i) => varies.shape[i - (x!.rank - varies.rank)] === x!.shape[i]);
      if (!constantAlong(factor) || !whole) continue;
      const total = apply<'sum' | 'mean'>(op, [aligned(varies, x!.rank)], attrs);
      return product ? mul(total, factor) : div(total, factor);
    }
    return undefined;
  };

/** A sum of products in which each operand lacks an axis of the other is a product of matrices: nothing is spread out. */
const contraction: Rewrite<'sum'> = ({ inputs: [x], outputs: [y] }, { axes }, { single }) => {
  const product = made(x, 'mul');
  if (!product || !isFloat(x!) || !single(x!)) return undefined;
  const [a, b] = product.inputs.map((t) => aligned(t, x!.rank)) as [Tensor, Tensor];
  const lacks = (t: Tensor) => x!.shape.some((n, i) => n > 1 && t.shape[i] === 1);
  const reduced = axes.every((i) => a.shape[i] === b.shape[i]);
  if (!reduced || !lacks(a) || !lacks(b)) return undefined;
  const letters = x!.shape.map((_, i) => String.fromCharCode(97 + i));
  const term = (t: Tensor) => letters.filter((_, i) => t.shape[i] !== 1);
  const of = (t: Tensor) =>
    reshape(
      t,
      t.shape.filter((n) => n !== 1),
    );
  const [left, right] = [term(a), term(b)];
  const out = letters.filter((l, i) => !axes.includes(i) && (left.includes(l) || right.includes(l)));
  const equation = `${left.join('')},${right.join('')}->${out.join('')}`;
  return reshape(einsum(equation, of(a), of(b)), y!.shape);
};

/** The sum of an array padded with zeros along the summed axes. */
const ofPad: Rewrite<'sum'> = ({ inputs: [x] }, { axes }) => {
  const node = made(x, 'pad');
  if (node?.attrs.value !== 0) return undefined;
  const { before, after } = node.attrs;
  const inside = before.every(
    (b, i) => b >= 0 && after[i]! >= 0 && (axes.includes(i) || b + after[i]! === 0),
  );
  return inside ? sum(node.inputs[0]!, axes, true) : undefined;
};

export const linearRewrites: Rewrites = {
  matmul: [operands, reassociated],
  transpose: [turnedProduct],
  mul: [scaledProduct],
  neg: [scaledProduct],
  div: [scaledProduct],
  sum: [reductions('sum'), factors('sum'), ofPad, contraction],
  mean: [reductions('mean'), factors('mean')],
  max: [reductions('max')],
  min: [reductions('min')],
};
