import { f32, type HostTensor, i64, zeros } from '../../graph/index.ts';
import { namesOf, type Programs, type Writer } from './programs.ts';

type Values = Record<string, HostTensor>;

/** Positions that all programs share, so that few are compiled: a power of two from 64 on. */
export const capacityFor = (positions: number): number => 2 ** Math.max(6, Math.ceil(Math.log2(positions)));
/** Prompts are padded to a multiple of 16. */
export const paddedLength = (tokens: number): number => Math.max(16, Math.ceil(tokens / 16) * 16);

export interface Prompts {
  /** Token ids of each prompt; of pairs: what the encoder reads. */
  readonly ids: readonly (readonly number[])[];
  /** Soft tokens before each of them: float32 [n, width]. */
  readonly soft?: HostTensor | undefined;
}

/** Keys and values of what was read and written, and what a step needs besides: one row a running text. */
export class Cache {
  private spare: Values = {};

  private constructor(
    private readonly writer: Writer,
    private readonly programs: Programs,
    private readonly ordered: boolean,
    private values: Values,
    /** 1 where a position of the cache is one of the text: [rows][capacity]. */
    private mask: Uint8Array[],
    private used: number,
    /** Of pairs: the encoder's keys, values and mask. */
    private readonly memory: Values,
  ) {}

  /** Reads the prompts. Of causal models that gives the scores of the next tokens too: [prompts][V]. */
  static async read(
    writer: Writer,
    programs: Programs,
    { ids, soft }: Prompts,
    { beams, room, signal }: { beams: number; room: number; signal?: AbortSignal | undefined },
  ): Promise<{ cache: Cache; logits?: Float32Array[] }> {
    const causal = writer.kind === 'causal';
    const n = soft?.shape[0] ?? 0;
    const length = paddedLength(Math.max(...ids.map((row) => row.length)));
    const total = n + length;
    const before = writer.model.cacheBefore ?? 0;
    // The encoder's text begins at the left, since soft tokens are near it by distance; a decoder's ends at the right.
    const start = (row: readonly number[]) => (causal ? length - row.length : 0);
    const flat = ids.flatMap((row) => place(row, start(row), length, 0));
    const masks = ids.map((row) => [
      ...Array<number>(n).fill(1),
      ...place(
        row.map(() => 1),
        start(row),
        length,
        0,
      ),
    ]);
    const capacity = capacityFor(before + (causal ? total + Math.min(room, total) : Math.min(room, 64)));
    const shape = { prompts: ids.length, length, soft: n, beams, capacity };
    const program = await programs.read(shape);
    const out = await program.run(
      {
        ids: i64(flat, [ids.length, length]),
        mask: i64(masks.flat(), [ids.length, total]),
        ...(causal && { positions: i64(masks.flatMap(countUp), [ids.length, total]) }),
        ...(n && { soft: f32(soft!.data as Float32Array, [n, writer.model.width]) }),
      },
      { ...(signal && { signal }) },
    );
    const rowMasks = masks.flatMap((mask) => Array<number[]>(beams).fill(mask));
    const ordered = beams > 1;
    const ones = Array<number>(before).fill(1);
    const aligned = (mask: readonly number[]) =>
      Uint8Array.from(place([...ones, ...mask], capacity - before - mask.length, capacity, 0));
    if (causal) {
      const { logits, ...next } = out;
      const cache = new Cache(writer, programs, ordered, next, rowMasks.map(aligned), before + total, {});
      return { cache, logits: rowsOf(logits!, ids.length) };
    }
    const rows = ids.length * beams;
    const { keyHeads, headWidth } = writer.model;
    const next = namesOf(writer, 'next').map(
      (name) => [name, out[name] ?? zeros([rows, keyHeads, capacity, headWidth])] as const,
    );
    const encoded = namesOf(writer, 'memory').map((name) => [name, out[name]!] as const);
    const memory = { ...Object.fromEntries(encoded), memoryMask: i64(rowMasks.flat(), [rows, total]) };
    const started = rowMasks.map(() => aligned([]));
    return { cache: new Cache(writer, programs, ordered, Object.fromEntries(next), started, before, memory) };
  }

  /** Adds a token to each row, after row i took the place of row `order[i]`; gives the scores of the next: [rows][V]. */
  async write(
    ids: readonly number[],
    order?: readonly number[],
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    if (this.used === this.mask[0]!.length) this.grow();
    const rows = this.mask.length;
    const capacity = this.mask[0]!.length;
    const source = this.memory.memoryMask?.shape[1] ?? 0;
    const program = await this.programs.write({ rows, capacity, source, ordered: this.ordered });
    const masks = this.mask.flatMap((mask) => [...mask, 1]);
    const positions = this.mask.map((mask) => mask.reduce((n, x) => n + x, 0));
    const { logits, ...next } = await program.run(
      {
        ...asPast(this.values),
        ...this.memory,
        ids: i64([...ids], [rows, 1]),
        mask: i64(masks, [rows, capacity + 1]),
        ...(this.writer.kind === 'causal' && { positions: i64(positions, [rows, 1]) }),
        ...(this.ordered && { order: i64([...(order ?? ids.keys())], [rows]) }),
      },
      { ...(signal && { signal }), recycle: this.spare },
    );
    // What was fed is needed no more: its memory takes the next step's cache.
    [this.spare, this.values] = [this.values, next];
    for (const mask of this.mask) {
      mask.copyWithin(0, 1);
      mask[capacity - 1] = 1;
    }
    this.used++;
    return rowsOf(logits!, rows);
  }

  /** Doubles the positions; the old ones stay at the right. */
  private grow(): void {
    const grown = Object.entries(this.values).map(([name, { shape, data }]) => {
      const [rows, heads, capacity, width] = shape as [number, number, number, number];
      const wide = new Float32Array(2 * data.length);
      const size = capacity * width;
      for (let i = 0; i < rows * heads; i++) {
        wide.set((data as Float32Array).subarray(i * size, (i + 1) * size), (2 * i + 1) * size);
      }
      return [name, f32(wide, [rows, heads, 2 * capacity, width])] as const;
    });
    this.values = Object.fromEntries(grown);
    this.spare = {};
    this.mask = this.mask.map((mask) => {
      const wide = new Uint8Array(2 * mask.length);
      wide.set(mask, mask.length);
      return wide;
    });
  }
}

/** What a step gave, as the next one takes it. */
const asPast = (next: Values): Values =>
  Object.fromEntries(Object.entries(next).map(([name, value]) => [name.replace('next', 'past'), value]));

/** `values` from `start` on among `length` places, the others filled. */
function place(values: readonly number[], start: number, length: number, fill: number): number[] {
  const out = Array<number>(length).fill(fill);
  values.forEach((value, i) => {
    out[start + i] = value;
  });
  return out;
}

/** The position of each entry among the ones; 0 for padding. */
function countUp(mask: readonly number[]): number[] {
  let n = 0;
  return mask.map((x) => (x ? n++ : 0));
}

/** Rows of a result [rows, V]. */
const rowsOf = ({ data }: HostTensor, rows: number): Float32Array[] => {
  const width = data.length / rows;
  return Array.from({ length: rows }, (_, i) => (data as Float32Array).subarray(i * width, (i + 1) * width));
};
