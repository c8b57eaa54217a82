/** Arrays of numbers from MATLAB files of version 5 (MAT-File Format, MathWorks, section 1). */
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { inflate } from 'node:zlib';

export interface MatArray {
  readonly shape: readonly number[];
  /** The first axis varies fastest. */
  readonly data: Uint8Array | Float64Array;
}

const compressed = 15;
const matrix = 14;
/** How numbers of a storage type are read; MATLAB stores doubles as the smallest type that holds them. */
const numbers: Readonly<Record<number, readonly [bytes: number, read: (b: Buffer, at: number) => number]>> = {
  1: [1, (b, at) => b.readInt8(at)],
  2: [1, (b, at) => b.readUInt8(at)],
  3: [2, (b, at) => b.readInt16LE(at)],
  4: [2, (b, at) => b.readUInt16LE(at)],
  5: [4, (b, at) => b.readInt32LE(at)],
  6: [4, (b, at) => b.readUInt32LE(at)],
  7: [4, (b, at) => b.readFloatLE(at)],
  9: [8, (b, at) => b.readDoubleLE(at)],
};

interface Element {
  readonly type: number;
  readonly body: Buffer;
  /** Where the next element begins. */
  readonly end: number;
}

/** A tag and its bytes; up to four bytes lie in the tag itself. */
function elementAt(bytes: Buffer, at: number): Element {
  const first = bytes.readUInt32LE(at);
  const small = first >>> 16;
  if (small > 0) return { type: first & 0xffff, body: bytes.subarray(at + 4, at + 4 + small), end: at + 8 };
  const length = bytes.readUInt32LE(at + 4);
  const end = at + 8 + length;
  if (end > bytes.length)
    throw new Error(`an array ends at byte ${end} of ${bytes.length}: is the file whole?`);
  return {
    type: first,
    body: bytes.subarray(at + 8, end),
    end: first === compressed ? end : Math.ceil(end / 8) * 8,
  };
}

function valuesOf({ type, body }: Element): MatArray['data'] {
  if (type === 2) return body;
  const kind = numbers[type];
  if (!kind) throw new Error(`has numbers of type ${type}`);
  const [size, read] = kind;
  return Float64Array.from({ length: body.length / size }, (_, i) => read(body, i * size));
}

/** The arrays of real numbers in a file by name; bytes stay bytes, other types become doubles. */
export async function readMat(path: string): Promise<Record<string, MatArray>> {
  const file = await readFile(path);
  const fail = (why: string): never => {
    throw new Error(`${path} ${why}`);
  };
  if (file.length < 128 || file.toString('latin1', 126, 128) !== 'IM') {
    return fail('is no MATLAB file of version 5 with little-endian numbers');
  }
  const arrays: Record<string, MatArray> = {};
  try {
    for (let at = 128; at < file.length; ) {
      let element = elementAt(file, at);
      at = element.end;
      if (element.type === compressed) element = elementAt(await promisify(inflate)(element.body), 0);
      if (element.type !== matrix) continue;
      const flags = elementAt(element.body, 0);
      const shape = elementAt(element.body, flags.end);
      const name = elementAt(element.body, shape.end);
      // Classes 6 to 15 are arrays of numbers; the complex flag is bit 11.
      const word = flags.body.readUInt32LE(0);
      if ((word & 0xff) < 6 || (word & 0xff) > 15 || word & 0x800) continue;
      arrays[name.body.toString('latin1')] = {
        shape: Array.from(valuesOf(shape)),
        data: valuesOf(elementAt(element.body, name.end)),
      };
    }
  } catch (cause) {
    return fail(`cannot be read: ${(cause as Error).message}`);
  }
  return arrays;
}
