/** Images of 8×8 on which a small classifier trains in a moment: three noisy patterns. */
import type { ImageSet, Pixels } from '../../data/index.ts';
import { Random } from '../../runtime/index.ts';

/** `noise`: deviation of each pixel, in units of 255. Patterns are columns, rows and squares. */
export function patches(count: number, seed: number, noise = 0.2): ImageSet {
  const side = 8;
  const patterns = [
    (x: number) => x % 4 < 2,
    (_: number, y: number) => y % 4 < 2,
    (x: number, y: number) => x % 4 < 2 === y % 4 < 2,
  ];
  const labels = Int32Array.from({ length: count }, (_, i) => i % 3);
  const images = Array.from(labels, (label, i): Pixels => {
    const random = new Random(seed, 'patch', i);
    const strength = random.uniform(0.3, 0.8);
    const data = new Uint8Array(side * side * 3);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const value = 0.5 + (patterns[label]!(x, y) ? strength : -strength) / 2 + noise * random.normal();
        data.fill(
          Math.max(0, Math.min(255, Math.round(255 * value))),
          (y * side + x) * 3,
          (y * side + x + 1) * 3,
        );
      }
    }
    return { data, width: side, height: side };
  });
  return {
    name: 'patches',
    classes: ['columns', 'rows', 'squares'],
    ids: images.map((_, i) => `${i}`),
    labels,
    images,
    shape: [1, side, side],
  };
}

/** What a generator returns. */
export async function drained<T>(events: AsyncGenerator<unknown, T>): Promise<T> {
  let next = await events.next();
  while (!next.done) next = await events.next();
  return next.value;
}
