import { nodesOf } from '../grad.ts';
import {
  bytesOf,
  bytesPerElement,
  type DType,
  type HostTensor,
  i64,
  type Shape,
  sizeOf,
  type Weight,
} from '../host.ts';
import { onnxTypes, rules } from '../ops/index.ts';
import type { Emitter, OnnxAttr } from '../rule.ts';
import { constantKey } from '../simplify/key.ts';
import { simplify } from '../simplify/simplify.ts';
import { constant, type Node, type Tensor } from '../tensor.ts';
import { type Device, lower } from './lower.ts';
import { type Memory, memoryOrder, type PlannedNode, peakMemory } from './memory.ts';
import { ProtoWriter } from './proto.ts';

export interface EncodeOptions {
  /** What will run the model: each device gets the ops that it has good kernels for (default 'cpu'). */
  device?: Device;
  /** How weights are stored: by reference to their files (default), or inside the model. */
  weights?: 'external' | 'inline';
  /** Whether to simplify the graph first (default true); not to is for comparing. */
  simplify?: boolean;
  /** Free text kept in the model's metadata_props. */
  metadata?: Record<string, string>;
}

export interface EncodedModel {
  bytes: Uint8Array;
  /** On a device without int64 (`hasInt64`) they are int32. */
  inputs: { name: string; shape: Shape; dtype: DType }[];
  outputs: { name: string; shape: Shape; dtype: DType }[];
  /** The ONNX nodes in the order of the graph, with the node that each was written for. */
  nodes: { node: Node; type: string; name: string }[];
  /** What a run needs; planned when asked for. */
  memory(): Memory;
}

const OPSET = 21;
const IR_VERSION = 10;
const TYPE_FLOAT = 1;
const TYPE_INT = 2;
const TYPE_STRING = 3;
const TYPE_INTS = 7;

/**
 * Writes a graph as an ONNX model (opset 21 and com.microsoft). External weights point at byte ranges of their
 * files, as paths relative to the root directory.
 */
export async function encodeOnnx(
  outputs: Record<string, Tensor>,
  options: EncodeOptions = {},
): Promise<EncodedModel> {
  const traced = options.simplify === false ? outputs : simplify(outputs);
  const simple = Object.entries(lower(traced, options.device ?? 'cpu'));
  const nodes = nodesOf(simple.map(([, t]) => t));
  const read = new Set([...nodes.flatMap((n) => n.inputs), ...simple.map(([, t]) => t)]);
  const inputs = new Map<string, { name: string; shape: Shape; dtype: DType }>();
  const graph = new ProtoWriter();
  const initializers = new Map<string, string>();
  const names = new Map<Tensor, string>();
  const emitted = new Map<string, string[]>();
  const written: EncodedModel['nodes'] = [];
  let current: Node;
  const body: NodeText[] = [];
  /** Bytes of the values that nodes make. */
  const sizes = new Map<string, number>();
  let weights = 0;

  const addInitializer = (key: string, bytes: number, write: (name: string) => ProtoWriter): string => {
    let name = initializers.get(key);
    if (!name) {
      name = `%c${initializers.size}`;
      initializers.set(key, name);
      weights += bytes;
      graph.message(5, write(name));
    }
    return name;
  };
  const leaf = (node: Node): string => {
    if (node.op === 'input') {
      const { name, shape, dtype } = (node as Node<'input'>).attrs;
      requireName(name);
      const known = inputs.get(name);
      if (known && (known.dtype !== dtype || String(known.shape) !== String(shape))) {
        throw new Error(`Two inputs are named "${name}" but differ: [${known.shape}] and [${shape}]`);
      }
      inputs.set(name, { name, shape, dtype });
      return name;
    }
    if (node.op === 'constant') return emitter.constant((node as Node<'constant'>).attrs.value);
    const w = (node as Node<'weight'>).attrs.weight;
    const text = loaded.get(w);
    return addInitializer(
      `weight ${w.name} ${w.file ? `${w.file.path}@${w.file.offset}` : node.id}`,
      byteLength(w),
      (name) => (text ? tensorProto(name, text) : externalProto(name, w)),
    );
  };
  const emitter: Emitter = {
    node(type, ins, attrs = {}, { outputs: n = 1, domain = '' } = {}) {
      // Equal nodes are one node: gradients repeat forward expressions.
      const given = Object.entries(attrs);
      const key = given.reduce(
        (text, [name, value]) => `${text} ${name}=${attributeKey(value)}`,
        `${type}${JSON.stringify(ins)}`,
      );
      const known = emitted.get(key);
      if (known) return known;
      const outs = Array.from({ length: n }, (_, i) => `%${body.length}${i ? `.${i}` : ''}`);
      const name = `${type}_${body.length}`;
      written.push({ node: current, type, name });
      body.push({ type, ins, outs, name, domain, attrs: given });
      emitted.set(key, outs);
      return outs;
    },
    constant: (value) =>
      addInitializer(`constant ${constantKey(value)}`, byteLength(value), (name) => tensorProto(name, value)),
    ints: (values) => emitter.constant(i64(values)),
    scalar: (value, dtype) => leaf(constant(value, dtype).node),
    leaf,
    used: (t) => read.has(t),
  };

  const loaded = new Map<Weight, HostTensor>();
  for (const node of nodes) {
    if (node.op !== 'weight') continue;
    const w = (node as Node<'weight'>).attrs.weight;
    if (!w.file || options.weights === 'inline') loaded.set(w, await w.load());
  }

  for (const node of nodes) {
    current = node;
    const first = body.length;
    const emit = rules[node.op].emit(
      emitter,
      node.inputs.map((t) => names.get(t)!),
      node.attrs,
      node,
    );
    const out = typeof emit === 'string' ? [emit] : emit;
    node.outputs.forEach((t, i) => {
      names.set(t, out[i]!);
      sizes.set(out[i]!, byteLength(t));
    });
    // What an op makes on its way is taken to be as large as its result.
    const size = Math.max(...node.outputs.map(byteLength));
    for (const { outs } of body.slice(first)) {
      for (const name of outs) if (!sizes.has(name)) sizes.set(name, size);
    }
  }
  const made = new Set(body.flatMap((n) => n.outs));
  /** The caller's names of values that nodes make. An output that is an input, a weight, or stands a second time, is a copy. */
  const called = new Map<string, string>();
  const copies: { from: string; to: string; size: number }[] = [];
  const types: EncodedModel['outputs'] = [];
  for (const [name, t] of simple) {
    requireName(name);
    if (inputs.has(name)) {
      throw new Error(`"${name}" names an input and an output; ONNX has one name space: rename the output`);
    }
    const from = names.get(t)!;
    if (made.has(from) && !called.has(from)) called.set(from, name);
    else copies.push({ from, to: name, size: byteLength(t) });
    types.push({ name, shape: t.shape, dtype: t.dtype });
  }
  const nameOf = (value: string) => called.get(value) ?? value;
  const results = new Set(called.keys());
  const ordered = memoryOrder(body, sizes, results);
  for (const n of ordered) graph.message(1, nodeProto(n, nameOf));
  for (const { from, to } of copies) {
    graph.message(1, new ProtoWriter().string(1, nameOf(from)).string(2, to).string(4, 'Identity'));
  }
  graph.string(2, 'attune');
  for (const i of inputs.values()) graph.message(11, valueInfo(i));
  for (const o of types) graph.message(12, valueInfo(o));

  const model = new ProtoWriter().int(1, IR_VERSION).string(2, 'attune');
  for (const [domain, version] of [
    ['', OPSET],
    ['com.microsoft', 1],
  ] as const) {
    model.message(8, new ProtoWriter().string(1, domain).int(2, version));
  }
  for (const [key, value] of Object.entries(options.metadata ?? {})) {
    model.message(14, new ProtoWriter().string(1, key).string(2, value));
  }
  model.message(7, graph);
  return {
    bytes: model.finish(),
    inputs: [...inputs.values()],
    outputs: types,
    nodes: written,
    memory: () => ({
      weights,
      inputs: total([...inputs.values()]),
      outputs: total(types),
      peak: copies.reduce((sum, { size }) => sum + size, peakMemory(ordered, sizes, results)),
    }),
  };
}

const byteLength = ({ dtype, shape }: { dtype: DType; shape: Shape }): number =>
  sizeOf(shape) * bytesPerElement[dtype];
const total = (types: readonly { dtype: DType; shape: Shape }[]): number =>
  types.reduce((sum, type) => sum + byteLength(type), 0);

/** Names of our own values begin with a %, as they are printed; so no name of the caller's can be one of them. */
function requireName(name: string): void {
  if (name === '' || name.startsWith('%')) {
    throw new Error(`"${name}" cannot name an input or output: names are not empty and do not begin with %`);
  }
}

/** Text by which equal attributes are known; that of numbers has no sign of zero. */
function attributeKey(value: OnnxAttr): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return String(value);
  if (!('float' in value)) return `[${value}]`;
  return `float ${Object.is(value.float, -0) ? '-0' : value.float}`;
}

/** An ONNX node before values have their final names. */
interface NodeText extends PlannedNode {
  readonly name: string;
  readonly domain: string;
  readonly attrs: readonly (readonly [name: string, value: OnnxAttr])[];
}

function nodeProto(
  { type, ins, outs, name, domain, attrs }: NodeText,
  nameOf: (value: string) => string,
): ProtoWriter {
  const proto = new ProtoWriter();
  for (const value of ins) proto.string(1, nameOf(value));
  for (const value of outs) proto.string(2, nameOf(value));
  proto.string(3, name).string(4, type);
  for (const [key, value] of attrs) proto.message(5, attributeProto(key, value));
  if (domain) proto.string(7, domain);
  return proto;
}

function attributeProto(name: string, value: OnnxAttr): ProtoWriter {
  const proto = new ProtoWriter().string(1, name);
  if (typeof value === 'number') return proto.int(3, value).int(20, TYPE_INT);
  if (typeof value === 'string') return proto.string(4, value).int(20, TYPE_STRING);
  if ('float' in value) return proto.float(2, value.float).int(20, TYPE_FLOAT);
  for (const v of value) proto.int(8, v);
  return proto.int(20, TYPE_INTS);
}

function tensorHeader(name: string, dtype: DType, shape: Shape): ProtoWriter {
  const proto = new ProtoWriter();
  for (const n of shape) proto.int(1, n);
  return proto.int(2, onnxTypes[dtype]).string(8, name);
}

const tensorProto = (name: string, value: HostTensor): ProtoWriter =>
  tensorHeader(name, value.dtype, value.shape).bytes(9, bytesOf(value));

function externalProto(name: string, w: Weight): ProtoWriter {
  const proto = tensorHeader(name, w.dtype, w.shape);
  const { path, offset, length } = w.file!;
  if (sizeOf(w.shape) === 0) return proto.bytes(9, new Uint8Array());
  for (const [key, value] of [
    ['location', path.replace(/^\/+/, '')],
    ['offset', String(offset)],
    ['length', String(length)],
  ] as const) {
    proto.message(13, new ProtoWriter().string(1, key).string(2, value));
  }
  return proto.int(14, 1);
}

function valueInfo({ name, shape, dtype }: { name: string; shape: Shape; dtype: DType }): ProtoWriter {
  const dims = new ProtoWriter();
  for (const n of shape) dims.message(1, new ProtoWriter().int(1, n));
  const tensor = new ProtoWriter().int(1, onnxTypes[dtype]).message(2, dims);
  return new ProtoWriter().string(1, name).message(2, new ProtoWriter().message(1, tensor));
}
