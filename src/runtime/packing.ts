import { concat, type Device, sizeOf, type Tensor, type TypedArray } from '../graph/index.ts';

/** Bytes below which reading a result back from a GPU costs its round trip rather than its length. */
const SMALL = 4 * 2 ** 20;
/** Bytes of one joined result: browsers may allow 128 MB in one buffer. */
const MOST = 64 * 2 ** 20;

/** What a program computes, and how its results become those that were asked for. */
export interface Packing {
  readonly outputs: Record<string, Tensor>;
  /** By the names asked for; results that were joined are views of one array. */
  unpack(results: Record<string, TypedArray>): Record<string, TypedArray>;
}

/**
 * Joins small float32 results on a GPU into few: each one is read back by a round trip of its own, and a training step has
 * hundreds (its new parameters and optimizer state). Other devices compute in memory, and get their outputs as they are.
 */
export function packOutputs(outputs: Record<string, Tensor>, device: Device): Packing {
  if (device === 'cpu' || device === 'wasm') return { outputs, unpack: (results) => results };
  const rest: Record<string, Tensor> = {};
  const packs: [name: string, t: Tensor][][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const [name, t] of Object.entries(outputs)) {
    const size = 4 * sizeOf(t.shape);
    if (t.dtype !== 'float32' || size === 0 || size > SMALL) {
      rest[name] = t;
      continue;
    }
    if (bytes + size > MOST) {
      packs.push([]);
      bytes = 0;
    }
    bytes += size;
    packs.at(-1)!.push([name, t]);
  }
  const nameOf = (i: number) => `attune/packed/${i}`;
  packs.forEach((members, i) => {
    rest[nameOf(i)] = concat(
      members.map(([, t]) => t.reshape([-1])),
      0,
    );
  });
  return {
    outputs: rest,
    unpack(results) {
      const unpacked = { ...results };
      packs.forEach((members, i) => {
        const all = results[nameOf(i)]!;
        let start = 0;
        for (const [name, t] of members) {
          const end = start + sizeOf(t.shape);
          unpacked[name] = all.subarray(start, end);
          start = end;
        }
      });
      return unpacked;
    },
  };
}
