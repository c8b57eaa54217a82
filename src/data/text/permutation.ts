/**
 * PyTorch's `randperm`, so that the splits of published results can be made again: MT19937 (Matsumoto and Nishimura
 * 1998) behind a shuffle that swaps place `i` with one of the places from `i` on.
 */

/** Numbers of 32 bits. */
function mersenneTwister(seed: number): () => number {
  const [n, m] = [624, 397];
  const state = new Uint32Array(n);
  state[0] = seed;
  for (let i = 1; i < n; i++) {
    const before = state[i - 1]! ^ (state[i - 1]! >>> 30);
    state[i] = Math.imul(1812433253, before) + i;
  }
  let at = n;
  return () => {
    if (at === n) {
      for (let i = 0; i < n; i++) {
        const y = (state[i]! & 0x80000000) | (state[(i + 1) % n]! & 0x7fffffff);
        state[i] = state[(i + m) % n]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/** `torch.randperm(n, generator=torch.Generator().manual_seed(seed))` on the CPU, for n below 2³² / 20. */
export function torchPermutation(n: number, seed: number): number[] {
  const random = mersenneTwister(seed);
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = 0; i < n - 1; i++) {
    const j = i + (random() % (n - i));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
