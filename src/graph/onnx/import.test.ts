import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compile } from '../../runtime/program.ts';
import * as g from '../index.ts';
import { checked, encodeOnnx, f32, grad, type HostTensor, importOnnx, input, type Tensor } from '../index.ts';
import { decodeOnnx } from './decode.ts';
import { ProtoWriter } from './proto.ts';

async function values(outputs: Record<string, Tensor>, feeds: Record<string, HostTensor>) {
  const program = await compile(outputs);
  const needed = Object.entries(feeds).filter(([name]) => program.inputs.has(name));
  const out = await program.run(Object.fromEntries(needed));
  await program.release();
  return Object.fromEntries(Object.entries(out).map(([name, t]) => [name, Array.from(t.data, Number)]));
}

/** Numbers between −1 and 1. */
const wave = (shape: readonly number[], phase = 0): HostTensor =>
  f32(
    Float32Array.from({ length: g.sizeOf(shape) }, (_, i) => Math.sin(i * 1.7 + phase)),
    shape,
  );
const indices = g.constant(g.i64([1, 0, 1]));

const models: [name: string, shape: number[], f: (x: Tensor, w: Tensor) => Tensor, weights: number[]][] = [
  [
    'attention',
    [2, 3, 4],
    (x, w) => g.softmax(x.matmul(w).matmul(x, { transB: true, alpha: 0.5 })).matmul(x),
    [4, 4],
  ],
  [
    'layer norm and gelu',
    [2, 3, 4],
    (x, w) => g.gelu(g.layerNorm(x, w.slice(0, 0, 1).reshape([4])), 'tanh'),
    [2, 4],
  ],
  [
    'convolution and pooling',
    [2, 2, 6, 5],
    (x, w) => g.maxPool(g.conv(x, w, undefined, { stride: 2, padding: 1 }), 2),
    [3, 2, 3, 3],
  ],
  [
    'groups, instance norm',
    [1, 4, 4, 4],
    (x, w) => g.avgPool(g.instanceNorm(g.conv(x, w, undefined, { groups: 2, padding: 1 })), 2),
    [4, 2, 3, 3],
  ],
  [
    'indexing',
    [3, 4],
    (x, w) => g.concat([g.gather(x, indices), g.pad(x.mul(w), [1, 0], [0, 0]).slice(0, 3, 0, -1)], 0),
    [4],
  ],
  [
    'reductions',
    [2, 3, 4],
    (x, w) => g.logSumExp(x.mul(w), 1).sub(x.mean(1)).add(g.cumSum(x, 2).max(1)),
    [4],
  ],
  ['selection', [2, 5], (x, w) => g.where(g.less(0, x), g.topK(x.mul(w), 5)[0], g.clip(x, -0.5, 0.5)), [5]],
  [
    'resize and einsum',
    [1, 2, 3, 3],
    (x, w) => g.einsum('nchw,cd->ndhw', g.resize(x, 5, { mode: 'bilinear' }), w),
    [2, 3],
  ],
];

test.each(models)(
  '%s: exported and imported, the same values and gradients',
  async (_name, shape, f, weights) => {
    const [xv, wv] = [wave(shape), wave(weights, 1)];
    const source = g.memoryWeights({ w: wv });
    const x = input('x', shape);
    const exported = await encodeOnnx({ y: f(x, g.weight(source.get('w')!)) }, { weights: 'inline' });
    const model = await importOnnx(exported.bytes);
    expect(model.inputs).toEqual([{ name: 'x', dtype: 'float32', shape }]);
    const w = input('w', weights);
    // The weight is the one initializer of its shape and values.
    const hosts = await Promise.all(model.weights.names().map((n) => model.weights.get(n)!.load()));
    const name = model.weights.names()[hosts.findIndex((h) => String(h.data) === String(wv.data))]!;
    const { y } = model.call({ x }, (n) => (n === name ? w : g.weight(model.weights.get(n)!)));
    const both = [f(x, w), y!].map((t) => {
      const [dx, dw] = grad(t.square().sum(), [x, w]);
      return { y: t, dx: dx!, dw: dw! };
    });
    const feeds = { x: xv, w: wv };
    const [want, got] = await Promise.all(both.map((o) => values(o, feeds)));
    for (const key of ['y', 'dx', 'dw']) {
      got![key]!.forEach((v, i) => {
        expect(v).toBeCloseTo(want![key]![i]!, 4);
      });
    }
  },
);

type Attr = [name: string, field: number, type: number, value: number];
/** A model of the given nodes, as exporters write them. */
function modelOf(
  nodes: [type: string, inputs: string[], outputs: string[], attrs?: Attr[]][],
  inputs: [name: string, shape: (number | string)[]][],
  output: string,
  initializers: [name: string, value: HostTensor][] = [],
  opset = 17,
  tensor?: ProtoWriter,
): Uint8Array {
  const graph = new ProtoWriter();
  for (const [type, ins, outs, attrs = []] of nodes) {
    const node = new ProtoWriter();
    for (const n of ins) node.string(1, n);
    for (const n of outs) node.string(2, n);
    node.string(4, type);
    for (const [name, field, kind, value] of attrs) {
      node.message(5, new ProtoWriter().string(1, name).int(field, value).int(20, kind));
    }
    graph.message(1, node);
  }
  if (tensor) graph.message(5, tensor);
  for (const [name, t] of initializers) {
    const proto = new ProtoWriter();
    for (const d of t.shape) proto.int(1, d);
    graph.message(5, proto.int(2, g.onnxTypes[t.dtype]).string(8, name).bytes(9, g.bytesOf(t)));
  }
  for (const [name, shape] of inputs) {
    const dims = new ProtoWriter();
    for (const d of shape) {
      dims.message(1, typeof d === 'string' ? new ProtoWriter().string(2, d) : new ProtoWriter().int(1, d));
    }
    const type = new ProtoWriter().message(1, new ProtoWriter().int(1, 1).message(2, dims));
    graph.message(11, new ProtoWriter().string(1, name).message(2, type));
  }
  graph.message(12, new ProtoWriter().string(1, output));
  const version = new ProtoWriter().string(1, '').int(2, opset);
  return new ProtoWriter().int(1, 8).message(8, version).message(7, graph).finish();
}

test('shapes that the model computes from its input are static here', async () => {
  const bytes = modelOf(
    [
      ['Shape', ['x'], ['shape']],
      ['Gather', ['shape', 'first'], ['batch'], [['axis', 3, 2, 0]]],
      ['Unsqueeze', ['batch', 'axes'], ['batch1']],
      ['Concat', ['batch1', 'rest'], ['target'], [['axis', 3, 2, 0]]],
      ['Reshape', ['x', 'target'], ['y']],
    ],
    [['x', ['batch', 2, 3]]],
    'y',
    [
      ['first', checked({ dtype: 'int64', shape: [], data: BigInt64Array.of(0n) })],
      ['axes', g.i64([0])],
      ['rest', g.i64([-1])],
    ],
  );
  const model = await importOnnx(bytes);
  expect(model.inputs[0]!.shape).toEqual(['batch', 2, 3]);
  expect(model.call({ x: input('x', [5, 2, 3]) }).y!.shape).toEqual([5, 6]);
  expect(() => model.call({ x: input('x', [5, 3, 3]) })).toThrow('input "x" must be float32[batch,2,3]');
  expect(() => model.call({})).toThrow('input "x" float32[batch,2,3] is missing');
});

test('factors of a resize may be an initializer; what is not supported names its node', async () => {
  const nodes = (...attrs: Attr[]): Parameters<typeof modelOf>[0] => [
    ['Resize', ['x', '', 'scales'], ['y'], attrs],
  ];
  const scaled = (factor: number, ...attrs: Attr[]) =>
    modelOf(nodes(...attrs), [['x', [1, 1, 2, 2]]], 'y', [['scales', f32([1, 1, factor, factor])]]);
  const x = input('x', [1, 1, 2, 2]);
  const twice = await importOnnx(scaled(2));
  const [y] = Object.values(await values(twice.call({ x }), { x: f32([1, 2, 3, 4], [1, 1, 2, 2]) }));
  expect(y).toEqual([1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
  const wrong = await importOnnx(scaled(1.5, ['mode', 3, 2, 1]));
  expect(() => wrong.call({ x })).toThrow(
    'importOnnx: Resize "y" has an attribute mode that is not a string',
  );
});

test('what decides shapes must be known, and the error names it', async () => {
  const bytes = modelOf(
    [['TopK', ['x', 'k'], ['y', 'at']]],
    [
      ['x', [4]],
      ['k', [1]],
    ],
    'y',
  );
  const model = await importOnnx(bytes);
  const given = { x: input('x', [4]), k: input('k', [1]) };
  expect(() => model.call(given)).toThrow(
    'importOnnx: TopK "y" needs its input 1, "k", to be known when the graph is built',
  );
  expect(model.call({ ...given, k: g.constant(f32([2])) }).y!.shape).toEqual([2]);
  expect(() => model.call({ ...given, z: given.x })).toThrow('no input "z"; inputs are x, k');
});

test('weights in files beside the model stay there; a model may name no other files', async () => {
  const beside = (location: string) => {
    const tensor = new ProtoWriter().int(1, 2).int(1, 50).int(2, 1).string(8, 'w').int(14, 1);
    for (const [key, value] of [
      ['location', location],
      ['offset', '8'],
      ['length', '400'],
    ]) {
      tensor.message(13, new ProtoWriter().string(1, key!).string(2, value!));
    }
    return modelOf([['Mul', ['x', 'w'], ['y']]], [['x', ['rows', 50]]], 'y', [], 17, tensor);
  };
  const numbers = wave([102]);
  const x = input('x', [2, 50]);
  const folder = await mkdtemp(join(tmpdir(), 'attune-external-'));
  try {
    await writeFile(join(folder, 'weights.bin'), g.bytesOf(numbers));
    await writeFile(join(folder, 'model.onnx'), beside('weights.bin'));
    const model = await importOnnx(join(folder, 'model.onnx'));
    expect(model.weights.get('w')!.file).toEqual({
      path: join(folder, 'weights.bin'),
      offset: 8,
      length: 400,
    });
    const ones = f32(new Float32Array(100).fill(1), [2, 50]);
    const expected = Array.from(numbers.data, Number).slice(2);
    expect((await values(model.call({ x }), { x: ones })).y).toEqual(expected);
    expect(Array.from((await model.weights.get('w')!.load()).data, Number)).toEqual(expected);
  } finally {
    await rm(folder, { recursive: true });
  }
  const alone = await importOnnx(beside('weights.bin'));
  await expect(alone.weights.get('w')!.load()).rejects.toThrow(
    'import the model by its path, or give `read`',
  );
  for (const location of ['../secret', '/etc/passwd', 'a/../../b']) {
    await expect(importOnnx(beside(location))).rejects.toThrow('which is not a file beside the model');
  }
});

test('nodes may stand in any order, but not in a circle', async () => {
  const nodes: Parameters<typeof modelOf>[0] = [
    ['Neg', ['b'], ['y']],
    ['Exp', ['a'], ['b']],
    ['Abs', ['x'], ['a']],
  ];
  const model = await importOnnx(modelOf(nodes, [['x', [2]]], 'y'));
  const out = await values(model.call({ x: input('x', [2]) }), { x: f32([0, -1]) });
  expect(out.y!.map((v) => v.toFixed(3))).toEqual(['-1.000', '-2.718']);
  const circle = await importOnnx(
    modelOf(
      [
        ['Neg', ['y'], ['b']],
        ['Exp', ['b'], ['y']],
      ],
      [],
      'y',
    ),
  );
  expect(() => circle.call({})).toThrow('importOnnx: nothing computes');
});

test('all unsupported ops are named at once, and bytes that are no model are refused', async () => {
  const bytes = modelOf(
    [
      ['RandomNormalLike', ['x'], ['a']],
      ['Mystery', ['a'], ['y']],
    ],
    [['x', [2]]],
    'y',
  );
  await expect(importOnnx(bytes)).rejects.toThrow(
    'importOnnx: the model uses ops that are not supported: Mystery, RandomNormalLike (draws random numbers',
  );
  expect(() => decodeOnnx(new Uint8Array([0x0a, 0xff]))).toThrow('This is not an ONNX model');
  expect(() => decodeOnnx(new Uint8Array())).toThrow('This is not an ONNX model: it has no graph');
});
