import type { Pixels } from '../../data/index.ts';
import type { Random } from '../../runtime/index.ts';

/** Where a pixel takes its value from, with the noise that is added; undefined: white. */
type Look = (
  x: number,
  y: number,
  size: number,
  random: Random,
) => { x: number; y: number; noise: number } | undefined;

/**
 * Ways to render a drawing that a CLIP of drawings sees apart and still reads: the domains of the built-in pairs. By
 * k-means of image features they are found again, which drawing sets' own styles (outline, solid) are not.
 */
const looks = {
  plain: (x, y) => ({ x, y, noise: 0 }),
  noisy: (x, y, _size, random) => ({ x, y, noise: 120 * random.normal() }),
  tiny: (x, y, size) => {
    const inside = (v: number) => 2 * v - size / 2;
    const [u, v] = [inside(x), inside(y)];
    return u >= 0 && v >= 0 && u < size && v < size ? { x: u, y: v, noise: 0 } : undefined;
  },
} satisfies Record<string, Look>;

/** Of what they draw: features that were kept for another one are not used. */
export const stylesVersion = 'styles v1';

export type Style = keyof typeof looks;
export const styles = Object.keys(looks) as readonly Style[];

/** A square picture in another style; `random` draws the noise. */
export function inStyle({ data, width, height }: Pixels, style: Style, random: Random): Pixels {
  const look: Look = looks[style];
  const out = new Uint8Array(data.length).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        const from = look(x, y, width, random);
        if (!from) continue;
        const value = data[(from.y * width + from.x) * 3 + c]! + from.noise;
        out[(y * width + x) * 3 + c] = Math.max(0, Math.min(255, value));
      }
    }
  }
  return { data: out, width, height };
}
