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

/** The parts of an ONNX model that its import needs. */
export interface OnnxGraph {
  /** Version of the default operator set. */
  readonly opset: number;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, Weight>;
  /** Inputs that must be fed; a symbolic length is a string. */
  readonly inputs: readonly { name: string; dtype: DType; shape: readonly (number | string)[] }[];
  readonly outputs: readonly string[];
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
export type OnnxValue = number | string | readonly number[] | readonly string[] | HostTensor | 'graph';

/** Reads bytes of a file that holds weights beside the model. */
export type ReadExternal = (
  location: string,
  offset: number,
  length: number | undefined,
) => Promise<Uint8Array>;

type Field = number | bigint | Uint8Array;

const text = new TextDecoder();

/** One message of the protocol-buffer wire format: the values of each field, in order. */
class Message {
  private readonly fields = new Map<number, Field[]>();

  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    const take = (n: number): number => {
      at += n;
      if (at > bytes.length) throw new Error('This is not an ONNX model: its bytes end inside a field');
      return at - n;
    };
    while (at < bytes.length) {
      const key = Number(varint(bytes, take));
      const [field, wire] = [Math.floor(key / 8), key % 8];
      const value =
        wire === 0
          ? varint(bytes, take)
          : wire === 1
            ? view.getFloat64(take(8), true)
            : wire === 5
              ? view.getFloat32(take(4), true)
              : wire === 2
                ? bytesOfLength(Number(varint(bytes, take)))
                : undefined;
      if (value === undefined) throw new Error(`This is not an ONNX model: wire type ${wire} at byte ${at}`);
      const list = this.fields.get(field);
      if (list) list.push(value);
      else this.fields.set(field, [value]);
    }
    function bytesOfLength(n: number): Uint8Array {
      const start = take(n);
      return bytes.subarray(start, start + n);
    }
  }

  private all(field: number): readonly Field[] {
    return this.fields.get(field) ?? [];
  }
  has = (field: number): boolean => this.fields.has(field);
  messages = (field: number): Message[] => this.all(field).map((b) => new Message(b as Uint8Array));
  message = (field: number): Message | undefined => this.messages(field)[0];
  strings = (field: number): string[] => this.all(field).map((b) => text.decode(b as Uint8Array));
  string = (field: number): string => this.strings(field)[0] ?? '';
  bytes = (field: number): Uint8Array | undefined => this.all(field)[0] as Uint8Array | undefined;
  float = (field: number): number => Number(this.all(field)[0] ?? 0);
  int = (field: number): number => this.ints(field)[0] ?? 0;
  ints = (field: number): number[] => this.bigints(field).map(Number);

  /** Repeated integers, packed or not. */
  bigints(field: number): bigint[] {
    return this.all(field).flatMap((v) => {
      if (!(v instanceof Uint8Array)) return [BigInt.asIntN(64, BigInt(v))];
      const out: bigint[] = [];
      let at = 0;
      const take = (n: number) => {
        at += n;
        return at - n;
      };
      while (at < v.length) out.push(BigInt.asIntN(64, varint(v, take)));
      return out;
    });
  }
  /** Repeated floats or doubles, packed or not. */
  numbers(field: number, width: 4 | 8): number[] {
    return this.all(field).flatMap((v) => {
      if (!(v instanceof Uint8Array)) return [Number(v)];
      const t = fromBytes(v, width === 4 ? 'float32' : 'float64', [v.length / width]);
      return Array.from(t.data as Float32Array);
    });
  }
}

function varint(bytes: Uint8Array, take: (n: number) => number): bigint {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes[take(1)]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

const dtypes = new Map(Object.entries(onnxTypes).map(([name, n]) => [n, name as DType]));

function dtypeOf(type: number, what: string): DType {
  const dtype = dtypes.get(type);
  if (!dtype) throw new Error(`${what} has ONNX's element type ${type}, which is not supported`);
  return dtype;
}

function weightOf(t: Message, read: ReadExternal | undefined): Weight {
  const name = t.string(8);
  const dtype = dtypeOf(t.int(2), `Tensor "${name}"`);
  const shape = t.ints(1);
  if (t.int(14) !== 1) {
    const value = inlineTensor(t, name, dtype, shape);
    return { name, dtype, shape, load: async () => value };
  }
  const entries = Object.fromEntries(t.messages(13).map((m) => [m.string(1), m.string(2)]));
  const load = async () => {
    if (!read) {
      throw new Error(`Tensor "${name}" lies in "${entries.location}": give importOnnx a way to read it`);
    }
    const size = sizeOf(shape) * bytesPerElement[dtype];
    return fromBytes(await read(entries.location!, Number(entries.offset ?? 0), size), dtype, shape);
  };
  return { name, dtype, shape, load };
}

/** Values are raw bytes, or lists by type; small integers and halves lie in the list of 32-bit integers. */
function inlineTensor(t: Message, name: string, dtype: DType, shape: number[]): HostTensor {
  const raw = t.bytes(9);
  if (raw) return fromBytes(raw, dtype, shape);
  if (dtype === 'int64') return checked({ dtype, shape, data: BigInt64Array.from(t.bigints(7)) });
  const values = dtype === 'float32' ? t.numbers(4, 4) : dtype === 'float64' ? t.numbers(10, 8) : t.ints(5);
  const data = emptyArray(dtype, sizeOf(shape)) as Float32Array;
  if (values.length !== data.length)
    throw new Error(`Tensor "${name}" holds ${values.length} values for [${shape}]`);
  data.set(values);
  return { dtype, shape, data } as HostTensor;
}

function attributeOf(a: Message): OnnxValue {
  switch (a.int(20)) {
    case 1:
      return a.float(2);
    case 2:
      return a.int(3);
    case 3:
      return a.string(4);
    case 4: {
      const t = a.message(5)!;
      return inlineTensor(t, a.string(1), dtypeOf(t.int(2), `Attribute "${a.string(1)}"`), t.ints(1));
    }
    case 6:
      return a.numbers(7, 4);
    case 7:
      return a.ints(8);
    case 8:
      return a.strings(9);
    default:
      return 'graph';
  }
}

/** Reads the bytes of an ONNX model. */
export function decodeOnnx(bytes: Uint8Array, read?: ReadExternal): OnnxGraph {
  const model = new Message(bytes);
  const graph = model.message(7);
  if (!graph) throw new Error('This is not an ONNX model: it has no graph');
  const initializers = new Map(graph.messages(5).map((t) => [t.string(8), weightOf(t, read)]));
  return {
    opset:
      model
        .messages(8)
        .find((m) => m.string(1) === '' || m.string(1) === 'ai.onnx')
        ?.int(2) ?? 1,
    initializers,
    nodes: graph.messages(1).map((n) => ({
      type: n.string(4),
      name: n.string(3),
      domain: n.string(7),
      inputs: n.strings(1),
      outputs: n.strings(2),
      attrs: new Map(n.messages(5).map((a) => [a.string(1), attributeOf(a)])),
    })),
    // Old models list their initializers among the inputs.
    inputs: graph.messages(11).flatMap((v) => {
      const name = v.string(1);
      if (initializers.has(name)) return [];
      const tensor = v.message(2)?.message(1);
      const dims = tensor?.message(2)?.messages(1) ?? [];
      const shape = dims.map((d, i) => (d.has(1) ? d.int(1) : d.string(2) || `${name}.${i}`));
      return [{ name, dtype: dtypeOf(tensor?.int(1) ?? 0, `Input "${name}"`), shape }];
    }),
    outputs: graph.messages(12).map((v) => v.string(1)),
  };
}
