import { bytesOf, type DType, type HostTensor, type Shape, sizeOf, type Weight } from '../host.ts';
import { onnxTypes } from '../ops/index.ts';
import type { OnnxAttr } from '../rule.ts';
import type { NodeText, OnnxText } from './emit.ts';
import { ProtoWriter } from './proto.ts';

const OPSET = 21;
const IR_VERSION = 10;
const TYPE_FLOAT = 1;
const TYPE_INT = 2;
const TYPE_STRING = 3;
const TYPE_INTS = 7;

/** What an ONNX file says of an input or output: a free length of an axis is a name. */
export interface ValueInfo {
  readonly name: string;
  readonly shape: readonly (number | string)[];
  readonly dtype: DType;
}

export interface WriteOptions {
  /** How weights are stored: by reference to their files (default), or inside the model. */
  weights?: 'external' | 'inline';
  /** Free text kept in the model's metadata_props. */
  metadata?: Record<string, string>;
}

/**
 * The bytes of an ONNX model (opset 21 and com.microsoft). External weights point at byte ranges of their files, as paths
 * relative to the root directory.
 */
export async function writeModel(
  { nodes, initializers, called, copies }: Pick<OnnxText, 'nodes' | 'initializers' | 'called' | 'copies'>,
  { inputs, outputs }: { readonly inputs: readonly ValueInfo[]; readonly outputs: readonly ValueInfo[] },
  { weights = 'external', metadata = {} }: WriteOptions,
): Promise<Uint8Array> {
  const graph = new ProtoWriter();
  for (const [name, value] of initializers) {
    if ('data' in value) graph.message(5, tensorProto(name, value));
    else if (value.file && weights === 'external') graph.message(5, externalProto(name, value));
    else graph.message(5, tensorProto(name, await value.load()));
  }
  const nameOf = (value: string) => called.get(value) ?? value;
  for (const n of nodes) graph.message(1, nodeProto(n, nameOf));
  for (const { from, to } of copies) {
    graph.message(1, new ProtoWriter().string(1, nameOf(from)).string(2, to).string(4, 'Identity'));
  }
  graph.string(2, 'attune');
  for (const i of inputs) graph.message(11, valueInfo(i));
  for (const o of outputs) graph.message(12, valueInfo(o));

  const model = new ProtoWriter().int(1, IR_VERSION).string(2, 'attune');
  for (const [domain, version] of [
    ['', OPSET],
    ['com.microsoft', 1],
  ] as const) {
    model.message(8, new ProtoWriter().string(1, domain).int(2, version));
  }
  for (const [key, value] of Object.entries(metadata)) {
    model.message(14, new ProtoWriter().string(1, key).string(2, value));
  }
  return model.message(7, graph).finish();
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

function valueInfo({ name, shape, dtype }: ValueInfo): ProtoWriter {
  const dims = new ProtoWriter();
  for (const n of shape) {
    const dim = new ProtoWriter();
    dims.message(1, typeof n === 'number' ? dim.int(1, n) : dim.string(2, n));
  }
  const tensor = new ProtoWriter().int(1, onnxTypes[dtype]).message(2, dims);
  return new ProtoWriter().string(1, name).message(2, new ProtoWriter().message(1, tensor));
}
