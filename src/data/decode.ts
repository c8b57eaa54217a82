/** Image files to 8-bit RGB, with the values that Pillow's `Image.open(file).convert('RGB')` gives. */
import { readFile } from 'node:fs/promises';
import sharp, { type Sharp } from 'sharp';
import type { Pixels } from './dataset.ts';

export interface DecodeOptions {
  /**
   * Turn photographs upright by their EXIF tag, as `transformers.image_utils.load_image` and its pipelines do
   * (a bare `Image.open` does not). Default true.
   */
  readonly upright?: boolean;
  /**
   * What transparent pixels become. `drop` keeps the colour under them, as Pillow does; `white` puts the image on
   * white. SVG is always put on white. Default `drop`.
   */
  readonly alpha?: 'drop' | 'white';
  /** Shorter side of a rendered SVG, in pixels. Default 256. */
  readonly svgSize?: number;
}

/** The formats that `decodeImage` reads, found by content. */
export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'gif' | 'svg' | 'tiff' | 'avif';

/** The format of a file from its first bytes (a few hundred are enough), or undefined when it is no image. */
export function sniffImage(head: Uint8Array): ImageFormat | undefined {
  const ascii = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  if (ascii.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (ascii.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (ascii.startsWith('RIFF') && ascii.slice(8, 12) === 'WEBP') return 'webp';
  if (/^GIF8[79]a/.test(ascii)) return 'gif';
  if (ascii.startsWith('II*\0') || ascii.startsWith('MM\0*')) return 'tiff';
  if (/^.{4}ftypavi[fs]/s.test(ascii)) return 'avif';
  if (/^(?:\xef\xbb\xbf)?\s*(?:<[?!][\s\S]*?)?<(?:\w+:)?svg[\s>]/i.test(ascii)) return 'svg';
  return undefined;
}

/**
 * Decodes an image file's bytes, or the file at a path: PNG, JPEG, WebP, GIF (first frame), SVG, TIFF, AVIF.
 * 16-bit channels keep their high byte, CMYK is converted as Pillow does, colour profiles are ignored.
 * @throws with the reason where the bytes are not a whole, readable image.
 */
export async function decodeImage(input: Uint8Array | string, options: DecodeOptions = {}): Promise<Pixels> {
  const { upright = true, alpha = 'drop', svgSize = 256 } = options;
  const name = typeof input === 'string' ? input : 'image';
  try {
    const bytes = typeof input === 'string' ? await readFile(input) : input;
    if (bytes.byteLength === 0) throw new Error('the file is empty');
    const open = (density?: number) =>
      sharp(bytes, { failOn: 'truncated', ignoreIcc: true, ...(density && { density }) });
    const info = await open().metadata();
    const svg = info.format === 'svg';
    let image = open(svg ? Math.min(100_000, (72 * svgSize) / Math.min(info.width, info.height)) : undefined);
    if (upright && !svg) image = image.autoOrient();
    if (svg || (alpha === 'white' && info.hasAlpha)) image = image.flatten({ background: '#fff' });
    if (info.space === 'cmyk')
      return fromCmyk(await raw(image.pipelineColourspace('cmyk').toColourspace('cmyk')));
    return await raw(image.removeAlpha().toColourspace('srgb'));
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0]!.replace(/^Input (?:buffer|file) /, 'it ');
    throw new Error(`cannot read ${name} as an image: ${reason}`, { cause });
  }
}

interface Raw extends Pixels {
  readonly channels: number;
}

async function raw(image: Sharp): Promise<Raw> {
  const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

/** Pillow's plain conversion, without colour profiles. */
function fromCmyk({ data, width, height, channels }: Raw): Pixels {
  const out = new Uint8Array(width * height * 3);
  for (let i = 0, o = 0; o < out.length; i += channels, o += 3) {
    const light = 255 - data[i + 3]!;
    for (let c = 0; c < 3; c++) {
      const t = data[i + c]! * light + 128;
      out[o + c] = Math.max(0, light - (((t >> 8) + t) >> 8));
    }
  }
  return { data: out, width, height };
}
