import {
  bytesPerElement,
  checked,
  type DType,
  emptyArray,
  fromBytes,
  type HostTensor,
  sizeOf,
  type Weight,
} from '../host.ts';
import { onnxTypes } from '../ops/index.ts';
import { Message } from './wire.ts';

/** The parts of an ONNX model that its import needs. */
export interface OnnxModel {
  readonly graph: OnnxGraph;
  /** Version of each operator set by domain; the default one is the empty name. */
  readonly opsets: ReadonlyMap<string, number>;
  /** Functions that the model brings along, by domain and name as `domain:name`. */
  readonly functions: ReadonlyMap<string, OnnxFunction>;
}
export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, Initializer>;
  /** Inputs that must be fed. */
  readonly inputs: readonly OnnxInput[];
  readonly outputs: readonly string[];
}
export interface OnnxInput {
  readonly name: string;
  /** Absent for what is no tensor, or of a type that is not supported. */
  readonly dtype?: DType;
  /** A symbolic length is a string. */
  readonly shape: readonly (number | string)[];
  /** What it is, in words. */
  readonly kind: string;
}
export interface OnnxFunction {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly OnnxNode[];
  readonly opsets: ReadonlyMap<string, number>;
  /** Attributes that have a default. */
  readonly defaults: ReadonlyMap<string, OnnxValue>;
}
export interface OnnxNode {
  readonly type: string;
  readonly name: string;
  readonly domain: string;
  /** An absent optional input is the empty name. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs: ReadonlyMap<string, OnnxValue>;
}
/** An attribute of the function that a node stands in. */
export interface Reference {
  readonly reference: string;
}
export type OnnxValue =
  | number
  | string
  | readonly number[]
  | readonly string[]
  | HostTensor
  | OnnxGraph
  | Reference
  | { readonly unsupported: string };

/** A weight of the model; `value` is at hand where the model itself holds it. */
export interface Initializer extends Weight {
  /** Held in eight bits, but meant to be four. */
  readonly fourBits?: boolean;
  readonly value?: () => HostTensor;
}

/** How to reach what lies beside the model. */
export interface External {
  /** Reads bytes of a file named relative to the model. */
  read(location: string, offset: number, length: number): Promise<Uint8Array>;
  /** The file's path, for ONNX Runtime to map; absent where there are no files. */
  path?(location: string): string;
  /** Where bytes of the model itself lie in its own file. */
  own?: { readonly location: string; readonly bytes: Uint8Array };
}

const dtypes = new Map(Object.entries(onnxTypes).map(([name, n]) => [n, name as DType]));
const others = [
  ...['undefined', '', '', '', '', '', '', '', 'string', '', '', '', '', '', 'complex64', 'complex128', ''],
  ...['float8e4m3fn', 'float8e4m3fnuz', 'float8e5m2', 'float8e5m2fnuz', '', '', 'float4e2m1', 'float8e8m0'],
];
const UINT4 = 21;
const INT4 = 22;
export const isFourBits = (type: number): boolean => type === UINT4 || type === INT4;

/** The dtype that holds ONNX's element type. Four-bit integers are held in eight bits. */
export const dtypeOf = (type: number): DType | undefined =>
  type === UINT4 ? 'uint8' : type === INT4 ? 'int8' : dtypes.get(type);
export const typeName = (type: number): string =>
  isFourBits(type) ? 'four-bit integer' : (dtypeOf(type) ?? (others[type] || `number ${type}`));

function requireDtype(type: number, what: string): DType {
  const dtype = dtypeOf(type);
  if (!dtype)
    throw new Error(`importOnnx: ${what} has the element type ${typeName(type)}, which is not supported`);
  return dtype;
}

function weightOf(t: Message, external: External | undefined): Initializer {
  const name = t.string(8);
  const type = t.int(2);
  const dtype = requireDtype(type, `tensor "${name}"`);
  const shape = t.ints(1);
  if (t.int(14) === 1) return externalWeight(t, name, dtype, shape, type, external);
  const value = () => inlineTensor(t, `tensor "${name}"`);
  const raw = t.bytes(9);
  const { own, path, read } = external ?? {};
  if (!own || !path || !read || !raw || raw.length < LARGE || isFourBits(type)) {
    return { name, dtype, shape, value, load: async () => value(), fourBits: isFourBits(type) };
  }
  // Stays in the model's file, so that its bytes need not be kept.
  const [offset, { length }] = [raw.byteOffset - own.bytes.byteOffset, raw];
  const load = async () => fromBytes(await read(own.location, offset, length), dtype, shape);
  return { name, dtype, shape, load, file: { path: path(own.location), offset, length } };
}
const LARGE = 4096;

function externalWeight(
  t: Message,
  name: string,
  dtype: DType,
  shape: number[],
  type: number,
  external: External | undefined,
): Initializer {
  const entries = new Map(t.messages(13).map((m) => [m.string(1), m.string(2)]));
  const location = entries.get('location') ?? '';
  // A model may not name files outside of its own folder.
  if (!location || /^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)/.test(location)) {
    throw new Error(
      `importOnnx: tensor "${name}" lies in "${location}", which is not a file beside the model`,
    );
  }
  const packed = isFourBits(type);
  const length = packed ? Math.ceil(sizeOf(shape) / 2) : sizeOf(shape) * bytesPerElement[dtype];
  const offset = Number(entries.get('offset') ?? 0);
  const said = Number(entries.get('length') ?? length);
  if (said !== length) {
    throw new Error(`importOnnx: tensor "${name}" ${dtype}[${shape}] needs ${length} bytes, not ${said}`);
  }
  const load = async () => {
    if (!external) {
      throw new Error(
        `importOnnx: tensor "${name}" lies in "${location}": import the model by its path, or give \`read\``,
      );
    }
    const bytes = await external.read(location, offset, length);
    return packed ? nibbles(bytes, dtype, shape) : fromBytes(bytes, dtype, shape);
  };
  const path = packed ? undefined : external?.path?.(location);
  return { name, dtype, shape, load, fourBits: packed, ...(path ? { file: { path, offset, length } } : {}) };
}

/** Two four-bit integers a byte, the first in the low half. */
function nibbles(bytes: Uint8Array, dtype: DType, shape: readonly number[]): HostTensor {
  const data = emptyArray(dtype as 'int8' | 'uint8', sizeOf(shape));
  for (let i = 0; i < data.length; i++) {
    const four = (bytes[i >> 1]! >> (i % 2 ? 4 : 0)) & 15;
    data[i] = dtype === 'int8' && four > 7 ? four - 16 : four;
  }
  return { dtype, shape, data } as HostTensor;
}

/** Values are raw bytes, or lists by type; small integers and halves lie in the list of 32-bit integers. */
function inlineTensor(t: Message, what: string): HostTensor {
  const type = t.int(2);
  const dtype = requireDtype(type, what);
  const shape = t.ints(1);
  const raw = t.bytes(9);
  if (isFourBits(type)) return nibbles(raw ?? Uint8Array.from(t.ints(5)), dtype, shape);
  if (raw) return fromBytes(raw, dtype, shape);
  if (dtype === 'int64') return checked({ dtype, shape, data: BigInt64Array.from(t.bigints(7)) });
  if (dtype === 'uint64') return checked({ dtype, shape, data: BigUint64Array.from(t.bigints(11)) });
  const values =
    dtype === 'float32'
      ? t.numbers(4, 4)
      : dtype === 'float64'
        ? t.numbers(10, 8)
        : t.ints(dtype === 'uint32' ? 11 : 5);
  const data = emptyArray(dtype, sizeOf(shape)) as Float32Array;
  if (values.length !== data.length) {
    throw new Error(`importOnnx: ${what} holds ${values.length} values for [${shape}]`);
  }
  data.set(values);
  return { dtype, shape, data } as HostTensor;
}

function attributeOf(a: Message, external: External | undefined): OnnxValue {
  const reference = a.string(21);
  if (reference) return { reference };
  switch (a.int(20)) {
    case 1:
      return a.float(2);
    case 2:
      return a.int(3);
    case 3:
      return a.string(4);
    case 4: {
      const t = a.message(5)!;
      return dtypeOf(t.int(2))
        ? inlineTensor(t, `attribute "${a.string(1)}"`)
        : { unsupported: typeName(t.int(2)) };
    }
    case 5:
      return graphOf(a.message(6)!, external);
    case 6:
      return a.numbers(7, 4);
    case 7:
      return a.ints(8);
    case 8:
      return a.strings(9);
    default:
      return { unsupported: `attribute type ${a.int(20)}` };
  }
}

const nodeOf = (n: Message, external: External | undefined): OnnxNode => ({
  type: n.string(4),
  name: n.string(3),
  domain: n.string(7) === 'ai.onnx' ? '' : n.string(7),
  inputs: n.strings(1),
  outputs: n.strings(2),
  attrs: new Map(n.messages(5).map((a) => [a.string(1), attributeOf(a, external)])),
});

function inputOf(v: Message): OnnxInput {
  const name = v.string(1);
  const type = v.message(2);
  const tensor = type?.message(1);
  if (!tensor) return { name, shape: [], kind: type?.has(4) ? 'a sequence' : type ? 'no tensor' : 'untyped' };
  const dims = tensor.message(2)?.messages(1) ?? [];
  const shape = dims.map((d, i) => (d.has(1) ? d.int(1) : d.string(2) || `${name}.${i}`));
  // ONNX Runtime's JavaScript has no arrays of bfloat16 or of four-bit integers.
  const element = tensor.int(1);
  const dtype = isFourBits(element) || element === onnxTypes.bfloat16 ? undefined : dtypeOf(element);
  return { name, shape, kind: `of element type ${typeName(element)}`, ...(dtype ? { dtype } : {}) };
}

function graphOf(graph: Message, external: External | undefined): OnnxGraph {
  if (graph.has(15))
    throw new Error('importOnnx: the model has sparse initializers, which are not supported');
  const initializers = new Map(graph.messages(5).map((t) => [t.string(8), weightOf(t, external)]));
  return {
    initializers,
    nodes: graph.messages(1).map((n) => nodeOf(n, external)),
    // Old models list their initializers among the inputs.
    inputs: graph
      .messages(11)
      .map(inputOf)
      .filter((i) => !initializers.has(i.name)),
    outputs: graph.messages(12).map((v) => v.string(1)),
  };
}

const opsetsOf = (list: readonly Message[]): ReadonlyMap<string, number> =>
  new Map(list.map((m) => [m.string(1) === 'ai.onnx' ? '' : m.string(1), m.int(2)]));

function functionOf(f: Message, external: External | undefined): [string, OnnxFunction] {
  const defaults = new Map(f.messages(11).map((a) => [a.string(1), attributeOf(a, external)]));
  const nodes = f.messages(7).map((n) => nodeOf(n, external));
  return [
    `${f.string(10)}:${f.string(1)}`,
    { inputs: f.strings(4), outputs: f.strings(5), nodes, opsets: opsetsOf(f.messages(9)), defaults },
  ];
}

/** Reads the bytes of an ONNX model. Weights are views of them, or stay in the files beside it. */
export function decodeOnnx(bytes: Uint8Array, external?: External): OnnxModel {
  const model = new Message(bytes);
  const graph = model.message(7);
  if (!graph) throw new Error('This is not an ONNX model: it has no graph');
  return {
    opsets: opsetsOf(model.messages(8)),
    functions: new Map(model.messages(25).map((f) => functionOf(f, external))),
    graph: graphOf(graph, external),
  };
}

/** Reads one serialised tensor, such as the inputs and outputs that come with ONNX's own test cases. */
export const decodeTensor = (bytes: Uint8Array): HostTensor => {
  const t = new Message(bytes);
  return inlineTensor(t, `tensor "${t.string(8)}"`);
};
