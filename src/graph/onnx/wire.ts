import { fromBytes } from '../host.ts';

const text = new TextDecoder();
type Field = number | bigint | Uint8Array;

/** One message of the protocol-buffer wire format: the values of each field, in order. Bytes are views. */
export class Message {
  private readonly fields = new Map<number, Field[]>();

  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const cursor = new Cursor(bytes);
    while (cursor.at < bytes.length) {
      const key = Number(cursor.varint());
      const [field, wire] = [Math.floor(key / 8), key % 8];
      const value =
        wire === 0
          ? cursor.varint()
          : wire === 1
            ? view.getFloat64(cursor.take(8), true)
            : wire === 5
              ? view.getFloat32(cursor.take(4), true)
              : wire === 2
                ? cursor.bytes(Number(cursor.varint()))
                : undefined;
      if (value === undefined) {
        throw new Error(`This is not an ONNX model: wire type ${wire} at byte ${cursor.at}`);
      }
      const list = this.fields.get(field);
      if (list) list.push(value);
      else this.fields.set(field, [value]);
    }
  }

  private all(field: number): readonly Field[] {
    return this.fields.get(field) ?? [];
  }
  private views(field: number): Uint8Array[] {
    return this.all(field).map((v) => {
      if (v instanceof Uint8Array) return v;
      throw new Error(`This is not an ONNX model: field ${field} holds a number where bytes belong`);
    });
  }
  has = (field: number): boolean => this.fields.has(field);
  messages = (field: number): Message[] => this.views(field).map((b) => new Message(b));
  message = (field: number): Message | undefined => this.messages(field)[0];
  strings = (field: number): string[] => this.views(field).map((b) => text.decode(b));
  string = (field: number): string => this.strings(field)[0] ?? '';
  bytes = (field: number): Uint8Array | undefined => this.views(field)[0];
  float = (field: number): number => Number(this.all(field)[0] ?? 0);
  int = (field: number): number => this.ints(field)[0] ?? 0;
  ints = (field: number): number[] => this.integers(field).map(Number);
  bigints = (field: number): bigint[] => this.integers(field).map(BigInt);

  /** Repeated integers, packed or not. */
  private integers(field: number): (number | bigint)[] {
    return this.all(field).flatMap((v) => {
      if (!(v instanceof Uint8Array)) return [v];
      const out: (number | bigint)[] = [];
      const cursor = new Cursor(v);
      while (cursor.at < v.length) out.push(cursor.varint());
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

class Cursor {
  at = 0;
  constructor(private readonly source: Uint8Array) {}

  /** Moves on by n bytes and returns where they begin. */
  take(n: number): number {
    this.at += n;
    if (this.at > this.source.length)
      throw new Error('This is not an ONNX model: its bytes end inside a field');
    return this.at - n;
  }
  bytes(n: number): Uint8Array {
    const start = this.take(n);
    return this.source.subarray(start, start + n);
  }
  /** A signed 64-bit integer, as a number where a double holds it. */
  varint(): number | bigint {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 42; scale *= 128) {
      const byte = this.source[this.take(1)]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    let wide = BigInt(value);
    for (let shift = 49n; ; shift += 7n) {
      const byte = this.source[this.take(1)]!;
      wide |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      const signed = BigInt.asIntN(64, wide);
      const number = Number(signed);
      return Number.isSafeInteger(number) ? number : signed;
    }
  }
}
