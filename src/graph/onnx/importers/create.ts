import * as ops from '../../ops/index.ts';
import { constant, type Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader, numbersAs } from '../reader.ts';

function literal(n: NodeReader): Tensor {
  const { attrs } = n.node;
  const value = n.tensor('value');
  if (value) return constant(value);
  if (attrs.has('value_int')) return integers([n.number('value_int', 0)], []);
  if (attrs.has('value_float')) return constant(n.number('value_float', 0));
  const ints = n.numbers('value_ints');
  if (ints) return integers(ints);
  const floats = n.numbers('value_floats');
  if (floats) return numbersAs(floats, [floats.length], 'float32');
  return n.fail(`holds ${[...attrs.keys()].join(', ') || 'nothing'}, which is not supported`);
}

/** Windows of signal processing: Σ aₖ·cos(2πk·i / N), over a period or symmetric. */
const window =
  (...a: number[]): Importer =>
  (n) => {
    const size = n.required(0)[0]!;
    const period = n.flag('periodic', true) ? size : size - 1;
    const values = Array.from({ length: size }, (_, i) =>
      a.reduce((sum, c, k) => sum + c * Math.cos((2 * Math.PI * k * i) / period), 0),
    );
    return numbersAs(values, [size], n.dtype('output_datatype', 'float32'));
  };

function melMatrix(n: NodeReader): Tensor {
  const [mels, length, rate, low, high] = [0, 1, 2, 3, 4].map((i) => n.required(i)[0]!) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const mel = (hertz: number) => 2595 * Math.log10(1 + hertz / 700);
  const hertz = (m: number) => 700 * (10 ** (m / 2595) - 1);
  const bins = Math.floor(length / 2) + 1;
  const step = (mel(high) - mel(low)) / (mels + 2);
  const edges = Array.from({ length: mels + 2 }, (_, i) =>
    Math.floor(((length + 1) * hertz(mel(low) + i * step)) / rate),
  );
  const values = new Float64Array(bins * mels);
  for (let m = 0; m < mels; m++) {
    const [a, b, c] = [edges[m]!, edges[m + 1]!, edges[m + 2]!];
    if (a === b) values[b * mels + m] = 1;
    else for (let j = a; j <= b; j++) values[j * mels + m] = (j - a) / (b - a);
    if (b !== c) for (let j = b; j < c; j++) values[j * mels + m] = (c - j) / (c - b);
  }
  return numbersAs(values, [bins, mels], n.dtype('output_datatype', 'float32'));
}

/** Arrays made from nothing but numbers. */
export const created: Record<string, Importer> = {
  Constant: literal,
  ConstantOfShape: (n) => {
    const value = n.tensor('value');
    const one = value ? constant({ ...value, shape: [] }) : constant(0);
    return ops.expand(one, n.required(0));
  },
  Range: (n) => {
    const [from, to, step] = [n.required(0)[0]!, n.required(1)[0]!, n.required(2)[0]!];
    const length = Math.max(0, Math.ceil((to - from) / step));
    return numbersAs(
      Array.from({ length }, (_, i) => from + i * step),
      [length],
      n.x().dtype,
    );
  },
  EyeLike: (n) => {
    const [rows, columns] = n.x().shape as [number, number];
    const k = n.number('k', 0);
    const values = Array.from({ length: rows * columns }, (_, i) =>
      Number((i % columns) - Math.floor(i / columns) === k),
    );
    return numbersAs(values, [rows, columns], n.dtype('dtype', n.x().dtype));
  },
  OneHot: (n) => {
    const [depth, values] = [n.required(1)[0]!, n.x(2)];
    const ids = n.x(0).cast('int64');
    const rank = ids.rank + 1;
    const axis = ops.normalizeAxis(n.number('axis', -1), rank);
    const counted = ops.where(ops.less(ids, 0), ids.add(depth), ids);
    const places = integers(
      Array.from({ length: depth }, (_, i) => i),
      Array.from({ length: rank }, (_, i) => (i === axis ? depth : 1)),
    );
    const hot = ops.equal(
      counted.reshape([...ids.shape.slice(0, axis), 1, ...ids.shape.slice(axis)]),
      places,
    );
    const value = (i: number) => ops.slice(values, 0, i, i + 1).reshape([]);
    return ops.where(hot, value(1), value(0));
  },
  HannWindow: window(0.5, -0.5),
  HammingWindow: window(25 / 46, -21 / 46),
  BlackmanWindow: window(0.42, -0.5, 0.08),
  MelWeightMatrix: melMatrix,
};
