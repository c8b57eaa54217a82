/**
 * Seeded, counter-based random numbers (Philox 4×32-10, Salmon et al., SC 2011).
 *
 * ONNX Runtime's random operators differ between devices, so every random number is made here and fed to the
 * graph. A generator is named by a seed and a stream (`new Random(1, 'crop', epoch, index)`): the same names give
 * the same numbers on every machine and in any order of use, and resuming needs no saved state.
 */
export class Random {
  private readonly key0: number;
  private readonly key1: number;
  private readonly stream0: number;
  private readonly stream1: number;
  private counter = 0;
  private readonly block = new Uint32Array(4);
  private used = 4;
  private spareNormal = Number.NaN;

  constructor(seed: number | string, ...stream: (number | string)[]) {
    this.key0 = hash(String(seed), 0x811c9dc5);
    this.key1 = hash(String(seed), 0x9e3779b9);
    const name = stream.map((s) => `${typeof s}:${s}`).join('/');
    this.stream0 = hash(name, 0x85ebca6b);
    this.stream1 = hash(name, 0xc2b2ae35);
  }

  /** Uniform 32-bit unsigned integer. */
  uint32(): number {
    if (this.used === 4) {
      const n = this.counter++;
      philox(this.block, n >>> 0, Math.floor(n / 2 ** 32), this.stream0, this.stream1, this.key0, this.key1);
      this.used = 0;
    }
    return this.block[this.used++]!;
  }

  /** Uniform in [0, 1), 53 random bits. */
  next(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  /** Uniform integer in [0, n). */
  int(n: number): number {
    return Math.floor(this.next() * n);
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** Standard normal (Box–Muller). */
  normal(): number {
    if (!Number.isNaN(this.spareNormal)) {
      const spare = this.spareNormal;
      this.spareNormal = Number.NaN;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    const angle = 2 * Math.PI * this.next();
    this.spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** A random order of 0 … n−1 (Fisher–Yates). */
  permutation(n: number): Int32Array {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const held = order[i]!;
      order[i] = order[j]!;
      order[j] = held;
    }
    return order;
  }

  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[] {
    return Array.from(this.permutation(items.length), (i) => items[i]!);
  }

  /** `size` draws of `draw` as float32. */
  fill(size: number, draw: (random: this) => number): Float32Array {
    const out = new Float32Array(size);
    for (let i = 0; i < size; i++) out[i] = draw(this);
    return out;
  }
}

/** FNV-1a with a final avalanche (murmur3). */
function hash(text: string, basis: number): number {
  let h = basis;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const mid = ah * bl + ((al * bl) >>> 16);
  return (ah * bh + Math.floor(mid / 0x10000) + (((mid & 0xffff) + al * bh) >>> 16)) >>> 0;
}

export function philox(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): void {
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = mulHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}
