import type { Pixels } from '../../data/index.ts';
import type { Random } from '../../runtime/index.ts';

/**
 * Varies a drawing on white the way drawing sets differ: placement and size, stroke weight, inverted and tinted
 * themes. Nothing is mirrored, since arrows and letters have a side.
 */
export function augmentDrawing(image: Pixels, random: Random): Pixels {
  let out = image;
  if (random.next() < 0.5) out = place(out, random);
  if (random.next() < 0.15) out = restroke(out, random.next() < 0.5);
  if (random.next() < 0.15) out = recolour(out, random, random.next() < 0.5);
  return out;
}

/** Scales by 0.8 to 1.1, turns by up to 5 degrees and shifts by up to a twentieth; bilinear, white around. */
function place({ data, width, height }: Pixels, random: Random): Pixels {
  const scale = 1 / random.uniform(0.8, 1.1);
  const angle = (random.uniform(-5, 5) * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle) * scale, Math.sin(angle) * scale];
  const dx = random.uniform(-0.05, 0.05) * width;
  const dy = random.uniform(-0.05, 0.05) * height;
  const [cx, cy] = [(width - 1) / 2, (height - 1) / 2];
  const out = new Uint8Array(data.length).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const u = cos * (x - cx - dx) - sin * (y - cy - dy) + cx;
      const v = sin * (x - cx - dx) + cos * (y - cy - dy) + cy;
      const left = Math.floor(u);
      const top = Math.floor(v);
      if (left < -1 || top < -1 || left >= width || top >= height) continue;
      for (let c = 0; c < 3; c++) {
        const at = (i: number, j: number) =>
          i < 0 || j < 0 || i >= width || j >= height ? 255 : data[(j * width + i) * 3 + c]!;
        const upper = at(left, top) + (at(left + 1, top) - at(left, top)) * (u - left);
        const lower = at(left, top + 1) + (at(left + 1, top + 1) - at(left, top + 1)) * (u - left);
        out[(y * width + x) * 3 + c] = Math.round(upper + (lower - upper) * (v - top));
      }
    }
  }
  return { data: out, width, height };
}

/** Darkest (bolder strokes) or lightest (finer strokes) of each pixel and its right and lower neighbours. */
function restroke({ data, width, height }: Pixels, bolder: boolean): Pixels {
  const pick = bolder ? Math.min : Math.max;
  const out = data.slice();
  const row = width * 3;
  for (let y = 0; y < height - 1; y++) {
    for (let i = y * row; i < (y + 1) * row - 3; i++) {
      out[i] = pick(data[i]!, data[i + 3]!, data[i + row]!, data[i + row + 3]!);
    }
  }
  return { data: out, width, height };
}

/** Maps black to one random colour and white to another; a dark theme swaps dark and light. */
function recolour({ data, width, height }: Pixels, random: Random, dark: boolean): Pixels {
  const ink = [0, 1, 2].map(() => random.uniform(0, 120));
  const paper = [0, 1, 2].map(() => random.uniform(170, 255));
  const [from, to] = dark ? [paper, ink] : [ink, paper];
  const out = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const c = i % 3;
    out[i] = from[c]! + ((to[c]! - from[c]!) * data[i]!) / 255;
  }
  return { data: out, width, height };
}
