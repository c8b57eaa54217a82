import { sizeOf } from '../../host.ts';
import { isFloat } from '../../ops/common.ts';
import * as ops from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader, numbersAs } from '../reader.ts';

type Mode = 'nearest' | 'linear' | 'cubic';
interface Axis {
  readonly length: number;
  readonly size: number;
  readonly scale: number;
  /** Start and end of the region to resize, in shares of the axis (tf_crop_and_resize). */
  readonly roi: readonly [number, number];
}

const positions = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
  'tf_half_pixel_for_nn',
  'tf_crop_and_resize',
] as const;
type Position = (typeof positions)[number];

/** Where element o of the resized axis lies in the original one. */
function place(o: number, { length, size, scale, roi }: Axis, position: Position): number {
  const half = (o + 0.5) / scale - 0.5;
  switch (position) {
    case 'align_corners':
      return size === 1 ? 0 : (o * (length - 1)) / (length * scale - 1);
    case 'asymmetric':
      return o / scale;
    case 'tf_half_pixel_for_nn':
      return (o + 0.5) / scale;
    case 'pytorch_half_pixel':
      return size > 1 ? half : 0;
    case 'half_pixel_symmetric': {
      const adjustment = size / (scale * length);
      return (length / 2) * (1 - adjustment) + half;
    }
    case 'tf_crop_and_resize':
      return size > 1
        ? roi[0] * (length - 1) + (o * (roi[1] - roi[0]) * (length - 1)) / (size - 1)
        : 0.5 * (roi[0] + roi[1]) * (length - 1);
    default:
      return half;
  }
}

const nearest = {
  round_prefer_floor: (at: number) => Math.ceil(at - 0.5),
  round_prefer_ceil: (at: number) => Math.floor(at + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

const triangle = (t: number): number => Math.max(0, 1 - Math.abs(t));
/** Keys' cubic convolution kernel. */
const cubic = (a: number) => (t: number) => {
  const x = Math.abs(t);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
};

function resize(n: NodeReader): Tensor {
  const x = n.x();
  const old = n.node.type === 'Upsample' || n.opset < 11;
  const [roi, factors, target] = old
    ? [undefined, n.numbers('scales') ?? n.required(1), undefined]
    : [n.known(1), n.known(2), n.known(3)];
  const axes = n.numbers('axes')?.map((a) => ops.normalizeAxis(a, x.rank)) ?? [...x.shape.keys()];
  const scaled = factors?.length ? factors : undefined;
  if (!scaled && !target?.length) n.fail('has no scales and no sizes');
  const list = axes.map((axis, i): Axis & { axis: number } => {
    const length = x.shape[axis]!;
    const scale = scaled ? scaled[i]! : target![i]! / length;
    const size = scaled ? Math.floor(length * scale) : target![i]!;
    return { axis, length, size, scale, roi: roi?.length ? [roi[i]!, roi[i + axes.length]!] : [0, 1] };
  });
  const policy = n.choice('keep_aspect_ratio_policy', 'stretch', [
    'stretch',
    'not_larger',
    'not_smaller',
  ] as const);
  if (!scaled && policy !== 'stretch') {
    const pick = policy === 'not_larger' ? Math.min : Math.max;
    const scale = pick(...list.map((a) => a.scale));
    list.forEach((a, i) => {
      list[i] = { ...a, scale, size: Math.floor(scale * a.length + 0.5) };
    });
  }
  const mode = n.choice<Mode>('mode', 'nearest', ['nearest', 'linear', 'cubic']);
  const position = old
    ? 'asymmetric'
    : n.choice<Position>('coordinate_transformation_mode', 'half_pixel', positions);
  const changed = list.filter(
    (a) => a.size !== a.length || a.scale !== 1 || position === 'tf_crop_and_resize',
  );
  const y = changed.reduce<Tensor>((t, a) => resizeAxis(n, t, a, mode, position, old), x);
  return position === 'tf_crop_and_resize' ? outside(n, y, list) : y;
}

function resizeAxis(
  n: NodeReader,
  x: Tensor,
  a: Axis & { axis: number },
  mode: Mode,
  position: Position,
  old: boolean,
): Tensor {
  const { axis, length, size } = a;
  const places = Array.from({ length: size }, (_, o) => place(o, a, position));
  if (mode === 'nearest') {
    const rounding = old
      ? 'floor'
      : n.choice('nearest_mode', 'round_prefer_floor', [
          'round_prefer_floor',
          'round_prefer_ceil',
          'floor',
          'ceil',
        ] as const);
    const at = places.map((p) => Math.min(Math.max(nearest[rounding](p), 0), length - 1));
    const times = size / length;
    // Whole factors are copies, without a gather.
    if (at.every((i, o) => i === Math.floor(o / times)) && Number.isInteger(times)) {
      const unit = x.reshape([...x.shape.slice(0, axis + 1), 1, ...x.shape.slice(axis + 1)]);
      return unit.expand(unit.shape.with(axis + 1, times)).reshape(x.shape.with(axis, size));
    }
    return ops.gather(x, integers(at), axis);
  }
  const wide = isFloat(x) ? x : x.cast('float32');
  const rows = places.flatMap((at) => taps(n, at, a, mode));
  const y = ops.mapAxis(wide, axis, rows, size);
  return isFloat(x) ? y : ops.trunc(y).cast(x.dtype);
}

/** The share of each original element in one that lies at `at`. */
function taps(n: NodeReader, at: number, { length, scale }: Axis, mode: Mode): number[] {
  const kernel = mode === 'cubic' ? cubic(n.number('cubic_coeff_a', -0.75)) : triangle;
  const smooth = n.flag('antialias') && scale < 1;
  const wide = smooth ? 1 / scale : 1;
  const reach = (mode === 'cubic' ? 2 : 1) * wide;
  const row = new Array<number>(length).fill(0);
  const inside = n.flag('exclude_outside');
  // Linear interpolation keeps to the outermost elements beyond them.
  const centre = mode === 'linear' && !smooth ? Math.min(Math.max(at, 0), length - 1) : at;
  let total = 0;
  for (let i = Math.ceil(centre - reach); i <= Math.floor(centre + reach); i++) {
    const w = kernel((i - centre) / wide);
    if (inside && (i < 0 || i >= length)) continue;
    row[Math.min(Math.max(i, 0), length - 1)]! += w;
    total += w;
  }
  return inside || smooth ? row.map((w) => w / total) : row;
}

/** What a crop takes from outside of x is a given value. */
function outside(n: NodeReader, y: Tensor, axes: readonly (Axis & { axis: number })[]): Tensor {
  const value = n.number('extrapolation_value', 0);
  return axes.reduce<Tensor>((t, a) => {
    const beyond = Array.from({ length: a.size }, (_, o) => {
      const at = place(o, a, 'tf_crop_and_resize');
      return Number(at < 0 || at > a.length - 1);
    });
    if (!beyond.includes(1)) return t;
    const mask = numbersAs(
      beyond,
      t.shape.map((d, i) => (i === a.axis ? d : 1)),
      'bool',
    );
    return ops.where(mask, value, t);
  }, y);
}

/** Points of a grid over [−1, 1] moved by affine maps [N, d, d + 1]. */
function affineGrid(n: NodeReader): Tensor {
  const theta = n.x();
  const lengths = n.required(1).slice(2);
  const corners = n.flag('align_corners');
  const unit = lengths.map((d) =>
    Array.from({ length: d }, (_, i) => {
      if (corners) return d > 1 ? -1 + (2 * i) / (d - 1) : 0;
      return (2 * i + 1) / d - 1;
    }),
  );
  // The last axis of the image is the first coordinate.
  const count = sizeOf(lengths);
  const points = Array.from({ length: count }, (_, flat) => {
    let rest = flat;
    const point = lengths.map((_, i) => {
      const step = sizeOf(lengths.slice(i + 1));
      const index = Math.floor(rest / step);
      rest -= index * step;
      return unit[i]![index]!;
    });
    return [...point.reverse(), 1];
  }).flat();
  const d = lengths.length;
  const grid = ops.matmul(numbersAs(points, [count, d + 1], theta.dtype), theta, { transB: true });
  return grid.reshape([theta.dim(0), ...lengths, d]);
}

/** Resizing of images. */
export const images: Record<string, Importer> = {
  Resize: resize,
  Upsample: resize,
  AffineGrid: affineGrid,
};
