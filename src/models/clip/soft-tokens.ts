import { concat, constant, gather, type HostTensor, i64, type Tensor, where } from '../../graph/index.ts';

/** Where soft tokens stand in each of N sentences: `slots[n][j]` is the position of token j. */
export type Slots = readonly (readonly number[])[];

/** x [N, T, D] with positions start … start + m − 1 replaced by `tokens` [m, D] or [N, m, D]. */
export function replaceTokens(x: Tensor, tokens: Tensor, start: number): Tensor {
  const [n, length, width] = x.shape as [number, number, number];
  const m = tokens.dim(-2);
  if (start < 0 || start + m > length) {
    throw new Error(`${m} soft tokens at position ${start} do not fit into ${length} tokens`);
  }
  const rows = tokens.rank === 2 ? tokens.reshape([1, m, width]) : tokens;
  return concat([x.slice(1, 0, start), rows.expand([n, m, width]), x.slice(1, start + m)], 1);
}

/** x [N, T, D] with `tokens` [m, D] or [N, m, D] behind its last position. */
export function appendTokens(x: Tensor, tokens: Tensor): Tensor {
  const [n, , width] = x.shape as [number, number, number];
  const rows = tokens.rank === 2 ? tokens.reshape([1, tokens.dim(0), width]) : tokens;
  return concat([x, rows.expand([n, tokens.dim(-2), width])], 1);
}

/** x [N, T, D] with soft tokens at slots of its own in every sentence: `tokens` is [m, D], or [N, m, D] for one set each. */
export function placeTokens(x: Tensor, tokens: Tensor, slots: Slots): Tensor {
  const [n, length, width] = x.shape as [number, number, number];
  const m = tokens.dim(-2);
  const fits = (s: readonly number[]) => s.length === m && s.every((p) => p >= 0 && p < length);
  if (slots.length !== n || !slots.every(fits)) {
    throw new Error(
      `Slots of ${slots.length} sentences do not fit ${m} soft tokens in each of ${n} × ${length} tokens`,
    );
  }
  const first = slots[0]?.[0] ?? 0;
  if (slots.every((s) => s.every((p, j) => p === first + j))) return replaceTokens(x, tokens, first);
  const soft = new Uint8Array(n * length);
  const index = new Array<number>(n * length).fill(0);
  slots.forEach((positions, row) => {
    positions.forEach((p, j) => {
      soft[row * length + p] = 1;
      index[row * length + p] = tokens.rank === 2 ? j : row * m + j;
    });
  });
  const isSoft: HostTensor = { dtype: 'bool', shape: [n, length, 1], data: soft };
  const rows = gather(tokens.reshape([-1, width]), constant(i64(index, [n, length])));
  return where(constant(isSoft), rows, x);
}
