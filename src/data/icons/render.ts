/** Draws icons: SVG bodies to small RGB pictures, many at a time. */
import { createHash } from 'node:crypto';
import sharp from 'sharp';
import type { Pixels } from '../dataset.ts';

/** Edge of every rendered icon, in pixels. */
export const iconSize = 48;
/** Raise when the drawing of any icon changes, so that caches are made anew. */
export const renderVersion = 2;

export interface IconSource {
  readonly body: string;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** The icon centred on a white square with 4 % of air on each side; `currentColor` is black. */
export function iconSvg(icon: IconSource): string {
  const side = Math.max(icon.width, icon.height) * 1.08;
  const box = [icon.left - (side - icon.width) / 2, icon.top - (side - icon.height) / 2, side, side].map(
    (v) => +v.toFixed(4),
  );
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" color="#000" ` +
    `width="${iconSize}" height="${iconSize}" viewBox="${box.join(' ')}">${icon.body}</svg>`
  );
}

/** The rendered icon, or undefined where the drawing is broken, blank or animated. */
export async function renderIcon(icon: IconSource): Promise<Pixels | undefined> {
  if (/<(?:animate|set[ >])/.test(icon.body)) return undefined;
  const { data, info } = await sharp(Buffer.from(iconSvg(icon)))
    .flatten({ background: '#fff' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch(() => ({ data: undefined, info: undefined }));
  if (!data || info.channels !== 3 || info.width !== iconSize || info.height !== iconSize) return undefined;
  let lo = 255;
  let hi = 0;
  for (const v of data) {
    if (v < lo) lo = v;
    if (v > hi) hi = v;
  }
  return hi - lo < 32 ? undefined : { data, width: iconSize, height: iconSize };
}

/** Equal for drawings that look alike at 16×16 in eight levels of grey: copies between sets, whatever their path data. */
export function fingerprint({ data }: Pixels): string {
  const cells = new Uint16Array(256);
  for (let y = 0; y < iconSize; y++) {
    for (let x = 0; x < iconSize; x++) {
      const i = (y * iconSize + x) * 3;
      cells[((y / 3) | 0) * 16 + ((x / 3) | 0)]! += data[i]! + data[i + 1]! + data[i + 2]!;
    }
  }
  return createHash('sha1')
    .update(Uint8Array.from(cells, (v) => Math.round(v / ((27 * 255) / 7))))
    .digest('base64url')
    .slice(0, 16);
}
