/** Values on the host: typed arrays with a shape. The one currency between files, data, programs and users. */

export interface DTypeArrays {
  float32: Float32Array;
  float64: Float64Array;
  /** Raw IEEE half bits. */
  float16: Uint16Array;
  /** Raw bfloat16 bits. */
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  uint64: BigUint64Array;
  uint32: Uint32Array;
  uint16: Uint16Array;
  int16: Int16Array;
  uint8: Uint8Array;
  int8: Int8Array;
  /** One byte an element, 0 or 1. */
  bool: Uint8Array;
}
export type DType = keyof DTypeArrays;
export type TypedArray = DTypeArrays[DType];
export type Shape = readonly number[];

export interface HostTensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: Shape;
  readonly data: DTypeArrays[D];
}

/** A named array that may still lie in a file. `file` lets ONNX Runtime map it without a copy through JavaScript. */
export interface Weight {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Where the raw little-endian bytes lie; absent for arrays that exist only in memory. */
  readonly file?: { readonly path: string; readonly offset: number; readonly length: number };
  /** Reads the whole array; each call may read the file again. */
  load(): Promise<HostTensor>;
}

/** A set of weights by name: a checkpoint, an adapter, or arrays in memory. */
export interface WeightSource {
  /** What to call this source in messages, e.g. the file's path. */
  readonly label: string;
  names(): readonly string[];
  get(name: string): Weight | undefined;
}

export const bytesPerElement: Record<DType, number> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  uint64: 8,
  uint32: 4,
  uint16: 2,
  int16: 2,
  uint8: 1,
  int8: 1,
  bool: 1,
};

const arrayTypes: { [D in DType]: new (size: number) => DTypeArrays[D] } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
};

const viewTypes = arrayTypes as unknown as {
  [D in DType]: new (
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
  ) => DTypeArrays[D];
};

/** Number of elements of `shape` (1 for a scalar). */
export const sizeOf = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);

export const emptyArray = <D extends DType>(dtype: D, size: number): DTypeArrays[D] =>
  new arrayTypes[dtype](size);

/** Zero-filled host tensor. */
export const zeros = <D extends DType = 'float32'>(shape: Shape, dtype?: D): HostTensor<D> => ({
  dtype: dtype ?? ('float32' as D),
  shape,
  data: emptyArray(dtype ?? ('float32' as D), sizeOf(shape)),
});

/** A float32 tensor from numbers; throws when the count does not fit the shape. */
export function f32(values: ArrayLike<number>, shape: Shape = [values.length]): HostTensor<'float32'> {
  const data = values instanceof Float32Array ? values : Float32Array.from(values);
  return checked({ dtype: 'float32', shape, data });
}

/** Numbers as a tensor of any floating-point dtype. */
export function floats(values: ArrayLike<number>, shape: Shape, dtype: DType): HostTensor {
  if (dtype === 'float64') return checked({ dtype, shape, data: Float64Array.from(values) });
  if (dtype === 'float32') return f32(values, shape);
  if (dtype === 'float16') return toFloat16(f32(values, shape));
  throw new Error(`Numbers cannot become a ${dtype} tensor`);
}

/** An int64 tensor from numbers. */
export function i64(values: ArrayLike<number>, shape: Shape = [values.length]): HostTensor<'int64'> {
  return checked({ dtype: 'int64', shape, data: BigInt64Array.from(Array.from(values, BigInt)) });
}

export function checked<D extends DType>(t: HostTensor<D>): HostTensor<D> {
  if (t.data.length !== sizeOf(t.shape)) {
    throw new Error(`${t.data.length} values do not fill shape [${t.shape}] (${sizeOf(t.shape)} elements)`);
  }
  return t;
}

/** The array's bytes, without a copy. */
export const bytesOf = (t: HostTensor): Uint8Array =>
  new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);

/** Reads little-endian bytes as `dtype`; copies only where the offset is not aligned. */
export function fromBytes<D extends DType>(bytes: Uint8Array, dtype: D, shape: Shape): HostTensor<D> {
  // Not `slice`, which of a Buffer is a view.
  const aligned = bytes.byteOffset % bytesPerElement[dtype] === 0 ? bytes : new Uint8Array(bytes);
  const length = bytes.byteLength / bytesPerElement[dtype];
  return checked({ dtype, shape, data: new viewTypes[dtype](aligned.buffer, aligned.byteOffset, length) });
}

const scratch = new DataView(new ArrayBuffer(4));

function halfToFloat(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 0x1f;
  const fraction = h & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Nearest half, ties to even, as IEEE 754 and NumPy round. */
function floatToHalf(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    const scaled = Math.abs(value) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0));
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >>> 13);
}

/** Any floating or integer tensor as float32 (int64 may lose digits beyond 2^24). */
export function toFloat32(t: HostTensor): HostTensor<'float32'> {
  if (t.dtype === 'float32') return t as HostTensor<'float32'>;
  const out = new Float32Array(t.data.length);
  if (t.dtype === 'float16') {
    for (let i = 0; i < out.length; i++) out[i] = halfToFloat(t.data[i] as number);
  } else if (t.dtype === 'bfloat16') {
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < out.length; i++) bits[i] = (t.data[i] as number) << 16;
  } else {
    for (let i = 0; i < out.length; i++) out[i] = Number(t.data[i]);
  }
  return { dtype: 'float32', shape: t.shape, data: out };
}

/** Rounds float32 to half precision (nearest, ties to even). */
export function toFloat16(t: HostTensor<'float32'>): HostTensor<'float16'> {
  return { dtype: 'float16', shape: t.shape, data: Uint16Array.from(t.data, floatToHalf) };
}

/** int64 as int32, for devices that have no wider integers; throws where a number does not fit. */
export function narrowed(t: HostTensor, what: string): HostTensor<'int32'> {
  const data = new Int32Array(t.data.length);
  for (let i = 0; i < data.length; i++) {
    data[i] = Number(t.data[i]);
    if (BigInt(data[i]!) !== BigInt(t.data[i]!)) {
      throw new Error(`${what} holds ${t.data[i]}, and this device has 32-bit integers only`);
    }
  }
  return { dtype: 'int32', shape: t.shape, data };
}

/** A WeightSource over arrays in memory. */
export function memoryWeights(
  tensors: Record<string, HostTensor>,
  label = 'weights in memory',
): WeightSource {
  return {
    label,
    names: () => Object.keys(tensors),
    get(name) {
      const t = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
      return t && { name, dtype: t.dtype, shape: t.shape, load: async () => t };
    },
  };
}
