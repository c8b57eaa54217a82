import sharp from 'sharp';
import type { Random } from '../../runtime/random.ts';
import type { Pixels } from '../dataset.ts';
import { resize } from '../resize.ts';
import { drawn, gaussianBlur, mapPicture, type Picture, warped } from './picture.ts';

/** Each channel's distance from its mean times `factor`. */
export function contrast(p: Picture, factor: number): Picture {
  const means = Array.from({ length: p.channels }, (_, c) => {
    let sum = 0;
    for (let i = c; i < p.data.length; i += p.channels) sum += p.data[i]!;
    return (sum / p.data.length) * p.channels;
  });
  return mapPicture(p, (v, i) => factor * v + (1 - factor) * means[i % p.channels]!);
}

/**
 * A random affine map, that moves three points by up to `jitter` pixels along each axis, and smooth random displacements:
 * uniform noise blurred by `sigma` pixels, times `strength` pixels.
 */
export function elasticTransform(
  p: Picture,
  strength: number,
  sigma: number,
  jitter: number,
  random: Random,
): Picture {
  const { width, height } = p;
  const affine = randomAffine(width, height, jitter, random);
  const field = () =>
    gaussianBlur(
      drawn(width, height, () => random.uniform(-1, 1)),
      sigma,
    ).data;
  const [dx, dy] = strength > 0 ? [field(), field()] : [undefined, undefined];
  return warped(p, (y, x) => {
    const i = y * width + x;
    return affine(y + strength * (dy?.[i] ?? 0), x + strength * (dx?.[i] ?? 0));
  });
}

/** Where the pixels of the changed picture come from, [y, x]. */
function randomAffine(width: number, height: number, jitter: number, random: Random) {
  const [cx, cy, r] = [width >> 1, height >> 1, Math.floor(Math.min(width, height) / 3)];
  const before = [
    [cx + r, cy + r],
    [cx + r, cy - r],
    [cx - r, cy - r],
  ] as const;
  const [a, b, c] = before.map(([x, y]) => [
    x + random.uniform(-jitter, jitter),
    y + random.uniform(-jitter, jitter),
  ]) as [number[], number[], number[]];
  // p = b + s (a − b) + t (c − b), and the same s and t between the points before.
  const [ux, uy, vx, vy] = [a[0]! - b[0]!, a[1]! - b[1]!, c[0]! - b[0]!, c[1]! - b[1]!];
  const area = ux * vy - uy * vx;
  return (y: number, x: number): [number, number] => {
    const [px, py] = [x - b[0]!, y - b[1]!];
    const [s, t] = [(px * vy - py * vx) / area, (ux * py - uy * px) / area];
    return [before[1][1] + s * 2 * r, before[1][0] - t * 2 * r];
  };
}

/** Made smaller by `factor` and large again, by averages over boxes. */
export function pixelate(image: Pixels, factor: number): Pixels {
  const { width, height } = image;
  const small = (side: number) => Math.max(1, Math.floor(side * factor));
  return resize(resize(image, small(width), small(height), 'box'), width, height, 'box');
}

/** Through a JPEG file of this quality, with colours at half the resolution. */
export async function jpegCompression({ data, width, height }: Pixels, quality: number): Promise<Pixels> {
  const jpeg = await sharp(data, { raw: { width, height, channels: 3 } })
    .jpeg({ quality, chromaSubsampling: '4:2:0', optimiseCoding: false })
    .toBuffer();
  return { data: new Uint8Array(await sharp(jpeg).raw().toBuffer()), width, height };
}
