import { type Shape, sizeOf } from '../../host.ts';
import * as ops from '../../ops/index.ts';
import { constant, type Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader } from '../reader.ts';

/** Batch axes: each batch is a row of one table, and the index vectors begin with the number of their row. */
function gatherND(n: NodeReader): Tensor {
  const [x, at] = [n.x(0), n.x(1).cast('int64')];
  const axes = n.number('batch_dims', 0);
  if (axes === 0) return ops.gatherND(x, at);
  const batch = x.shape.slice(0, axes);
  const rows = sizeOf(batch);
  const inner = at.shape.slice(axes);
  const row = integers(
    Array.from({ length: rows }, (_, i) => i),
    [rows, ...inner.map(() => 1)],
  );
  const numbered = ops.concat(
    [ops.expand(row, [rows, ...inner.with(-1, 1)]), at.reshape([rows, ...inner])],
    -1,
  );
  const found = ops.gatherND(x.reshape([rows, ...x.shape.slice(axes)]), numbered);
  return found.reshape([...batch, ...found.shape.slice(1)]);
}

function scatterElements(n: NodeReader): Tensor {
  const [x, at, updates] = [n.x(0), n.x(1), n.x(2)];
  const axis = n.axis('axis', 0);
  const reduction = n.choice('reduction', 'none', ['none', 'add', 'mul', 'max', 'min'] as const);
  if (reduction === 'none') return ops.scatter(x, at, updates, axis);
  if (reduction === 'add') return ops.scatterAdd(x, at, updates, axis);
  return n.foreign([x, at, updates], [x], { axis, reduction })[0]!;
}

function scatterND(n: NodeReader): Tensor {
  const [x, at, updates] = [n.x(0), n.x(1), n.x(2)];
  const reduction = n.choice('reduction', 'none', ['none', 'add', 'mul', 'max', 'min'] as const);
  if (reduction === 'none' || reduction === 'add') return ops.scatterND(x, at, updates, reduction);
  return n.foreign([x, at, updates], [x], { reduction })[0]!;
}

/** Flat positions of what `keep` chooses. */
const positions = (values: readonly number[], keep: (v: number) => boolean): number[] =>
  values.flatMap((v, i) => (keep(v) ? [i] : []));

/** Indices of non-zero elements: [rank, count]. */
function nonZero(n: NodeReader): Tensor {
  const { shape } = n.x();
  const found = positions(n.required(0), (v) => v !== 0);
  const strides = shape.map((_, i) => sizeOf(shape.slice(i + 1)));
  const rows = strides.flatMap((s, i) => found.map((at) => Math.floor(at / s) % shape[i]!));
  return integers(rows, [shape.length, found.length]);
}

function compress(n: NodeReader): Tensor {
  const chosen = positions(n.required(1), (v) => v !== 0);
  if (!n.node.attrs.has('axis')) return ops.gather(n.x().reshape([-1]), integers(chosen), 0);
  return ops.gather(n.x(), integers(chosen), n.axis('axis', 0));
}

/** Distinct slices in order, where they first stand, which each one is, and how often it occurs. */
function unique(n: NodeReader): Tensor[] {
  const flat = !n.node.attrs.has('axis');
  const x = flat ? n.x().reshape([-1]) : n.x();
  const axis = flat ? 0 : n.axis('axis', 0);
  const values = n.required(0);
  const count = x.dim(axis);
  const inner = sizeOf(x.shape.slice(axis + 1));
  const outer = sizeOf(x.shape.slice(0, axis));
  const slice = (i: number): number[] =>
    Array.from({ length: outer * inner }, (_, k) => {
      return values[(Math.floor(k / inner) * count + i) * inner + (k % inner)]!;
    });
  const seen = new Map<string, { at: number; times: number; slice: number[] }>();
  const keys = Array.from({ length: count }, (_, i) => {
    const key = slice(i).join();
    const known = seen.get(key);
    if (known) known.times++;
    else seen.set(key, { at: i, times: 1, slice: slice(i) });
    return key;
  });
  const order = [...seen.entries()];
  if (n.flag('sorted', true)) {
    order.sort(([, a], [, b]) => {
      const k = a.slice.findIndex((v, i) => v !== b.slice[i]);
      return k < 0 ? 0 : a.slice[k]! - b.slice[k]!;
    });
  }
  const rank = new Map(order.map(([key], i) => [key, i]));
  const first = integers(order.map(([, { at }]) => at));
  return [
    ops.gather(x, first, axis),
    first,
    integers(keys.map((k) => rank.get(k)!)),
    integers(order.map(([, { times }]) => times)),
  ];
}

/** Boxes that are not covered by better ones, greedily by score: rows of (batch, class, box). */
function nonMaxSuppression(n: NodeReader): Tensor {
  const [boxes, scores] = [n.required(0), n.required(1)];
  const [batches, classes, count] = n.x(1).shape as [number, number, number];
  const [most, overlap] = [n.known(2)?.[0] ?? 0, n.known(3)?.[0] ?? 0];
  const least = n.known(4)?.[0] ?? Number.NEGATIVE_INFINITY;
  const centre = n.flag('center_point_box');
  const corners = (b: number, i: number): [number, number, number, number] => {
    const [p, q, r, s] = boxes.slice((b * count + i) * 4, (b * count + i) * 4 + 4) as [
      number,
      number,
      number,
      number,
    ];
    if (centre) return [q - s / 2, p - r / 2, q + s / 2, p + r / 2];
    return [Math.min(p, r), Math.min(q, s), Math.max(p, r), Math.max(q, s)];
  };
  const rows: number[] = [];
  for (let b = 0; b < batches; b++) {
    for (let c = 0; c < classes; c++) {
      const score = (i: number) => scores[(b * classes + c) * count + i]!;
      const order = [...Array(count).keys()].filter((i) => score(i) > least);
      order.sort((i, j) => score(j) - score(i));
      const kept: number[] = [];
      for (const i of order) {
        if (kept.length >= most) break;
        if (kept.some((j) => intersection(corners(b, i), corners(b, j)) > overlap)) continue;
        kept.push(i);
        rows.push(b, c, i);
      }
    }
  }
  return integers(rows, [rows.length / 3, 3]);
}
type Box = readonly [number, number, number, number];
/** Intersection over union. */
function intersection(a: Box, b: Box): number {
  const area = (x: Box) => (x[2] - x[0]) * (x[3] - x[1]);
  const height = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const width = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(0, height) * Math.max(0, width);
  return shared === 0 ? 0 : shared / (area(a) + area(b) - shared);
}

/** Puts pooled values back where they came from; the rest is zero. */
function maxUnpool(n: NodeReader): Tensor {
  const [x, at] = [n.x(0), n.x(1)];
  const kernel = n.numbers('kernel_shape') ?? n.fail('has no kernel_shape');
  const strides = n.numbers('strides') ?? kernel.map(() => 1);
  const pads = n.numbers('pads') ?? kernel.flatMap(() => [0, 0]);
  const lengths = kernel.map(
    (k, i) => (x.shape[i + 2]! - 1) * strides[i]! + k - pads[i]! - pads[i + kernel.length]!,
  );
  const natural: Shape = [...x.shape.slice(0, 2), ...lengths];
  const shape = n.known(2) ?? natural;
  // Positions count in the array that was pooled; a larger output keeps its rows.
  const counted = shape.every((d, i) => d === natural[i]) ? at : moved(at, natural, shape);
  const empty = ops.expand(constant(0, x.dtype), [sizeOf(shape)]);
  return ops.scatter(empty, counted.reshape([-1]), x.reshape([-1]), 0).reshape(shape);
}
function moved(at: Tensor, from: Shape, to: Shape): Tensor {
  let rest = at;
  let sum: Tensor | undefined;
  from.forEach((_, i) => {
    const step = sizeOf(from.slice(i + 1));
    const index = rest.div(step);
    rest = rest.sub(index.mul(step));
    const part = index.mul(sizeOf(to.slice(i + 1)));
    sum = sum ? sum.add(part) : part;
  });
  return sum!;
}

/** Reading and writing by index. */
export const gathers: Record<string, Importer> = {
  Gather: (n) => ops.gather(n.x(0), n.x(1), n.axis('axis', 0)),
  GatherElements: (n) => ops.gatherElements(n.x(0), n.x(1), n.axis('axis', 0)),
  GatherND: gatherND,
  ScatterElements: scatterElements,
  Scatter: (n) => ops.scatter(n.x(0), n.x(1), n.x(2), n.axis('axis', 0)),
  ScatterND: scatterND,
  NonZero: nonZero,
  Compress: compress,
  Unique: unique,
  NonMaxSuppression: nonMaxSuppression,
  MaxUnpool: maxUnpool,
};
