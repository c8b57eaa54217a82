import { describe, expect, test } from 'vitest';
import {
  applyAll,
  argMax,
  constant,
  type DType,
  type HostTensor,
  hasInt64,
  i64,
  input,
  memoryWeights,
  type OpName,
  sizeOf,
  type Tensor,
  weight,
} from '../graph/index.ts';
import type { OpAttrs } from '../graph/rule.ts';
import { compile, type Program } from './program.ts';
import { hasVulkan } from './testing/gpu.ts';

const x = input('x', [2, 3]);
const y = input('y', [2, 3]);
const n = input('n', [2, 3], 'int32');
const m = input('m', [2, 3], 'int32');
const b = input('b', [2, 3], 'bool');
const c = input('c', [2, 3], 'bool');
const image = input('image', [2, 4, 6, 6]);
const ids = input('ids', [2, 2], 'int64');

const at = <N extends OpName>(op: N, inputs: Tensor[], attrs: OpAttrs[N]) => applyAll(op, inputs, attrs);
const binary = (op: 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'maximum' | 'minimum', ...more: Tensor[][]) =>
  [[op === 'pow' ? at('abs', [x], {})[0]! : x, y], ...more].flatMap((xs) => at(op, xs, {}));
const compared = (op: 'equal' | 'less' | 'lessEqual', ...more: Tensor[][]) =>
  [[x, y], [n, m], ...more].flatMap((xs) => at(op, xs, {}));
type Unary = { [N in OpName]: OpAttrs[N] extends Record<never, never> ? N : never }[OpName];
const unary = (op: Unary, of: Tensor = x) => applyAll(op, [of], {} as never);
const unit = at('tanh', [x], {})[0]!;
const above = x.square().add(1.5);
const all = (f: (t: Tensor) => Tensor[]) => [x, n, b].flatMap(f);
const window = { kernel: [3, 2], strides: [2, 1], before: [1, 1], after: [1, 0], dilations: [1, 2] };
const sliding = { strides: [2, 1], before: [1, 1], after: [1, 0], dilations: [1, 2], groups: 2 };

/** One or more uses of every op: what the type checker misses here has no test on the GPU. */
const cases: { [N in OpName]: () => Tensor[] } = {
  input: () => [ids.reshape([4])],
  constant: () => [constant(i64([1, -2, 3])).add(ids.slice(0, 0, 1).reshape([2]).slice(0, 0, 1))],
  weight: () => [weight(memoryWeights({ w: i64([7, -8], [2]) }).get('w')!).add(ids)],
  add: () => binary('add', [n, m]),
  sub: () => binary('sub', [n, m]),
  mul: () => binary('mul', [n, m]),
  div: () => binary('div', [n, m]),
  pow: () => binary('pow'),
  maximum: () => binary('maximum', [n, m]),
  minimum: () => binary('minimum', [n, m]),
  equal: () => compared('equal', [b, c]),
  less: () => compared('less'),
  lessEqual: () => compared('lessEqual'),
  and: () => at('and', [b, c], {}),
  or: () => at('or', [b, c], {}),
  not: () => unary('not', b),
  where: () =>
    [
      [x, y],
      [n, m],
      [b, c],
    ].flatMap((xs) => at('where', [b, ...xs], {})),
  neg: () => [...unary('neg'), ...unary('neg', n)],
  exp: () => unary('exp'),
  log: () => unary('log', above),
  sqrt: () => unary('sqrt', above),
  reciprocal: () => unary('reciprocal', above),
  abs: () => [...unary('abs'), ...unary('abs', n)],
  sign: () => [...unary('sign'), ...unary('sign', n)],
  floor: () => unary('floor'),
  ceil: () => unary('ceil'),
  // Halves go to the even side.
  round: () => [...unary('round'), ...unary('round', n.cast('float32').mul(0.5))],
  sin: () => unary('sin'),
  cos: () => unary('cos'),
  tan: () => unary('tan'),
  asin: () => unary('asin', unit),
  acos: () => unary('acos', unit),
  atan: () => unary('atan'),
  sinh: () => unary('sinh'),
  cosh: () => unary('cosh'),
  tanh: () => unary('tanh'),
  asinh: () => unary('asinh'),
  acosh: () => unary('acosh', above),
  atanh: () => unary('atanh', unit),
  erf: () => unary('erf'),
  sigmoid: () => unary('sigmoid'),
  softplus: () => unary('softplus'),
  relu: () => [...unary('relu'), ...unary('relu', n)],
  gelu: () => (['none', 'tanh'] as const).flatMap((approximate) => at('gelu', [x], { approximate })),
  silu: () => [1, 1.702].flatMap((alpha) => at('silu', [x], { alpha })),
  cast: () => [x.cast('int64'), x.cast('int32'), x.cast('bool'), ids.cast('float32'), b.cast('int64')],
  stopGradient: () => unary('stopGradient'),
  checkpoint: () => at('checkpoint', [x.square(), x], { results: 1 }),
  custom: () => at('custom', [x.square(), x], { gradient: (g) => [g] }),
  alias: () => at('alias', [x, y], {}),
  onnx: () =>
    at('onnx', [x], {
      type: 'HardSigmoid',
      domain: '',
      attrs: {},
      outputs: [x],
      place: 'the node of a model',
    }),
  sum: () => [x.sum(1), n.sum(0), ids.sum(1)],
  mean: () => [x.mean([0, 1])],
  max: () => [x.max(1), n.max(0)],
  min: () => [x.min(1), n.min(0)],
  argMax: () => [argMax(x), argMax(n, 0)],
  cumSum: () => [true, false].flatMap((reverse) => at('cumSum', [x], { axis: 1, reverse })),
  topK: () => [true, false].flatMap((largest) => at('topK', [x], { k: 2, axis: 1, largest })),
  matmul: () => [
    x.matmul(y, { transB: true, alpha: 0.5 }),
    x.matmul(y, { transA: true }),
    x.matmul(y.transpose()),
  ],
  conv: () => at('conv', [image, input('kernel', [6, 2, 3, 2]), input('bias', [6])], sliding),
  maxPool: () => at('maxPool', [image], window),
  softmax: () => [0, 1].flatMap((axis) => at('softmax', [x], { axis })),
  logSoftmax: () => [0, 1].flatMap((axis) => at('logSoftmax', [x.mul(50)], { axis })),
  layerNorm: () => at('layerNorm', [x, input('scale', [3]), input('shift', [3])], { axis: 1, eps: 1e-5 }),
  reshape: () => all((t) => [t.reshape([3, 2])]),
  transpose: () => all((t) => [t.transpose()]),
  expand: () => all((t) => [t.expand([2, 2, 3])]),
  slice: () => all((t) => [t.slice(1, -1, undefined, -2), t.slice(1, 1)]),
  pad: () => all((t) => at('pad', [t], { before: [0, 1], after: [2, 0], value: 1 })),
  concat: () => all((t) => at('concat', [t, t], { axis: 1 })),
  gather: () => all((t) => at('gather', [t, ids], { axis: 0 })),
  gatherElements: () => all((t) => at('gatherElements', [t, ids], { axis: 1 })),
  scatter: () => [
    ...all((t) => at('scatter', [t, ids.slice(1, 0, 1), t.slice(1, 0, 1)], { axis: 1, reduction: 'none' })),
    ...at('scatter', [x, ids, y.slice(1, 1)], { axis: 1, reduction: 'add' }),
    ...at('scatter', [n, ids, m.slice(1, 1)], { axis: 1, reduction: 'add' }),
  ],
};

const value = (i: number) => (((i * 7 + 3) % 23) - 11) / 6 + 0.01;
const filled: { [D in DType]?: (size: number) => HostTensor['data'] } = {
  float32: (size) => Float32Array.from({ length: size }, (_, i) => value(i)),
  int32: (size) => Int32Array.from({ length: size }, (_, i) => ((i * 3) % 7) - 3 || 1),
  bool: (size) => Uint8Array.from({ length: size }, (_, i) => ((i * 5) % 3) & 1),
  int64: (size) => BigInt64Array.from({ length: size }, (_, i) => BigInt((i * 2 + 1) % 2)),
};
const run = async (program: Program): Promise<Record<string, HostTensor>> => {
  const feeds = [...program.inputs].map(([name, { dtype, shape }]) => [
    name,
    { dtype, shape, data: filled[dtype]!(sizeOf(shape)) },
  ]);
  const out = await program.run(Object.fromEntries(feeds));
  await program.release();
  return out;
};

describe.skipIf(!hasVulkan)('WebGPU in Node', () => {
  const outputs = Object.fromEntries(
    Object.entries(cases).flatMap(([op, make]) => make().map((t, i) => [`${op} ${i}`, t] as const)),
  );
  test('every op stays on the GPU and gives what the CPU gives', async () => {
    const gpu = await run(await compile(outputs, { device: 'webgpu', strict: true }));
    const cpu = await run(await compile(outputs));
    for (const [name, want] of Object.entries(cpu)) {
      const got = gpu[name]!;
      expect({ ...got, data: [] }, name).toEqual({ ...want, data: [] });
      expect(got.data.constructor, name).toBe(want.data.constructor);
      for (const [i, v] of Array.from(want.data, Number).entries()) {
        // Vulkan allows sines an error of 2⁻¹¹.
        expect(Math.abs(Number(got.data[i]) - v) / Math.max(1, Math.abs(v)), `${name}[${i}]`).toBeLessThan(
          1e-3,
        );
      }
    }
  });

  test('integers beyond 32 bits are refused', async () => {
    expect(hasInt64('webgpu')).toBe(false);
    const program = await compile({ y: ids.add(1) }, { device: 'webgpu', name: 'count' });
    await expect(program.run({ ids: i64([1, 2, 3, 2 ** 31], [2, 2]) })).rejects.toThrow(
      'count: input "ids" holds 2147483648, and this device has 32-bit integers only',
    );
    await program.release();
    await expect(compile({ y: constant(i64([-(2 ** 40)])).add(ids) }, { device: 'webgpu' })).rejects.toThrow(
      'a constant holds -1099511627776',
    );
  });

  test('what leaves the device is named, and refused under strict', async () => {
    const d = input('d', [2], 'float64');
    const graph = { y: d.exp().cast('float32').exp(), z: x.exp() };
    const program = await compile(graph, { device: 'webgpu' });
    expect(program.device).toBe('webgpu');
    expect(program.placement).toEqual([
      { op: 'exp', type: 'Exp', name: 'Exp_0', inputs: ['float64[2]'] },
      { op: 'cast', type: 'Cast', name: 'Cast_1', inputs: ['float64[2]'] },
    ]);
    await program.release();
    await expect(compile(graph, { device: 'webgpu', strict: true, name: 'double' })).rejects.toThrow(
      'double cannot be loaded: strict: 2 nodes run on the CPU, not on webgpu: exp(float64[2]) as Exp "Exp_0"; cast(',
    );
  });
});

test('a device that is not here is an error that says what to do', async () => {
  const graph = { y: x.exp() };
  await expect(compile(graph, { device: 'wasm' })).rejects.toThrow(
    'device "wasm" does not exist in Node: cpu, cuda, webgpu',
  );
  await expect(compile(graph, { device: 'cuda' })).rejects.toThrow('onnxruntime-node-install=cuda12');
});
