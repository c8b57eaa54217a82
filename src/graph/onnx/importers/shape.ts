import { type Shape, sizeOf } from '../../host.ts';
import { broadcastShapes } from '../../ops/common.ts';
import * as ops from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import { type Importer, integers, inWide, type NodeReader, numbersAs } from '../reader.ts';

function slices(n: NodeReader): Tensor {
  const starts = n.either('starts', 1) ?? n.fail('has no starts');
  const ends = n.either('ends', 2) ?? n.fail('has no ends');
  const axes = n.either('axes', 3) ?? starts.map((_, i) => i);
  const steps = n.known(4) ?? starts.map(() => 1);
  return axes.reduce((y, axis, i) => {
    const size = y.dim(axis);
    // Ends far outside stand for the very end, also backwards.
    const end = steps[i]! < 0 && ends[i]! < -size ? undefined : ends[i]!;
    return ops.slice(y, axis, starts[i]!, end, steps[i]);
  }, n.x());
}

/** Adds to both ends of each axis, or cuts where negative. */
function pads(n: NodeReader): Tensor {
  const list = n.either('pads', 1) ?? n.fail('has no pads');
  const x = n.x();
  const axes = n.known(3)?.map((a) => ops.normalizeAxis(a, x.rank)) ?? [...x.shape.keys()];
  const side = (from: number) =>
    x.shape.map((_, i) => (axes.includes(i) ? list[from + axes.indexOf(i)]! : 0));
  const [before, after] = [side(0), side(axes.length)];
  const mode = n.choice('mode', 'constant', ['constant', 'reflect', 'edge', 'wrap'] as const);
  const grow = (by: readonly number[]) => by.map((p) => Math.max(0, p));
  const cut = x.shape.reduce<Tensor>(
    (y, d, i) => ops.slice(y, i, Math.max(0, -before[i]!), Math.max(0, d - Math.max(0, -after[i]!))),
    x,
  );
  if (mode !== 'constant') return repeated(mode, cut, grow(before), grow(after));
  return inWide([cut], (y) => {
    const value = n.known(2)?.[0] ?? n.number('value', 0);
    return ops.pad(y, grow(before), grow(after), value);
  });
}
/** Reflections and wraps longer than the axis go around several times. */
function repeated(
  mode: 'reflect' | 'edge' | 'wrap',
  x: Tensor,
  before: readonly number[],
  after: readonly number[],
): Tensor {
  const most = (axis: number) => {
    const d = x.shape[axis]!;
    return mode === 'reflect' ? d - 1 : mode === 'wrap' ? d : Number.POSITIVE_INFINITY;
  };
  const short = x.shape.every((_, i) => Math.max(before[i]!, after[i]!) <= most(i));
  if (short) return ops.padWith(mode, x, before, after);
  return x.shape.reduce<Tensor>((y, d, axis) => {
    const length = before[axis]! + d + after[axis]!;
    const turn = mode === 'reflect' ? Math.max(1, 2 * (d - 1)) : d;
    const at = Array.from({ length }, (_, k) => {
      const i = (((k - before[axis]!) % turn) + turn) % turn;
      return mode === 'reflect' && i >= d ? turn - i : i;
    });
    return length === d ? y : ops.gather(y, integers(at), axis);
  }, x);
}

function split(n: NodeReader): Tensor[] {
  const axis = n.axis('axis', 0);
  const length = n.x().dim(axis);
  const count = n.number('num_outputs', n.node.outputs.length);
  const part = Math.ceil(length / count);
  const even = Array.from({ length: count }, (_, i) => Math.max(0, Math.min(part, length - i * part)));
  return ops.split(n.x(), n.either('split', 1) ?? even, axis);
}

const axesOf = (n: NodeReader): number[] => n.either('axes', 1) ?? [];

type Image = [number, number, number, number];

/** Cuts out of the middle, or pads around it. */
function centerCropPad(n: NodeReader): Tensor {
  const shape = n.required(1);
  const axes = n.numbers('axes') ?? shape.map((_, i) => i);
  return axes.reduce<Tensor>((y, a, i) => {
    const axis = ops.normalizeAxis(a, y.rank);
    const [d, to] = [y.shape[axis]!, shape[i]!];
    const none = y.shape.map(() => 0);
    if (to <= d) {
      const from = Math.floor((d - to) / 2);
      return ops.slice(y, axis, from, from + to);
    }
    const before = Math.floor((to - d) / 2);
    return inWide([y], (wide) => ops.pad(wide, none.with(axis, before), none.with(axis, to - d - before)));
  }, n.x());
}

/** Arranging the elements of arrays. */
export const shapes: Record<string, Importer> = {
  Reshape: (n) => {
    const shape = n.numbers('shape') ?? n.required(1);
    const zero = n.flag('allowzero');
    return n.x().reshape(shape.map((d, i) => (d === 0 && !zero ? n.x().shape[i]! : d)));
  },
  Flatten: (n) => {
    const axis = n.number('axis', 1);
    const at = axis < 0 ? axis + n.x().rank : axis;
    return n.x().reshape([sizeOf(n.x().shape.slice(0, at)), sizeOf(n.x().shape.slice(at))]);
  },
  Transpose: (n) => n.x().transpose(n.numbers('perm') ?? [...n.x().shape.keys()].reverse()),
  Expand: (n) => {
    const shape = broadcastShapes(n.x().shape, n.required(1));
    return n.x().expand(shape ?? n.fail(`cannot make ${n.x()} into [${n.required(1)}]`));
  },
  Slice: slices,
  Pad: pads,
  Concat: (n) => ops.concat(n.all, n.axis('axis', 0)),
  Split: split,
  Squeeze: (n) => {
    const axes = axesOf(n).map((a) => ops.normalizeAxis(a, n.x().rank));
    const gone = (d: number, i: number) => (axes.length ? axes.includes(i) : d === 1);
    return n.x().reshape(n.x().shape.filter((d, i) => !gone(d, i)));
  },
  Unsqueeze: (n) => {
    const rank = n.x().rank + axesOf(n).length;
    const axes = axesOf(n).map((a) => ops.normalizeAxis(a, rank));
    const rest = [...n.x().shape];
    return n.x().reshape(Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : rest.shift()!)));
  },
  DepthToSpace: (n) => {
    const [b, [size, c, h, w]] = [n.number('blocksize', 1), n.x().shape as Image];
    const deep = n.choice('mode', 'DCR', ['DCR', 'CRD'] as const) === 'DCR';
    const parts = n.x().reshape(deep ? [size, b, b, c / (b * b), h, w] : [size, c / (b * b), b, b, h, w]);
    return parts
      .transpose(deep ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3])
      .reshape([size, c / (b * b), h * b, w * b]);
  },
  SpaceToDepth: (n) => {
    const [b, [size, c, h, w]] = [n.number('blocksize', 1), n.x().shape as Image];
    const deep = n.choice('mode', 'DCR', ['DCR', 'CRD'] as const) === 'DCR';
    const parts = n.x().reshape([size, c, h / b, b, w / b, b]);
    return parts
      .transpose(deep ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4])
      .reshape([size, c * b * b, h / b, w / b]);
  },
  Tile: (n) => ops.tile(n.x(), n.required(1)),
  Trilu: (n) =>
    inWide([n.x()], (x) => (n.flag('upper', true) ? ops.triu : ops.tril)(x, n.known(1)?.[0] ?? 0)),
  CenterCropPad: centerCropPad,
  ReverseSequence: (n) => {
    const [batch, time] = [n.number('batch_axis', 1), n.number('time_axis', 0)];
    const x = n.x();
    const on = (axis: number): Shape => x.shape.map((d, i) => (i === axis ? d : 1));
    const steps = integers(
      Array.from({ length: x.dim(time) }, (_, i) => i),
      on(time),
    );
    const lengths = n.x(1).cast('int64').reshape(on(batch));
    const at = ops.where(ops.less(steps, lengths), lengths.sub(1).sub(steps), steps);
    return ops.gatherElements(x, ops.expand(at, x.shape), time);
  },
  Shape: (n) => {
    const { shape, rank } = n.x();
    const clamp = (i: number) => Math.min(Math.max(i < 0 ? i + rank : i, 0), rank);
    return integers(shape.slice(clamp(n.number('start', 0)), clamp(n.number('end', rank))));
  },
  Size: (n) => numbersAs([n.x().size], [], 'int64'),
};
