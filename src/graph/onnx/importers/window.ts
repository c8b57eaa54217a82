import { type Shape, sizeOf } from '../../host.ts';
import { isFloat } from '../../ops/common.ts';
import { slide } from '../../ops/conv.ts';
import * as ops from '../../ops/index.ts';
import type { Window } from '../../rule.ts';
import { apply, applyAll, constant, type Tensor } from '../../tensor.ts';
import { type Importer, type NodeReader, numbersAs } from '../reader.ts';

/** How a window of a convolution or pooling slides, from `pads` or `auto_pad`; `ceil` keeps a partly filled last one. */
function windowOf(n: NodeReader, x: Tensor, kernel: Shape, ceil = false): Window {
  const lengths = x.shape.slice(2);
  if (kernel.length !== lengths.length) n.fail(`has a kernel [${kernel}] that does not fit ${x}`);
  const ones = kernel.map(() => 1);
  const strides = n.numbers('strides') ?? ones;
  const dilations = n.numbers('dilations') ?? ones;
  const reach = kernel.map((k, i) => dilations[i]! * (k - 1) + 1);
  const pads = n.numbers('pads') ?? [...ones, ...ones].map(() => 0);
  const auto = n.choice('auto_pad', 'NOTSET', ['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] as const);
  const split = lengths.map((d, i): [number, number] => {
    const s = strides[i]!;
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      const total = Math.max(0, (Math.ceil(d / s) - 1) * s + reach[i]! - d);
      const [small, large] = [Math.floor(total / 2), Math.ceil(total / 2)];
      return auto === 'SAME_UPPER' ? [small, large] : [large, small];
    }
    const [before, after] = auto === 'VALID' ? [0, 0] : [pads[i]!, pads[i + kernel.length]!];
    if (!ceil) return [before, after];
    const steps = Math.ceil((d + before + after - reach[i]!) / s);
    // A window that would begin in the padding behind the input is dropped.
    const last = steps * s >= d + before ? steps - 1 : steps;
    return [before, Math.max(after, last * s + reach[i]! - d - before)];
  });
  return { strides, dilations, before: split.map((p) => p[0]), after: split.map((p) => p[1]) };
}

/** A convolution with the attributes of n. */
export function convolve(n: NodeReader, x: Tensor, w: Tensor, bias?: Tensor): Tensor {
  const attrs = { ...windowOf(n, x, w.shape.slice(2)), groups: n.number('group', 1) };
  return apply('conv', bias ? [x, w, bias] : [x, w], attrs);
}

function convTranspose(n: NodeReader): Tensor {
  const [x, w, bias] = [n.x(0), n.x(1), n.maybe(2)];
  const kernel = w.shape.slice(2);
  const ones = kernel.map(() => 1);
  const stride = n.numbers('strides') ?? ones;
  const dilation = n.numbers('dilations') ?? ones;
  const extra = n.numbers('output_padding') ?? ones.map(() => 0);
  const groups = n.number('group', 1);
  const pads = n.numbers('pads') ?? [...ones, ...ones].map(() => 0);
  const auto = n.choice('auto_pad', 'NOTSET', ['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] as const);
  const full = kernel.map((k, i) => (x.shape[i + 2]! - 1) * stride[i]! + dilation[i]! * (k - 1) + 1);
  const wanted =
    n.numbers('output_shape')?.slice(-kernel.length) ??
    (auto.startsWith('SAME') ? stride.map((s, i) => s * x.shape[i + 2]!) : undefined);
  const sides = full.map((length, i): [number, number] => {
    if (!wanted) return auto === 'VALID' ? [0, 0] : [pads[i]!, pads[i + kernel.length]!];
    const total = length + extra[i]! - wanted[i]!;
    const [small, large] = [Math.floor(total / 2), Math.ceil(total / 2)];
    return auto === 'SAME_UPPER' ? [small, large] : [large, small];
  });
  const options = { stride, dilation, groups };
  if (sides.every(([a, b]) => a === b && a >= 0)) {
    const padding = sides.map(([a]) => a);
    return ops.convTranspose(x, w, bias, { ...options, padding, outputPadding: extra });
  }
  // Uneven padding cuts the full result.
  const whole = ops.convTranspose(x, w, undefined, options);
  const y = sides.reduce<Tensor>((t, [before, after], i) => {
    const end = full[i]! + extra[i]! - after;
    const none = t.shape.map(() => 0);
    const [low, high] = [Math.max(0, -before), Math.max(0, end - full[i]!)];
    const cut = ops.slice(t, i + 2, Math.max(0, before), Math.min(end, full[i]!));
    return ops.pad(cut, none.with(i + 2, low), none.with(i + 2, high));
  }, whole);
  return bias ? y.add(bias.reshape([bias.size, ...ones])) : y;
}

const kernelOf = (n: NodeReader): readonly number[] =>
  n.numbers('kernel_shape') ?? n.fail('has no kernel_shape');

function maxPool(n: NodeReader): Tensor[] {
  const kernel = kernelOf(n);
  const x = isFloat(n.x()) ? n.x() : n.x().cast('float32');
  const attrs = { kernel, ...windowOf(n, x, kernel, n.flag('ceil_mode')) };
  const [y, at] = applyAll('maxPool', [x], attrs) as [Tensor, Tensor];
  const byColumn = n.flag('storage_order');
  return [y.cast(n.x().dtype), byColumn && n.has(1) ? columnMajor(at, x.shape) : at];
}
/** Positions in planes that are stored by columns. */
function columnMajor(at: Tensor, shape: Shape): Tensor {
  const lengths = shape.slice(2);
  const plane = sizeOf(lengths);
  const base = at.div(plane).mul(plane);
  let rest = at.sub(base);
  let moved = base;
  lengths.forEach((_, i) => {
    const step = sizeOf(lengths.slice(i + 1));
    const index = rest.div(step);
    rest = rest.sub(index.mul(step));
    moved = moved.add(index.mul(sizeOf(lengths.slice(0, i))));
  });
  return moved;
}

/** Sums over windows: a convolution of each channel with ones. */
function windowSums(x: Tensor, kernel: Shape, w: Window): Tensor {
  const planes = x.reshape([x.shape[0]! * x.shape[1]!, 1, ...x.shape.slice(2)]);
  const ones = ops.expand(constant(1, x.dtype), [1, 1, ...kernel]);
  const sums = apply('conv', [planes, ones], { ...w, groups: 1 });
  return sums.reshape([...x.shape.slice(0, 2), ...sums.shape.slice(2)]);
}

function averagePool(n: NodeReader): Tensor {
  const kernel = kernelOf(n);
  const x = n.x();
  const w = windowOf(n, x, kernel, n.flag('ceil_mode'));
  const asked = windowOf(n, x, kernel);
  const lengths = x.shape.slice(2);
  const counted = n.flag('count_include_pad');
  // How many elements each window holds, by axis. Padding counts as wide as it was asked for, no wider.
  const held = slide(lengths, kernel, w).map((m, i) => {
    const [low, high] = counted ? [-asked.before[i]!, lengths[i]! + asked.after[i]!] : [0, lengths[i]!];
    return Array.from({ length: m }, (_, o) => {
      const start = o * w.strides[i]! - w.before[i]!;
      const taps = Array.from({ length: kernel[i]! }, (_, k) => start + k * w.dilations[i]!);
      return taps.filter((t) => t >= low && t < high).length;
    });
  });
  const shares = held.reduce<number[]>((all, axis) => all.flatMap((a) => axis.map((c) => a / c)), [1]);
  const sums = windowSums(x, kernel, w);
  return shares.every((s) => s === shares[0])
    ? sums.mul(shares[0]!)
    : sums.mul(
        numbersAs(
          shares,
          held.map((axis) => axis.length),
          x.dtype,
        ),
      );
}

/** (Σ |x|^p)^(1/p) of each window. */
function lpPool(n: NodeReader): Tensor {
  const kernel = kernelOf(n);
  const w = windowOf(n, n.x(), kernel, n.flag('ceil_mode'));
  return root(windowSums(power(n.x(), n.number('p', 2)), kernel, w), n.number('p', 2));
}
const power = (x: Tensor, p: number): Tensor => (p === 2 ? x.mul(x) : ops.pow(ops.abs(x), p));
const root = (x: Tensor, p: number): Tensor => {
  const none = ops.equal(x, 0);
  return ops.where(none, 0, ops.pow(ops.where(none, 1, x), 1 / p));
};

const spatial = (x: Tensor): number[] => x.shape.map((_, i) => i).slice(2);

/** Adds overlapping columns up into an image: the transposed convolution with one tap a row. */
function columnsToImage(n: NodeReader): Tensor {
  const [x, image, kernel] = [n.x(), n.required(1), n.required(2)];
  const ones = kernel.map(() => 1);
  const strides = n.numbers('strides') ?? ones;
  const dilations = n.numbers('dilations') ?? ones;
  const pads = n.numbers('pads') ?? [...ones, ...ones].map(() => 0);
  const [before, after] = [pads.slice(0, kernel.length), pads.slice(kernel.length)];
  const area = sizeOf(kernel);
  const channels = x.shape[1]! / area;
  const counts = slide(image, kernel, { strides, dilations, before, after });
  const columns = x.reshape([x.shape[0]! * channels, area, ...counts]);
  const taps = Array.from({ length: area * area }, (_, i) => Number(i % (area + 1) === 0));
  const full = ops.convTranspose(columns, numbersAs(taps, [area, 1, ...kernel], x.dtype), undefined, {
    stride: strides,
    dilation: dilations,
  });
  const y = image.reduce<Tensor>((t, d, i) => {
    const length = t.dim(i + 2);
    const cut = ops.slice(t, i + 2, before[i]!, Math.min(length, before[i]! + d));
    const none = cut.shape.map(() => 0);
    return ops.pad(cut, none, none.with(i + 2, d - cut.dim(i + 2)));
  }, full);
  return y.reshape([x.shape[0]!, channels, ...image]);
}

/** Convolutions and pooling. */
export const windows: Record<string, Importer> = {
  Conv: (n) => convolve(n, n.x(0), n.x(1), n.maybe(2)),
  ConvTranspose: convTranspose,
  MaxPool: maxPool,
  AveragePool: averagePool,
  LpPool: lpPool,
  GlobalAveragePool: (n) => n.x().mean(spatial(n.x()), true),
  GlobalMaxPool: (n) => n.x().max(spatial(n.x()), true),
  GlobalLpPool: (n) => root(power(n.x(), n.number('p', 2)).sum(spatial(n.x()), true), n.number('p', 2)),
  Col2Im: columnsToImage,
};
