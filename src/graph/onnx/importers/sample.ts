import { type Shape, sizeOf } from '../../host.ts';
import { slide } from '../../ops/conv.ts';
import { reflect } from '../../ops/grid.ts';
import * as ops from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader, numbersAs } from '../reader.ts';

/** Whole places on one axis as floats, [N, P], and their shares. */
type Taps = readonly (readonly [at: Tensor, share: Tensor | undefined])[];

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
/** The number of each image, [N, 1]. */
const every = (x: Tensor): Tensor => integers(range(x.dim(0)), [x.dim(0), 1]);

/** Elements of x [N, C, ...spatial] at whole places of the images `rows` [R, 1]; zero outside: [R, P, C]. */
function fetchAt(x: Tensor, rows: Tensor, at: readonly Tensor[]): Tensor {
  const [n, c, ...lengths] = x.shape as [number, number, ...number[]];
  const area = sizeOf(lengths);
  const table = x
    .reshape([n, c, area])
    .transpose([0, 2, 1])
    .reshape([n * area, c]);
  let flat = rows.mul(area);
  let inside: Tensor | undefined;
  at.forEach((t, i) => {
    const last = lengths[i]! - 1;
    flat = flat.add(
      ops
        .clip(t, 0, last)
        .cast('int64')
        .mul(sizeOf(lengths.slice(i + 1))),
    );
    const within = ops.and(ops.lessEqual(0, t), ops.lessEqual(t, last));
    inside = inside ? ops.and(inside, within) : within;
  });
  return ops.where(inside!.reshape([...flat.shape, 1]), ops.gather(table, flat, 0), 0);
}

/** The parts of each combination of taps: share times value. */
function parts(x: Tensor, rows: Tensor, axes: readonly Taps[]): Tensor[] {
  const combinations = axes.reduce<{ at: Tensor[]; share?: Tensor | undefined }[]>(
    (list, taps) =>
      list.flatMap(({ at, share }) =>
        taps.map(([place, s]) => ({ at: [...at, place], share: share && s ? share.mul(s) : (share ?? s) })),
      ),
    [{ at: [] }],
  );
  return combinations.map(({ at, share }) => {
    const values = fetchAt(x, rows, at);
    return share ? values.mul(share.reshape([...share.shape, 1])) : values;
  });
}

const linear = (at: Tensor): Taps => {
  const base = ops.floor(at);
  const f = at.sub(base);
  return [
    [base, ops.sub(1, f)],
    [base.add(1), f],
  ];
};
/** Keys' cubic convolution with a = −0.75, as PyTorch's. */
function cubic(at: Tensor): Taps {
  const a = -0.75;
  const base = ops.floor(at);
  const f = at.sub(base);
  const near = (t: Tensor) =>
    t
      .mul(a + 2)
      .sub(a + 3)
      .mul(t)
      .mul(t)
      .add(1);
  const far = (t: Tensor) => t.sub(5).mul(t).add(8).mul(t).sub(4).mul(a);
  return [
    [base.sub(1), far(f.add(1))],
    [base, near(f)],
    [base.add(1), near(ops.sub(1, f))],
    [base.add(2), far(ops.sub(2, f))],
  ];
}

/** Samples x [N, C, ...spatial] at a grid [N, ...places, d] of points in [−1, 1], the last axis first. */
function gridSample(n: NodeReader): Tensor {
  const [x, grid] = [n.x(0), n.x(1)];
  const mode = n.choice('mode', 'linear', ['linear', 'bilinear', 'nearest', 'cubic', 'bicubic'] as const);
  const paddingMode = n.choice('padding_mode', 'zeros', ['zeros', 'border', 'reflection'] as const);
  const alignCorners = n.flag('align_corners');
  const smooth = mode === 'cubic' || mode === 'bicubic';
  if (x.rank === 4 && !smooth) {
    return ops.gridSample(x, grid, {
      mode: mode === 'nearest' ? 'nearest' : 'bilinear',
      paddingMode,
      alignCorners,
    });
  }
  const lengths = x.shape.slice(2);
  const places = grid.shape.slice(1, -1);
  const axes = lengths.map((size, i): Taps => {
    const unit = ops
      .slice(grid, -1, lengths.length - 1 - i, lengths.length - i)
      .reshape([x.dim(0), sizeOf(places)]);
    const at = alignCorners
      ? unit.add(1).mul((size - 1) / 2)
      : unit
          .add(1)
          .mul(size / 2)
          .sub(0.5);
    const bring = (t: Tensor): Tensor => {
      if (paddingMode === 'zeros') return t;
      const low = alignCorners ? 0 : -0.5;
      return ops.clip(paddingMode === 'border' ? t : reflect(t, low, size - 1 - low), 0, size - 1);
    };
    // Curves are padded tap by tap, lines at the point itself.
    if (smooth) return cubic(at).map(([t, share]) => [bring(t), share]);
    return mode === 'nearest' ? [[ops.round(bring(at)), undefined]] : linear(bring(at));
  });
  const y = parts(x, every(x), axes).reduce(ops.add);
  return y.transpose([0, 2, 1]).reshape([x.dim(0), x.dim(1), ...places]);
}

/** Means or maxima of samples in each cell of regions of images. */
function roiAlign(n: NodeReader): Tensor {
  const [x, rois, rows] = [n.x(0), n.x(1), n.x(2).cast('int64')];
  const size: Shape = [n.number('output_height', 1), n.number('output_width', 1)];
  const ratio = n.number('sampling_ratio', 0);
  const half = n.opset >= 16 && n.string('coordinate_transformation_mode', 'half_pixel') === 'half_pixel';
  const scale = n.number('spatial_scale', 1);
  const mode = n.choice('mode', 'avg', ['avg', 'max'] as const);
  const some = (from: number, to: number, counts: Shape): Tensor => {
    const count = to - from;
    const edge = (i: number) =>
      ops
        .slice(ops.slice(rois, 0, from, to), 1, i, i + 1)
        .mul(scale)
        .sub(half ? 0.5 : 0);
    const axes = [0, 1].map((axis) => {
      const start = edge(1 - axis);
      const length = edge(3 - axis).sub(start);
      const cell = (half ? length : ops.maximum(length, 1)).div(size[axis]!);
      const steps = counts[axis]!;
      const at = range(size[axis]! * steps).map((k) => (k + 0.5) / steps);
      return start.add(cell.mul(numbersAs(at, [at.length], x.dtype)));
    });
    const [rowsAt, columnsAt] = axes as [Tensor, Tensor];
    const [h, w] = [rowsAt.dim(1), columnsAt.dim(1)];
    const points = [
      rowsAt.reshape([count, h, 1]).expand([count, h, w]),
      columnsAt.reshape([count, 1, w]).expand([count, h, w]),
    ].map((t) => t.reshape([count, h * w]));
    let near: Tensor | undefined;
    const taps = points.map((t, i): Taps => {
      const last = x.dim(i + 2) - 1;
      const within = ops.and(ops.lessEqual(-1, t), ops.lessEqual(t, last + 1));
      near = near ? ops.and(near, within) : within;
      return linear(ops.clip(t, 0, last));
    });
    const images = ops.slice(rows, 0, from, to).reshape([count, 1]);
    const values = parts(x, images, taps).reduce(mode === 'avg' ? ops.add : ops.maximum);
    const kept = ops.where(near!.reshape([count, h * w, 1]), values, 0);
    const cells = kept.reshape([count, size[0]!, counts[0]!, size[1]!, counts[1]!, x.dim(1)]);
    return (mode === 'avg' ? cells.mean([2, 4]) : cells.max([2, 4])).transpose([0, 3, 1, 2]);
  };
  if (ratio > 0) return some(0, rois.dim(0), [ratio, ratio]);
  // As many samples as a region's cells have pixels: regions must be known.
  const known = n.required(1);
  const each = range(rois.dim(0)).map((r) => {
    const length = (axis: number) => {
      const d = (known[r * 4 + 3 - axis]! - known[r * 4 + 1 - axis]!) * scale;
      return Math.max(1, Math.ceil((half ? d : Math.max(d, 1)) / size[axis]!));
    };
    return some(r, r + 1, [length(0), length(1)]);
  });
  return ops.concat(each, 0);
}

/** A convolution whose taps are moved by offsets and weighted by a mask (Zhu et al. 2019). */
function deformConv(n: NodeReader): Tensor {
  const [x, w, offset, bias, mask] = [n.x(0), n.x(1), n.x(2), n.maybe(3), n.maybe(4)];
  const [batch, channels] = [x.dim(0), x.dim(1)];
  const kernel = w.shape.slice(2);
  if (kernel.length !== 2) n.fail('is not over two axes, which is not supported');
  const [groups, moved] = [n.number('group', 1), n.number('offset_group', 1)];
  const strides = n.numbers('strides') ?? [1, 1];
  const dilations = n.numbers('dilations') ?? [1, 1];
  const pads = n.numbers('pads') ?? [0, 0, 0, 0];
  const window = { strides, dilations, before: pads.slice(0, 2), after: pads.slice(2) };
  const [rows, columns] = slide(x.shape.slice(2), kernel, window) as [number, number];
  const [taps, places] = [sizeOf(kernel), rows * columns];
  const offsets = offset.reshape([batch, moved, taps, 2, places]);
  const own = channels / moved;
  const cut = range(moved).map((g) => {
    const at = [0, 1].map((axis) => {
      const base = range(taps).flatMap((k) =>
        range(places).map((p) => {
          const tap = axis === 0 ? Math.floor(k / kernel[1]!) : k % kernel[1]!;
          const place = axis === 0 ? Math.floor(p / columns) : p % columns;
          return place * strides[axis]! - pads[axis]! + tap * dilations[axis]!;
        }),
      );
      const shift = ops
        .slice(ops.slice(offsets, 1, g, g + 1), 3, axis, axis + 1)
        .reshape([batch, taps * places]);
      return linear(shift.add(numbersAs(base, [base.length], x.dtype)));
    });
    const values = parts(ops.slice(x, 1, g * own, (g + 1) * own), every(x), at).reduce(ops.add);
    const weight = mask && ops.slice(mask.reshape([batch, moved, taps * places]), 1, g, g + 1);
    const shaped = weight ? values.mul(weight.reshape([batch, taps * places, 1])) : values;
    return shaped.transpose([0, 2, 1]);
  });
  const all = ops.concat(cut, 1).reshape([batch, groups, (channels / groups) * taps, places]);
  const weights = w.reshape([groups, w.dim(0) / groups, (channels / groups) * taps]);
  const y = ops.matmul(weights, all).reshape([batch, w.dim(0), rows, columns]);
  return bias ? y.add(bias.reshape([bias.size, 1, 1])) : y;
}

/** Reading between pixels. */
export const samples: Record<string, Importer> = {
  GridSample: gridSample,
  RoiAlign: roiAlign,
  DeformConv: deformConv,
};
