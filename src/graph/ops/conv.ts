import { i64, type Shape, sizeOf } from '../host.ts';
import type { Conv, Rules, Window } from '../rule.ts';
import { apply, constant, type Tensor } from '../tensor.ts';
import { opError, requireFloat, sameShape } from './common.ts';
import { customGradient } from './custom.ts';
import { mul } from './elementwise.ts';
import { gather } from './gather.ts';
import { matmul } from './linear.ts';
import { sum } from './reduce.ts';
import { concat, expand, pad, reshape, slice, stack, transpose } from './shape.ts';
import { suitsWinograd, winogradInput, winogradWeights } from './winograd.ts';

/** One number for all spatial axes, or one for each. */
export type PerAxis = number | readonly number[];

export interface ConvOptions {
  stride?: PerAxis;
  /** Zeros on both sides of each spatial axis. */
  padding?: PerAxis;
  dilation?: PerAxis;
  groups?: number;
}

/** One positive (or with `least` 0, non-negative) integer for each of `rank` axes; throws under the op's name. */
export function perAxis(op: string, name: string, value: PerAxis, rank: number, least = 1): number[] {
  const list = typeof value === 'number' ? Array<number>(rank).fill(value) : [...value];
  if (list.length !== rank || list.some((n) => !Number.isInteger(n) || n < least)) {
    throw opError(op, `${name} must be ${rank} integers of at least ${least}, not [${value}]`);
  }
  return list;
}

/** Spatial output lengths of a window that slides over `lengths`. */
export const slide = (lengths: Shape, kernel: Shape, c: Window): number[] =>
  lengths.map((n, i) => {
    const reach = c.dilations[i]! * (kernel[i]! - 1) + 1;
    return Math.floor((n + c.before[i]! + c.after[i]! - reach) / c.strides[i]!) + 1;
  });

export const convRules: Rules<'conv'> = {
  conv: {
    type(inputs, attrs) {
      requireFloat('conv', inputs);
      const [x, w, bias] = inputs as [Tensor, Tensor, Tensor?];
      const { groups } = attrs;
      if (x.rank < 3 || w.rank !== x.rank) {
        throw opError('conv', 'needs x [N, C, ...spatial] and weights [O, C / groups, ...kernel]', inputs);
      }
      const [channels, out] = [x.shape[1]!, w.shape[0]!];
      if (channels !== w.shape[1]! * groups || out % groups !== 0 || x.dtype !== w.dtype) {
        throw opError('conv', `channels or dtypes do not fit, in ${groups} groups`, inputs);
      }
      if (bias && (bias.rank !== 1 || bias.size !== out)) {
        throw opError('conv', `the bias must be [${out}]`, inputs);
      }
      const spatial = slide(x.shape.slice(2), w.shape.slice(2), attrs);
      if (spatial.some((n) => n < 1)) throw opError('conv', 'the kernel is larger than its input', inputs);
      return { dtype: x.dtype, shape: [x.shape[0]!, out, ...spatial] };
    },
    grad: ([g], node, attrs, needs) => {
      const [x, w] = node.inputs as [Tensor, Tensor];
      const spatial = g!.shape.map((_, i) => i).slice(2);
      return [
        needs[0] ? inputGradient(g!, w, x.shape.slice(2), attrs) : undefined,
        needs[1] ? weightGradient(x, g!, w.shape, attrs) : undefined,
        needs[2] ? sum(g!, [0, ...spatial]) : undefined,
      ];
    },
    emit: (e, inputs, { strides, before, after, dilations, groups }) =>
      e.node('Conv', inputs, { strides, pads: [...before, ...after], dilations, group: groups }),
  },
};

/**
 * Cross-correlation over one or more spatial axes: x [N, C, ...spatial], w [O, C / groups, ...kernel], bias [O] →
 * [N, O, ...], as torch.nn.functional.conv1d and conv2d.
 */
export function conv(x: Tensor, w: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const rank = Math.max(1, x.rank - 2);
  const before = perAxis('conv', 'padding', padding, rank, 0);
  return convolve(x, w, bias, {
    strides: perAxis('conv', 'stride', stride, rank),
    before,
    after: before,
    dilations: perAxis('conv', 'dilation', dilation, rank),
    groups: perAxis('conv', 'groups', groups, 1)[0]!,
  });
}

const convolve = (x: Tensor, w: Tensor, bias: Tensor | undefined, attrs: Conv): Tensor =>
  apply('conv', bias ? [x, w, bias] : [x, w], attrs);

/**
 * Transposed convolution, the gradient of `conv` with respect to its input: x [N, C, ...spatial],
 * w [C, O / groups, ...kernel], bias [O] → [N, O, ...], as torch.nn.functional.conv_transpose1d and 2d.
 */
export function convTranspose(
  x: Tensor,
  w: Tensor,
  bias?: Tensor,
  options: ConvOptions & { outputPadding?: PerAxis } = {},
): Tensor {
  const { stride = 1, padding = 0, dilation = 1, groups = 1, outputPadding = 0 } = options;
  const rank = x.rank - 2;
  if (rank < 1 || w.rank !== x.rank || x.shape[1] !== w.shape[0] || w.shape[0]! % groups !== 0) {
    const problem = `needs x [N, C, ...spatial] and weights [C, O / groups, ...kernel] in ${groups} groups`;
    throw opError('convTranspose', problem, [x, w]);
  }
  const strides = perAxis('convTranspose', 'stride', stride, rank);
  const before = perAxis('convTranspose', 'padding', padding, rank, 0);
  const dilations = perAxis('convTranspose', 'dilation', dilation, rank);
  const extra = perAxis('convTranspose', 'outputPadding', outputPadding, rank, 0);
  if (extra.some((n, i) => n >= Math.max(strides[i]!, dilations[i]!))) {
    throw opError('convTranspose', `outputPadding [${extra}] must be less than the stride or the dilation`, [
      x,
      w,
    ]);
  }
  const lengths = strides.map(
    (s, i) =>
      (x.shape[i + 2]! - 1) * s - 2 * before[i]! + dilations[i]! * (w.shape[i + 2]! - 1) + extra[i]! + 1,
  );
  if (lengths.some((n) => n < 1)) throw opError('convTranspose', 'nothing is left of the output', [x, w]);
  const out = w.shape[1]! * groups;
  if (bias && !sameShape(bias.shape, [out]))
    throw opError('convTranspose', `the bias must be [${out}]`, [x, w, bias]);
  const y = inputGradient(x, w, lengths, { strides, before, after: before, dilations, groups });
  return bias ? y.add(reshape(bias, [bias.size, ...lengths.map(() => 1)])) : y;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * The gradient of a convolution with respect to its input of spatial `lengths`. It is linear in both of its operands, and
 * its own gradients are a convolution and a gradient with respect to weights.
 */
const inputGradient = (g: Tensor, w: Tensor, lengths: Shape, c: Conv): Tensor =>
  customGradient(phaseConvolutions(g, w, lengths, c), [g, w], (u, [g, w], needs) => [
    needs[0] ? convolve(u, w!, undefined, c) : undefined,
    needs[1] ? weightGradient(u, g!, w!.shape, c) : undefined,
  ]);

/**
 * The gradient with respect to the input, as convolutions. With stride 1 it is one by flipped, transposed weights. A larger
 * stride splits the input into phases, position modulo stride: each phase meets only every stride-th tap of the kernel, so
 * it is a small convolution of its own, and the phases interleave.
 */
function phaseConvolutions(g: Tensor, w: Tensor, lengths: Shape, c: Conv): Tensor {
  const kernel = w.shape.slice(2);
  if (disjoint(kernel, c)) return scatterPatches(g, w, lengths, c);
  if (suitsWinograd(g, w.shape, c)) return winogradInput(g, w);
  const turned = transposeChannels(w, c.groups);
  /** What phase r of axis i sees: taps first, first + step, … of the kernel; undefined if none. */
  const taps = lengths.map((n, i) =>
    Array.from({ length: c.strides[i]! }, (_, r) => {
      const [s, d] = [c.strides[i]!, c.dilations[i]!];
      const first = [...Array(Math.min(s, kernel[i]!)).keys()].find(
        (k) => (r + c.before[i]! - d * k) % s === 0,
      );
      const common = gcd(s, d);
      const count = Math.ceil((n - r) / s);
      if (first === undefined) return { count };
      const step = s / common;
      const size = Math.ceil((kernel[i]! - first) / step);
      const dilation = d / common;
      // Element q of the phase is Σ_j w[first + j·step] · g[q + shift − j·dilation].
      const shift = (r + c.before[i]! - d * first) / s;
      const before = dilation * (size - 1) - shift;
      const after = count + shift - g.shape[i + 2]!;
      return { count, first, step, dilation, before, after };
    }),
  );
  const phase = (rs: readonly number[]): Tensor => {
    const at = rs.map((r, i) => taps[i]![r]!);
    const shape = [g.shape[0]!, turned.shape[0]!, ...at.map((t) => t.count)];
    if (at.some((t) => t.first === undefined || t.count <= 0)) {
      return expand(constant(0, g.dtype), shape);
    }
    let source = g;
    at.forEach((t, i) => {
      // Padding below zero cuts.
      source = slice(source, i + 2, Math.max(0, -t.before!), g.shape[i + 2]! - Math.max(0, -t.after!));
    });
    const cut = (key: 'before' | 'after') => at.map((t) => Math.max(0, t[key]!));
    const { groups } = c;
    const ones = at.map(() => 1);
    const dilations = at.map((t) => t.dilation!);
    // The last tap comes first. One look-up is several times faster than slices with steps, which have one thread.
    const seen = at.map((t, i) => range(t.first!, kernel[i]!, t.step!).reverse());
    const part = reshape(gather(turned, constant(i64(flatIndices(seen, kernel))), 2), [
      ...turned.shape.slice(0, 2),
      ...seen.map((list) => list.length),
    ]);
    return convolve(source, part, undefined, {
      strides: ones,
      before: cut('before'),
      after: cut('after'),
      dilations,
      groups,
    });
  };
  /** Joins the phases of axis i and those after it. */
  const join = (rs: readonly number[]): Tensor => {
    const i = rs.length;
    if (i === lengths.length) return phase(rs);
    const [n, s] = [lengths[i]!, c.strides[i]!];
    const parts = Array.from({ length: s }, (_, r) => join([...rs, r]));
    if (s === 1) return parts[0]!;
    const longest = Math.ceil(n / s);
    const full = parts.map((p) => {
      const none = p.shape.map(() => 0);
      return pad(p, none, none.with(i + 2, longest - p.shape[i + 2]!));
    });
    const mixed = stack(full, i + 3);
    return slice(reshape(mixed, full[0]!.shape.with(i + 2, longest * s)), i + 2, 0, n);
  };
  return join([]);
}

/** first, first + step, … below `end` */
const range = (first: number, end: number, step = 1): number[] =>
  Array.from({ length: Math.ceil((end - first) / step) }, (_, i) => first + i * step);

/** Where the elements at `lists`, a list of indices for each axis, lie in a flattened array of `lengths`, in order. */
const flatIndices = (lists: readonly (readonly number[])[], lengths: Shape): number[] =>
  lists.reduce<number[]>((flat, list, i) => flat.flatMap((p) => list.map((q) => p * lengths[i]! + q)), [0]);

/** The index of every element of an array of `lengths`, in order. */
const placesOf = (lengths: Shape): number[][] =>
  lengths.reduce<number[][]>((places, n) => places.flatMap((p) => range(0, n).map((i) => [...p, i])), [[]]);

/** [O, C / groups, ...] → [C, O / groups, taps] */
function transposeChannels(w: Tensor, groups: number): Tensor {
  const [out, inner, ...kernel] = w.shape as [number, number, ...number[]];
  const grouped = transpose(reshape(w, [groups, out / groups, inner, sizeOf(kernel)]), [0, 2, 1, 3]);
  return reshape(grouped, [groups * inner, out / groups, sizeOf(kernel)]);
}

/** Windows that do not overlap are patches: their gradients are one matrix product, whatever the kernel's size. */
const disjoint = (kernel: Shape, c: Conv): boolean =>
  c.groups === 1 &&
  kernel.some((k) => k > 1) &&
  kernel.every((k, i) => k <= c.strides[i]! && c.dilations[i] === 1);

/** [N, C, n₁·s₁, …] ↔ [N, C·s₁·…, n₁, …]: cuts into patches of the stride's size. */
function toPatches(x: Tensor, counts: Shape, strides: Shape): Tensor {
  const [n, channels] = x.shape as [number, number];
  const split = reshape(x, [n, channels, ...counts.flatMap((m, i) => [m, strides[i]!])]);
  const inner = counts.map((_, i) => 3 + 2 * i);
  const outer = counts.map((_, i) => 2 + 2 * i);
  return reshape(transpose(split, [0, 1, ...inner, ...outer]), [n, channels * sizeOf(strides), ...counts]);
}
function fromPatches(x: Tensor, channels: number, counts: Shape, strides: Shape): Tensor {
  const rank = counts.length;
  const split = reshape(x, [x.shape[0]!, channels, ...strides, ...counts]);
  const order = counts.flatMap((_, i) => [2 + rank + i, 2 + i]);
  const lengths = counts.map((m, i) => m * strides[i]!);
  return reshape(transpose(split, [0, 1, ...order]), [x.shape[0]!, channels, ...lengths]);
}

function scatterPatches(g: Tensor, w: Tensor, lengths: Shape, c: Conv): Tensor {
  const [n, out, ...counts] = g.shape as [number, number, ...number[]];
  const channels = w.shape[1]!;
  const wide = padEnd(w, w.shape.slice(2), c.strides);
  const rows = reshape(wide, [out, channels * sizeOf(c.strides)]);
  const patches = matmul(rows, reshape(g, [n, out, sizeOf(counts)]), { transA: true });
  let y = fromPatches(patches, channels, counts, c.strides);
  // The patches begin in the padding and may stop short of the end.
  lengths.forEach((length, i) => {
    y = slice(y, i + 2, c.before[i]!, c.before[i]! + length);
  });
  return padEnd(y, y.shape.slice(2), lengths);
}

const padEnd = (x: Tensor, from: Shape, to: Shape): Tensor => {
  const none = x.shape.map(() => 0);
  return pad(x, none, [0, 0, ...to.map((n, i) => n - from[i]!)]);
};

/**
 * The gradient of a convolution with respect to its weights of `shape`. It is linear in both of its operands, and its own
 * gradients are convolutions again: far fewer products than those of what it is computed by.
 */
const weightGradient = (x: Tensor, g: Tensor, shape: Shape, c: Conv): Tensor =>
  customGradient(products(x, g, shape, c), [x, g], (u, [x, g], needs) => [
    needs[0] ? inputGradient(g!, u, x!.shape.slice(2), c) : undefined,
    needs[1] ? convolve(x!, u, undefined, c) : undefined,
  ]);

const products = (x: Tensor, g: Tensor, shape: Shape, c: Conv): Tensor =>
  suitsWinograd(x, shape, c) ? winogradWeights(x, g) : tapProducts(x, g, shape.slice(2), c);

/**
 * The gradient of a convolution with respect to its weights: for every tap of the kernel, the product of the output's
 * gradient with the input shifted by that tap, summed over the batch. With many channels the batch is part of the sum: one
 * product for all examples.
 */
function tapProducts(x: Tensor, g: Tensor, kernel: Shape, c: Conv): Tensor {
  const [n, channels] = x.shape as [number, number];
  const [, out, ...counts] = g.shape as [number, number, ...number[]];
  const { groups } = c;
  const area = sizeOf(counts);
  const padded = pad(x, [0, 0, ...c.before], [0, 0, ...c.after]);
  if (disjoint(kernel, c)) {
    let fitted = padded;
    counts.forEach((m, i) => {
      fitted = slice(fitted, i + 2, 0, m * c.strides[i]!);
    });
    const full = counts.map((m, i) => m * c.strides[i]!);
    fitted = padEnd(fitted, fitted.shape.slice(2), full);
    const patches = reshape(toPatches(fitted, counts, c.strides), [n, -1, area]);
    const product = sum(matmul(reshape(g, [n, out, area]), patches, { transB: true }), 0);
    let w = reshape(product, [out, channels, ...c.strides]);
    kernel.forEach((k, i) => {
      w = slice(w, i + 2, 0, k);
    });
    return w;
  }
  const depthwise = channels === groups && out === groups;
  const spatial = counts.map((_, i) => i + 2);
  const taps = placesOf(kernel);
  if (groups === 1 && channels >= 16) {
    // [N, positions and one of zeros, C]: what a tap sees are rows that lie as they are, and are looked up by all threads.
    const lengths = x.shape.slice(2);
    const last = sizeOf(lengths);
    const lookUp = pad(transpose(reshape(x, [n, channels, last]), [0, 2, 1]), [0, 0, 0], [0, 1, 0]);
    const rows = reshape(transpose(g, [1, 0, ...spatial]), [out, n * area]);
    const positionAt = (place: readonly number[], tap: readonly number[]): number =>
      lengths.reduce((flat, length, i) => {
        const p = place[i]! * c.strides[i]! + tap[i]! * c.dilations[i]! - c.before[i]!;
        return flat === last || p < 0 || p >= length ? last : flat * length + p;
      }, 0);
    const places = placesOf(counts);
    // With few outputs a product is bound by reading its input: a row of taps is one. With many that would only cost memory.
    const width = out < 128 ? kernel.at(-1)! : 1;
    const products = range(0, taps.length, width).map((first) => {
      const row = taps.slice(first, first + width);
      const seen = places.flatMap((place) => row.map((tap) => positionAt(place, tap)));
      return matmul(rows, reshape(gather(lookUp, constant(i64(seen)), 1), [n * area, width * channels]));
    });
    const all = reshape(concat(products, 1), [out, taps.length, channels]);
    return reshape(transpose(all, [0, 2, 1]), [out, channels, ...kernel]);
  }
  const rows = reshape(g, depthwise ? [n, out, area] : [n, groups, out / groups, area]);
  const shifts = taps.map((offsets) => {
    let shifted = padded;
    offsets.forEach((k, i) => {
      const [start, step] = [k * c.dilations[i]!, c.strides[i]!];
      shifted = slice(shifted, i + 2, start, start + (counts[i]! - 1) * step + 1, step);
    });
    return shifted;
  });
  const inner = channels / groups;
  if (depthwise) {
    const sums = shifts.map((s) => reshape(sum(mul(rows, reshape(s, rows.shape)), [0, 2]), [out, 1, 1]));
    return reshape(concat(sums, 2), [out, 1, ...kernel]);
  }
  // With few channels the taps of one are as many columns of one product.
  const columns = stack(
    shifts.map((s) => reshape(s, [n, groups, inner, area])),
    3,
  );
  const products = matmul(rows, reshape(columns, [n, groups, inner * taps.length, area]), { transB: true });
  return reshape(sum(products, 0), [out, inner, ...kernel]);
}
