const text = new TextEncoder();

/**
 * A writer of the protocol-buffer wire format: just what ONNX messages need. Small fields are written into one
 * growing buffer; large arrays are kept by reference and copied once, by `finish`.
 */
export class ProtoWriter {
  private buffer = new Uint8Array(64);
  private used = 0;
  /** What was written before `buffer`. */
  private readonly chunks: Uint8Array[] = [];
  private before = 0;

  private get length(): number {
    return this.before + this.used;
  }
  /** Room for `size` more bytes. */
  private reserve(size: number): void {
    if (this.used + size <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(2 * this.buffer.length, this.used + size));
    grown.set(this.buffer.subarray(0, this.used));
    this.buffer = grown;
  }
  private push(bytes: Uint8Array): void {
    if (bytes.length > LARGE) {
      this.chunks.push(this.buffer.subarray(0, this.used), bytes);
      this.before += this.used + bytes.length;
      this.buffer = this.buffer.subarray(this.used);
      this.used = 0;
      return;
    }
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.used);
    this.used += bytes.length;
  }
  private varint(value: bigint | number): void {
    this.reserve(10);
    let v = value;
    if (typeof v === 'bigint' || !(v >= 0 && v <= Number.MAX_SAFE_INTEGER)) {
      // Negative numbers are written as 64 bits of two's complement.
      let big = BigInt.asUintN(64, BigInt(v));
      for (; big > 0x7fn; big >>= 7n) this.buffer[this.used++] = Number(big & 0x7fn) | 0x80;
      v = Number(big);
    }
    for (; v > 0x7f; v = Math.floor(v / 128)) this.buffer[this.used++] = (v % 128) | 0x80;
    this.buffer[this.used++] = v;
  }
  private key(field: number, wireType: number): void {
    this.varint((field << 3) | wireType);
  }

  int(field: number, value: number | bigint): this {
    this.key(field, 0);
    this.varint(value);
    return this;
  }
  float(field: number, value: number): this {
    this.key(field, 5);
    this.push(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }
  bytes(field: number, value: Uint8Array): this {
    this.key(field, 2);
    this.varint(value.length);
    this.push(value);
    return this;
  }
  string(field: number, value: string): this {
    if (!ASCII.test(value)) return this.bytes(field, text.encode(value));
    this.key(field, 2);
    this.varint(value.length);
    this.reserve(value.length);
    for (let i = 0; i < value.length; i++) this.buffer[this.used++] = value.charCodeAt(i);
    return this;
  }
  /** A nested message. */
  message(field: number, value: ProtoWriter): this {
    this.key(field, 2);
    this.varint(value.length);
    for (const chunk of value.chunks) this.push(chunk);
    this.push(value.buffer.subarray(0, value.used));
    return this;
  }
  finish(): Uint8Array {
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const chunk of [...this.chunks, this.buffer.subarray(0, this.used)]) {
      out.set(chunk, at);
      at += chunk.length;
    }
    return out;
  }
}

/** Names are; to encode them by hand is several times faster. */
const ASCII = /^[\0-\x7f]*$/;
/** Arrays from this size on are not copied into the message that holds them. */
const LARGE = 4096;
