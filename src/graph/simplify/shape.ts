import { type Shape, sizeOf } from '../host.ts';
import { sameShape } from '../ops/common.ts';
import { concat, expand, pad, reshape, transpose } from '../ops/index.ts';
import { apply, constant, type Node, type Tensor } from '../tensor.ts';
import { filled, fillOf, made, numberOf, type Rewrite, type Rewrites } from './match.ts';

/** Views of an array that one number fills are filled by it. */
const ofNumber: Rewrite<'reshape' | 'transpose' | 'slice'> = ({ inputs: [x], outputs: [y] }) => {
  const value = fillOf(x!);
  return value && filled(value, y!.shape);
};

const reshapes: Rewrite<'reshape'> = ({ inputs: [x] }, { shape }) => {
  if (sameShape(x!.shape, shape)) return x;
  const inner = made(x, 'reshape') ?? unmoved(x!);
  return inner && reshape(inner.inputs[0]!, shape);
};

/** A transposition that leaves the order of the elements as it is: only axes of length 1 change their place. */
function unmoved(x: Tensor) {
  const node = made(x, 'transpose');
  const long = node?.attrs.perm.filter((p) => node.inputs[0]!.shape[p] !== 1);
  return long?.every((p, i) => i === 0 || long[i - 1]! < p) ? node : undefined;
}

const transposes: Rewrite<'transpose'> = ({ inputs: [x], outputs: [y] }, { perm }) => {
  if (perm.every((p, i) => p === i)) return x;
  const inner = made(x, 'transpose');
  if (inner) {
    return transpose(
      inner.inputs[0]!,
      perm.map((p) => inner.attrs.perm[p]!),
    );
  }
  if (unmoved(y!)) return reshape(x!, y!.shape);
  const base = made(x, 'expand')?.inputs[0];
  return base?.rank === perm.length ? expand(transpose(base, perm), y!.shape) : undefined;
};

const expands: Rewrite<'expand'> = ({ inputs: [x] }, { shape }) => {
  if (sameShape(x!.shape, shape)) return x;
  const value = x!.rank > 0 || sizeOf(shape) === 1 ? fillOf(x!) : undefined;
  if (value) return filled(value, shape);
  const inner = made(x, 'expand');
  if (inner) return expand(inner.inputs[0]!, shape);
  // Leading axes of length 1 come by themselves.
  const view = made(x, 'reshape')?.inputs[0];
  const lead = view ? x!.rank - view.rank : 0;
  return lead > 0 && sameShape(x!.shape, [...Array<number>(lead).fill(1), ...view!.shape])
    ? expand(view!, shape)
    : undefined;
};

const add = (a: readonly number[], b: readonly number[]): number[] => a.map((n, i) => n + b[i]!);

const slices: Rewrite<'slice'> = ({ inputs: [x], outputs: [y] }, { starts, ends, steps }, { single }) => {
  if (steps?.some((s) => s !== 1)) return undefined;
  if (sameShape(x!.shape, y!.shape)) return x;
  const cut = (t: Tensor, from: readonly number[]) =>
    apply('slice', [t], { starts: from, ends: add(from, y!.shape) });
  const inner = made(x, 'slice');
  if (inner && !inner.attrs.steps?.some((s) => s !== 1)) {
    return cut(inner.inputs[0]!, add(inner.attrs.starts, starts));
  }
  const base = made(x, 'expand')?.inputs[0];
  if (base?.rank === x!.rank) {
    return expand(
      apply('slice', [base], {
        starts: starts.map((s, i) => (base.shape[i] === 1 ? 0 : s)),
        ends: ends.map((e, i) => (base.shape[i] === 1 ? Math.min(1, y!.shape[i]!) : e)),
      }),
      y!.shape,
    );
  }
  const ofPadded = made(x, 'pad') && ofPad(made(x, 'pad')!, starts, y!.shape, single(x!));
  if (ofPadded) return ofPadded;
  const joined = made(x, 'concat');
  if (!joined) return undefined;
  const { axis } = joined.attrs;
  let from = 0;
  for (const t of joined.inputs) {
    const to = from + t.shape[axis]!;
    if (from <= starts[axis]! && ends[axis]! <= to) return cut(t, starts.with(axis, starts[axis]! - from));
    from = to;
  }
  return undefined;
};

/** What a slice from `starts` of the given shape sees of a padded array: without padding, or if `padded`, with less. */
function ofPad(
  node: Node<'pad'>,
  starts: readonly number[],
  shape: Shape,
  padded: boolean,
): Tensor | undefined {
  const x = node.inputs[0]!;
  const { before, after, value } = node.attrs;
  if ([...before, ...after].some((n) => n < 0)) return undefined;
  const first = starts.map((s, i) => Math.max(0, s - before[i]!));
  const last = starts.map((s, i) => Math.min(x.shape[i]!, s + shape[i]! - before[i]!));
  if (first.some((f, i) => f >= last[i]!)) return expand(constant(value, x.dtype), shape);
  const front = first.map((f, i) => f + before[i]! - starts[i]!);
  const back = last.map((l, i) => starts[i]! + shape[i]! - before[i]! - l);
  if (!padded && [...front, ...back].some((n) => n > 0)) return undefined;
  return pad(apply('slice', [x], { starts: first, ends: last }), front, back, value);
}

const pads: Rewrite<'pad'> = ({ inputs: [x], outputs: [y] }, { before, after, value }) => {
  if (sameShape(x!.shape, y!.shape)) return x;
  if (numberOf(x!) === value || x!.size === 0) return expand(constant(value, x!.dtype), y!.shape);
  const inner = made(x, 'pad');
  return inner?.attrs.value === value
    ? pad(inner.inputs[0]!, add(inner.attrs.before, before), add(inner.attrs.after, after), value)
    : undefined;
};

const concats: Rewrite<'concat'> = ({ inputs, outputs: [y] }, { axis }) => {
  const parts: Tensor[] = [];
  for (const t of inputs.flatMap((t) => (made(t, 'concat')?.attrs.axis === axis ? t.node.inputs : [t]))) {
    if (t.shape[axis] === 0) continue;
    const joined = parts.length ? neighbours(parts.at(-1)!, t, axis) : undefined;
    if (joined) parts[parts.length - 1] = joined;
    else parts.push(t);
  }
  if (parts.length === 0) return inputs[0]!;
  const same = parts.length === inputs.length && parts.every((t, i) => t === inputs[i]);
  if (same) return undefined;
  return parts.length === 1 && sameShape(parts[0]!.shape, y!.shape) ? parts[0]! : concat(parts, axis);
};

/** Two tensors that lie side by side in one, or are filled by one number. */
function neighbours(a: Tensor, b: Tensor, axis: number): Tensor | undefined {
  const value = fillOf(a);
  if (value && Object.is(value.data[0], fillOf(b)?.data[0])) {
    return filled(value, a.shape.with(axis, a.shape[axis]! + b.shape[axis]!));
  }
  const [left, right] = [made(a, 'slice'), made(b, 'slice')];
  if (!left || !right || left.inputs[0] !== right.inputs[0]) return undefined;
  if (left.attrs.steps || right.attrs.steps) return undefined;
  const fits = left.attrs.starts.every((s, i) =>
    i === axis ? left.attrs.ends[i] === right.attrs.starts[i] : s === right.attrs.starts[i],
  );
  if (!fits) return undefined;
  const { starts } = left.attrs;
  return apply('slice', [left.inputs[0]!], { starts, ends: right.attrs.ends });
}

/** The sum of two arrays padded with zeros that meet along one axis: the gradients of an array that was split. */
export function joinedPads(a: Tensor, b: Tensor): Tensor | undefined {
  const [p, q] = [made(a, 'pad'), made(b, 'pad')];
  if (!p || !q || p.attrs.value !== 0 || q.attrs.value !== 0 || !sameShape(a.shape, b.shape))
    return undefined;
  const differs = a.shape.flatMap((_, i) =>
    p.attrs.before[i] === q.attrs.before[i] && p.attrs.after[i] === q.attrs.after[i] ? [] : [i],
  );
  if (differs.length !== 1) return undefined;
  const axis = differs[0]!;
  const end = (n: typeof p) => n.attrs.before[axis]! + n.inputs[0]!.shape[axis]!;
  const [low, high] =
    end(p) === q.attrs.before[axis] ? [p, q] : end(q) === p.attrs.before[axis] ? [q, p] : [];
  if (!low || !high) return undefined;
  const joined = concat([low.inputs[0]!, high.inputs[0]!], axis);
  return pad(joined, low.attrs.before, low.attrs.after.with(axis, high.attrs.after[axis]!));
}

/** Ascending neighbours among constant indices: where they begin. */
function run(indices: Tensor, length: number): number | undefined {
  const value = made(indices, 'constant')?.attrs.value;
  if (!value || value.data.length === 0) return undefined;
  const first = Number(value.data[0]);
  const start = first < 0 ? first + length : first;
  return value.data.every((v: number | bigint, i: number) => {
    const at = Number(v);
    return (at < 0 ? at + length : at) === start + i;
  })
    ? start
    : undefined;
}

const gathers: Rewrite<'gather'> = ({ inputs: [x, indices], outputs: [y] }, { axis }) => {
  const start = run(indices!, x!.shape[axis]!);
  if (start === undefined) return undefined;
  const starts = x!.shape.map((_, i) => (i === axis ? start : 0));
  const ends = x!.shape.with(axis, start + indices!.size);
  return reshape(apply('slice', [x!], { starts, ends }), y!.shape);
};

/** Rows put at neighbouring places of an empty array: the gradient of a gather by known indices. */
const scatters: Rewrite<'scatter'> = ({ inputs: [x, indices, updates], outputs: [y] }, { axis }) => {
  const at = made(indices, 'expand')?.inputs[0] ?? indices!;
  const along = at.shape.every((n, i) => n === 1 || i === axis - (y!.rank - at.rank));
  if (numberOf(x!) !== 0 || !along || at.size !== indices!.shape[axis]) return undefined;
  const whole = updates!.shape.every((n, i) => i === axis || n === y!.shape[i]);
  const start = whole ? run(at, y!.shape[axis]!) : undefined;
  if (start === undefined) return undefined;
  const none = y!.shape.map(() => 0);
  return pad(updates!, none.with(axis, start), none.with(axis, y!.shape[axis]! - start - at.size));
};

export const shapeRewrites: Rewrites = {
  reshape: [ofNumber, reshapes],
  transpose: [ofNumber, transposes],
  expand: [expands],
  slice: [ofNumber, slices],
  pad: [pads],
  concat: [concats],
  gather: [gathers],
  scatter: [scatters],
};
