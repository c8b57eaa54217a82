import { floats, type HostTensor, sizeOf } from '../host.ts';
import * as ops from '../ops/index.ts';
import { constant, type Tensor } from '../tensor.ts';
import { hostNumbers, type Importer, integers, type NodeReader } from './reader.ts';

function slices(n: NodeReader): Tensor {
  const [starts, ends] = [n.either('starts', 1)!, n.either('ends', 2)!];
  const axes = n.either('axes', 3) ?? starts.map((_, i) => i);
  const steps = n.known(4) ?? starts.map(() => 1);
  const x = n.x();
  const values = hostNumbers(x);
  if (values && x.rank === 1 && x.dtype === 'int64') {
    const [step, size] = [steps[0]!, values.length];
    const clamp = (i: number, low: number, high: number) =>
      Math.min(Math.max(i < 0 ? i + size : i, low), high);
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const picked: number[] = [];
    const end = clamp(ends[0]!, low, high);
    for (let i = clamp(starts[0]!, low, high); step > 0 ? i < end : i > end; i += step)
      picked.push(values[i]!);
    return integers(picked, [picked.length]);
  }
  return axes.reduce((y, axis, i) => {
    const size = y.dim(axis);
    // Ends far outside stand for the very end, also backwards.
    const end = steps[i]! < 0 && ends[i]! < -size ? undefined : ends[i]!;
    return ops.slice(y, axis, starts[i]!, end, steps[i]);
  }, x);
}

/** Resizing in the forms that PyTorch exports. */
function resize(n: NodeReader): Tensor {
  const x = n.x();
  const scales = n.known(2);
  const sizes =
    n.known(3) ??
    x.shape.map((d, i) => Math.floor(d * (scales?.[i] ?? n.fail('has no scales and no sizes'))));
  const mode = n.string('mode', 'nearest');
  const position = n.string('coordinate_transformation_mode', 'half_pixel');
  const rounding = n.string('nearest_mode', 'round_prefer_floor');
  const spread = sizes.every((m, i) => m % x.shape[i]! === 0);
  const nearest =
    (position === 'asymmetric' && rounding === 'floor') ||
    (spread && position === 'half_pixel' && rounding.startsWith('round'));
  // PyTorch's own name stands for its position only where more than one element is made.
  const smooth =
    ['half_pixel', 'align_corners'].includes(position) ||
    (position === 'pytorch_half_pixel' && sizes.slice(2).every((m) => m > 1));
  if (x.rank < 3 || sizes[0] !== x.shape[0] || sizes[1] !== x.shape[1] || n.ints('axes')) {
    n.fail('resizes other axes than the spatial ones, which is not supported');
  }
  if (n.int('antialias', 0) === 1) n.fail('is antialiased, which is not supported');
  if (!(mode === 'nearest' ? nearest : smooth && n.int('cubic_coeff_a', -0.75) === -0.75)) {
    n.fail(`has the mode ${mode} with ${position} and ${rounding}, which is not supported`);
  }
  return ops.resize(x, sizes.slice(2), {
    mode: mode === 'linear' ? 'bilinear' : mode === 'cubic' ? 'bicubic' : 'nearest',
    alignCorners: position === 'align_corners',
  });
}

function reductionOf(n: NodeReader): 'none' | 'add' {
  const reduction = n.string('reduction', 'none');
  return reduction === 'none' || reduction === 'add'
    ? reduction
    : n.fail(`reduces by ${reduction}, which is not supported`);
}

const onAxes = (n: NodeReader): number[] => n.either('axes', 1) ?? [];

/** Imports of ops that arrange, index and make arrays. */
export const shapeImporters = {
  Reshape: (n) => {
    const zero = n.int('allowzero', 0) === 1;
    return n.x().reshape(n.known(1)!.map((d, i) => (d === 0 && !zero ? n.x().shape[i]! : d)));
  },
  Flatten: (n) => {
    const axis = n.int('axis', 1);
    const at = axis < 0 ? axis + n.x().rank : axis;
    return n.x().reshape([sizeOf(n.x().shape.slice(0, at)), sizeOf(n.x().shape.slice(at))]);
  },
  Transpose: (n) => n.x().transpose(n.ints('perm') ?? [...n.x().shape.keys()].reverse()),
  Expand: (n) => {
    const shape = n.known(1)!;
    // Lengths of 1 keep what is there, and missing axes in front are those of x.
    const rank = Math.max(shape.length, n.x().rank);
    const of = (s: readonly number[], i: number) => s[s.length - rank + i] ?? 1;
    return n.x().expand(Array.from({ length: rank }, (_, i) => Math.max(of(shape, i), of(n.x().shape, i))));
  },
  Slice: slices,
  Pad: (n) => {
    const pads = n.either('pads', 1)!;
    const axes = n.known(3)?.map((a) => ops.normalizeAxis(a, n.x().rank)) ?? [...n.x().shape.keys()];
    const side = (from: number) =>
      n.x().shape.map((_, i) => (axes.includes(i) ? pads[from + axes.indexOf(i)]! : 0));
    const [before, after] = [side(0), side(axes.length)];
    const mode = n.string('mode', 'constant');
    if (mode === 'constant') return ops.pad(n.x(), before, after, n.known(2)?.[0] ?? 0);
    return ops.padWith(mode as 'reflect' | 'edge' | 'wrap', n.x(), before, after);
  },
  Concat: (n) => {
    const all = n.operands.map((_, i) => n.x(i));
    const known = all.map((t) => (t.rank === 1 && t.dtype === 'int64' ? hostNumbers(t) : undefined));
    if (known.every((v) => v !== undefined)) return integers(known.flat(), [known.flat().length]);
    return ops.concat(all, n.int('axis', 0));
  },
  Split: (n) => {
    const axis = n.int('axis', 0);
    const count = n.node.outputs.length;
    const length = n.x().dim(axis);
    const part = Math.ceil(length / count);
    const even = Array.from({ length: count }, (_, i) => Math.min(part, length - i * part));
    return ops.split(n.x(), n.either('split', 1) ?? even, axis);
  },
  Squeeze: (n) => {
    const axes = onAxes(n).map((a) => ops.normalizeAxis(a, n.x().rank));
    const gone = (d: number, i: number) => (axes.length ? axes.includes(i) : d === 1);
    return n.x().reshape(n.x().shape.filter((d, i) => !gone(d, i)));
  },
  Unsqueeze: (n) => {
    const rank = n.x().rank + onAxes(n).length;
    const axes = onAxes(n).map((a) => ops.normalizeAxis(a, rank));
    const rest = [...n.x().shape];
    return n.x().reshape(Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : rest.shift()!)));
  },
  Resize: resize,
  OneHot: (n) => {
    const [depth, values] = [n.known(1)![0]!, n.x(2)];
    const ids = n.x(0).cast('int64');
    const hot = ops.oneHot(ops.where(ops.less(ids, 0), ids.add(depth), ids), depth);
    const rank = hot.rank;
    const axis = ops.normalizeAxis(n.int('axis', -1), rank);
    const order = Array.from({ length: rank - 1 }, (_, i) => i);
    order.splice(axis, 0, rank - 1);
    const [off, on] = [values.slice(0, 0, 1).reshape([]), values.slice(0, 1, 2).reshape([])];
    return ops.where(ops.equal(hot.transpose(order), 1), on, off);
  },
  DepthToSpace: (n) => {
    const [b, [size, c, h, w]] = [n.int('blocksize', 1), n.x().shape as [number, number, number, number]];
    const deep = n.string('mode', 'DCR') === 'DCR';
    const split = n.x().reshape(deep ? [size, b, b, c / (b * b), h, w] : [size, c / (b * b), b, b, h, w]);
    return split
      .transpose(deep ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3])
      .reshape([size, c / (b * b), h * b, w * b]);
  },
  SpaceToDepth: (n) => {
    if (n.string('mode', 'DCR') !== 'DCR') n.fail('has a mode that is not supported');
    const [b, [size, c, h, w]] = [n.int('blocksize', 1), n.x().shape as [number, number, number, number]];
    const split = n.x().reshape([size, c, h / b, b, w / b, b]);
    return split.transpose([0, 3, 5, 1, 2, 4]).reshape([size, c * b * b, h / b, w / b]);
  },
  Tile: (n) => ops.tile(n.x(), n.known(1)!),
  Trilu: (n) => (n.int('upper', 1) === 1 ? ops.triu : ops.tril)(n.x(), n.known(1)?.[0] ?? 0),
  Gather: (n) => {
    const [x, at] = [n.x(0), n.x(1)];
    const [values, places] = [x.dtype === 'int64' ? hostNumbers(x) : undefined, hostNumbers(at)];
    if (values && places && x.rank === 1) {
      return integers(
        places.map((p) => values.at(p)!),
        at.shape,
      );
    }
    return ops.gather(x, at, n.int('axis', 0));
  },
  GatherElements: (n) => ops.gatherElements(n.x(0), n.x(1), n.int('axis', 0)),
  GatherND: (n) => {
    if (n.int('batch_dims', 0) !== 0) n.fail('has batch axes, which are not supported');
    return ops.gatherND(n.x(0), n.x(1));
  },
  ScatterElements: (n) => {
    const put = reductionOf(n) === 'add' ? ops.scatterAdd : ops.scatter;
    return put(n.x(0), n.x(1), n.x(2), n.int('axis', 0));
  },
  ScatterND: (n) => ops.scatterND(n.x(0), n.x(1), n.x(2), reductionOf(n)),
  Shape: (n) => {
    const shape = n.x().shape.slice(n.int('start', 0), n.int('end', n.x().rank));
    return integers(shape, [shape.length]);
  },
  Size: (n) => integers([n.x().size], []),
  Constant: (n) => {
    const { attrs } = n.node;
    const value = attrs.get('value');
    if (value) return constant(value as HostTensor);
    const [number, list] = [
      attrs.get('value_int') ?? attrs.get('value_ints'),
      attrs.get('value_float') ?? attrs.get('value_floats'),
    ];
    if (number !== undefined)
      return typeof number === 'number'
        ? integers([number], [])
        : integers(number as number[], [(number as number[]).length]);
    if (list === undefined) n.fail('holds a value that is not supported');
    return constant(
      floats(
        typeof list === 'number' ? [list] : (list as number[]),
        typeof list === 'number' ? [] : [(list as number[]).length],
        'float32',
      ),
    );
  },
  ConstantOfShape: (n) => {
    const value = (n.node.attrs.get('value') as HostTensor | undefined) ?? floats([0], [1], 'float32');
    const shape = n.known(0)!;
    if (value.dtype === 'int64') return integers(new Array(sizeOf(shape)).fill(Number(value.data[0])), shape);
    return ops.expand(constant({ ...value, shape: [] } as HostTensor), shape);
  },
  Range: (n) => {
    const [from, to, step] = [n.known(0)![0]!, n.known(1)![0]!, n.known(2)![0]!];
    const values = Array.from(
      { length: Math.max(0, Math.ceil((to - from) / step)) },
      (_, i) => from + i * step,
    );
    return n.x().dtype === 'int64'
      ? integers(values, [values.length])
      : constant(floats(values, [values.length], n.x().dtype));
  },
} satisfies Record<string, Importer>;
