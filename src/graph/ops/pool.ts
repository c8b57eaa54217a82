import { floats, i64, type Shape, sizeOf } from '../host.ts';
import type { Rules, Window } from '../rule.ts';
import { applyAll, constant, type Tensor } from '../tensor.ts';
import { opError, requireFloat } from './common.ts';
import { conv, type PerAxis, perAxis, slide } from './conv.ts';
import { mul } from './elementwise.ts';
import { gather, gatherElements, scatterAdd } from './gather.ts';
import { matmul } from './linear.ts';
import { argMax, mean } from './reduce.ts';
import { mapAxis } from './resize.ts';
import { expand, pad, reshape, slice, transpose } from './shape.ts';

export interface PoolOptions {
  /** The kernel's size by default: windows side by side. */
  stride?: PerAxis;
  padding?: PerAxis;
  /** Keep a last window that is only partly filled. */
  ceilMode?: boolean;
}

export const poolRules: Rules<'maxPool'> = {
  maxPool: {
    type(inputs, attrs) {
      requireFloat('maxPool', inputs);
      const [x] = inputs as [Tensor];
      const spatial = slide(x.shape.slice(2), attrs.kernel, attrs);
      if (spatial.some((n) => n < 1)) throw opError('maxPool', 'the kernel is larger than its input', inputs);
      const shape = [...x.shape.slice(0, 2), ...spatial];
      // The second output holds positions in the whole of x, flattened.
      return [
        { dtype: x.dtype, shape },
        { dtype: 'int64', shape },
      ];
    },
    grad: ([g], node) => {
      const x = node.inputs[0]!;
      const zero = expand(constant(0, x.dtype), [x.size]);
      const positions = reshape(node.outputs[1]!, [-1]);
      return [reshape(scatterAdd(zero, positions, reshape(g!, [-1]), 0), x.shape)];
    },
    emit: (e, inputs, { kernel, strides, before, after, dilations }, node) => {
      const attrs = { kernel_shape: kernel, strides, pads: [...before, ...after], dilations };
      const outputs = e.used(node.outputs[1]!) ? 2 : 1;
      return e.node('MaxPool', inputs, attrs, { outputs });
    },
  },
};

/** A window over x [N, C, ...spatial] in PyTorch's terms, `after` grown where `ceilMode` keeps a last window. */
function windowOf(
  op: string,
  x: Tensor,
  kernel: PerAxis,
  options: PoolOptions & { dilation?: PerAxis },
): Window & { kernel: number[] } {
  const rank = x.rank - 2;
  if (rank < 1) throw opError(op, 'needs [N, C, ...spatial]', [x]);
  const { padding = 0, dilation = 1, ceilMode = false } = options;
  const size = perAxis(op, 'kernel', kernel, rank);
  const strides = perAxis(op, 'stride', options.stride ?? kernel, rank);
  const before = perAxis(op, 'padding', padding, rank, 0);
  const dilations = perAxis(op, 'dilation', dilation, rank);
  if (before.some((p, i) => 2 * p > size[i]!)) {
    throw opError(op, `padding [${before}] is more than half of the kernel [${size}]`, [x]);
  }
  const after = before.map((p, i) => {
    if (!ceilMode) return p;
    const length = x.shape[i + 2]!;
    const reach = dilations[i]! * (size[i]! - 1) + 1;
    const steps = Math.ceil((length + 2 * p - reach) / strides[i]!);
    // A window that would begin in the padding behind the input is dropped, as PyTorch does.
    const last = steps * strides[i]! >= length + p ? steps - 1 : steps;
    return Math.max(p, last * strides[i]! + reach - length - p);
  });
  return { kernel: size, strides, before, after, dilations };
}

/**
 * The largest element of each window of x [N, C, ...spatial], as torch.nn.functional.max_pool1d and max_pool2d: the
 * first of equal ones gets the gradient.
 */
export function maxPool(
  x: Tensor,
  kernel: PerAxis,
  options: PoolOptions & { dilation?: PerAxis } = {},
): Tensor {
  const w = windowOf('maxPool', x, kernel, options);
  // ONNX Runtime wants less padding than the kernel is long; a last window kept by `ceilMode` may need more.
  const beyond = w.after.map((n, i) => Math.max(0, n - w.kernel[i]! + 1));
  const wide = pad(
    x,
    x.shape.map(() => 0),
    [0, 0, ...beyond],
    Number.NEGATIVE_INFINITY,
  );
  return applyAll('maxPool', [wide], { ...w, after: w.after.map((n, i) => n - beyond[i]!) })[0]!;
}

/** The mean of each window of x [N, C, ...spatial], as torch.nn.functional.avg_pool1d and avg_pool2d. */
export function avgPool(
  x: Tensor,
  kernel: PerAxis,
  options: PoolOptions & { countIncludePad?: boolean } = {},
): Tensor {
  const w = windowOf('avgPool', x, kernel, options);
  const { countIncludePad = true } = options;
  const lengths = x.shape.slice(2);
  const counts = slide(lengths, w.kernel, w);
  if (counts.some((n) => n < 1))
    throw opError('avgPool', `the kernel [${kernel}] is larger than its input`, [x]);
  const unpadded = [...w.before, ...w.after].every((p) => p === 0);
  if (unpadded && w.kernel.every((k, i) => k === w.strides[i])) return blockMean(x, w.kernel, counts);

  // How many elements each window holds, by axis. Padding counts as wide as it was asked for, no wider.
  const held = counts.map((m, i) =>
    Array.from({ length: m }, (_, o) => {
      const start = o * w.strides[i]! - w.before[i]!;
      const end = start + w.kernel[i]!;
      const margin = countIncludePad ? w.before[i]! : 0;
      return Math.min(end, lengths[i]! + margin) - Math.max(start, -margin);
    }),
  );
  const shares = held.reduce<number[]>((all, axis) => all.flatMap((a) => axis.map((n) => a / n)), [1]);
  const even = shares.every((s) => s === shares[0]);
  const ones = floats(new Array(sizeOf(w.kernel)).fill(even ? shares[0]! : 1), [1, 1, ...w.kernel], x.dtype);
  const none = [0, 0];
  const planes = reshape(pad(x, [...none, ...w.before], [...none, ...w.after]), [
    x.shape[0]! * x.shape[1]!,
    1,
    ...lengths.map((n, i) => n + w.before[i]! + w.after[i]!),
  ]);
  const sums = reshape(conv(planes, constant(ones), undefined, { stride: w.strides }), [
    ...x.shape.slice(0, 2),
    ...counts,
  ]);
  return even ? sums : mul(sums, constant(floats(shares, counts, x.dtype)));
}

/** Rows of images up to this length are averaged by a matrix product. */
const shortRow = 128;

/**
 * Means of blocks side by side; a rest at the end is dropped. In short images a row of blocks is one product with a constant
 * matrix: several times faster than means over axes of a few numbers, whose gradient repeats them one by one.
 */
function blockMean(x: Tensor, kernel: Shape, counts: Shape): Tensor {
  let fitted = x;
  kernel.forEach((k, i) => {
    fitted = slice(fitted, i + 2, 0, counts[i]! * k);
  });
  const [height, width] = kernel as [number, number];
  const [rows, columns] = counts as [number, number];
  if (kernel.length === 2 && columns > 1 && columns * width <= shortRow) {
    const length = columns * width;
    const share = 1 / (height * width);
    const shares = Array.from({ length: height * length * columns }, (_, i) =>
      Math.floor((Math.floor(i / columns) % length) / width) === i % columns ? share : 0,
    );
    const all = x.shape[0]! * x.shape[1]! * rows;
    const means = matmul(
      reshape(fitted, [all, height * length]),
      constant(floats(shares, [height * length, columns], x.dtype)),
    );
    return reshape(means, [...x.shape.slice(0, 2), rows, columns]);
  }
  const blocks = reshape(fitted, [...x.shape.slice(0, 2), ...counts.flatMap((m, i) => [m, kernel[i]!])]);
  return mean(
    blocks,
    kernel.map((_, i) => 3 + 2 * i),
  );
}

/** Windows [⌊i·n / m⌋, ⌈(i + 1)·n / m⌉) of an axis of n elements in m parts, as PyTorch's adaptive pooling. */
const parts = (n: number, m: number): [start: number, end: number][] =>
  Array.from({ length: m }, (_, i) => [Math.floor((i * n) / m), Math.ceil(((i + 1) * n) / m)]);

function adaptiveSizes(op: string, x: Tensor, size: PerAxis): { sizes: number[]; even: boolean } {
  if (x.rank < 3) throw opError(op, 'needs [N, C, ...spatial]', [x]);
  const sizes = perAxis(op, 'size', size, x.rank - 2);
  return { sizes, even: sizes.every((m, i) => x.shape[i + 2]! % m === 0) };
}

/** Means over parts of nearly equal length: [N, C, ...spatial] → [N, C, ...size]. */
export function adaptiveAvgPool(x: Tensor, size: PerAxis): Tensor {
  const { sizes, even } = adaptiveSizes('adaptiveAvgPool', x, size);
  if (even) {
    return blockMean(
      x,
      sizes.map((m, i) => x.shape[i + 2]! / m),
      sizes,
    );
  }
  return sizes.reduce((y, m, i) => {
    const n = x.shape[i + 2]!;
    const rows = parts(n, m).flatMap(([a, b]) =>
      Array.from({ length: n }, (_, j) => (j >= a && j < b ? 1 / (b - a) : 0)),
    );
    return mapAxis(y, i + 2, rows, m);
  }, x);
}

/** Maxima over parts of nearly equal length: [N, C, ...spatial] → [N, C, ...size]. */
export function adaptiveMaxPool(x: Tensor, size: PerAxis): Tensor {
  const { sizes, even } = adaptiveSizes('adaptiveMaxPool', x, size);
  if (even) {
    return maxPool(
      x,
      sizes.map((m, i) => x.shape[i + 2]! / m),
    );
  }
  // Parts of unequal length: each is filled up with its last element, which never is the first of equal ones.
  let windows = x;
  sizes.forEach((m, i) => {
    const list = parts(x.shape[i + 2]!, m);
    const longest = Math.max(...list.map(([a, b]) => b - a));
    const at = list.flatMap(([a, b]) => Array.from({ length: longest }, (_, j) => Math.min(a + j, b - 1)));
    windows = gather(windows, constant(i64(at, [m, longest])), 2 + 2 * i);
  });
  const outer = sizes.map((_, i) => 2 + 2 * i);
  const inner = sizes.map((_, i) => 3 + 2 * i);
  const flat = reshape(transpose(windows, [0, 1, ...outer, ...inner]), [
    ...x.shape.slice(0, 2),
    ...sizes,
    -1,
  ]);
  const first = argMax(flat, -1);
  return reshape(gatherElements(flat, reshape(first, [...first.shape, 1]), -1), first.shape);
}

const spatialAxes = (x: Tensor): number[] => x.shape.map((_, i) => i).slice(2);

/** Mean over all spatial axes: [N, C, ...spatial] → [N, C]. */
export const globalAvgPool = (x: Tensor): Tensor => mean(x, spatialAxes(x));
/** Largest element over all spatial axes: [N, C, ...spatial] → [N, C]; the first of equal ones gets the gradient. */
export const globalMaxPool = (x: Tensor): Tensor =>
  reshape(maxPool(x, x.shape.slice(2)), x.shape.slice(0, 2));
