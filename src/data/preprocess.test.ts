import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { Pixels } from './dataset.ts';
import { decodeImage, sniffImage } from './decode.ts';
import { imageProcessor } from './preprocess.ts';
import { type Resampling, resamplings, resize } from './resize.ts';

const folder = new URL('./testdata/', import.meta.url);
const golden = JSON.parse(readFileSync(new URL('golden.json', folder), 'utf8')) as {
  decode: Record<string, { size: [number, number]; rgb: string }>;
  resize: { from: [number, number]; to: [number, number]; resample: number; rgb: string }[];
  torch: { from: [number, number]; to: [number, number]; resample: number; rgb: string }[];
  clip: { name: string; config: object; from: [number, number]; shape: number[]; values: string }[];
};
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));

/** The picture that tools/reference/images.py makes too. */
function noise(width: number, height: number): Pixels {
  let state = width * 1000 + height;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state >>> 24;
  }
  return { data, width, height };
}

const maxDifference = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  expect(a.length).toBe(b.length);
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs(a[i]! - b[i]!));
  return max;
};

describe('decodeImage', () => {
  it.each(Object.entries(golden.decode))('reads %s as Pillow does', async (name, { size, rgb }) => {
    const file = readFileSync(new URL(name, folder));
    const image = await decodeImage(file, { upright: false });
    expect([image.width, image.height]).toEqual(size);
    expect(maxDifference(image.data, bytes(rgb))).toBe(0);
    expect(sniffImage(file.subarray(0, 256))).toBe({ jpg: 'jpeg' }[name.slice(-3)] ?? name.split('.')[1]);
  });

  it('turns photographs upright unless told not to', async () => {
    const file = readFileSync(new URL('rotated.jpg', folder));
    const turned = await decodeImage(file);
    const stored = await decodeImage(file, { upright: false });
    expect([turned.width, turned.height]).toEqual([stored.height, stored.width]);
    // orientation 6: the stored left bottom corner comes to the left top
    const corner = (stored.height - 1) * stored.width * 3;
    expect([...turned.data.subarray(0, 3)]).toEqual([...stored.data.subarray(corner, corner + 3)]);
  });

  it('puts SVG on white, at a useful size', async () => {
    const svg =
      '<?xml version="1.0"?>\n<!-- a box --><svg xmlns="http://www.w3.org/2000/svg" width="8" height="4"><rect width="4" height="4"/></svg>';
    expect(sniffImage(Buffer.from(svg))).toBe('svg');
    const image = await decodeImage(Buffer.from(svg), { svgSize: 64 });
    expect([image.width, image.height]).toEqual([128, 64]);
    expect([image.data[0], image.data.at(-1)]).toEqual([0, 255]);
  });

  it('puts transparent pixels on white when asked', async () => {
    const png = await sharp({
      create: { width: 2, height: 2, channels: 4, background: { r: 9, g: 8, b: 7, alpha: 0 } },
    })
      .png()
      .toBuffer();
    expect([...(await decodeImage(png, { alpha: 'white' })).data]).toEqual(new Array(12).fill(255));
    expect([...(await decodeImage(png)).data.subarray(0, 3)]).toEqual([9, 8, 7]);
  });

  it('names what cannot be read', async () => {
    const whole = readFileSync(new URL('photo.jpg', folder));
    await expect(decodeImage(whole.subarray(0, 500))).rejects.toThrow(/cannot read image as an image/);
    await expect(decodeImage(Buffer.from('hello'))).rejects.toThrow(/unsupported image format/);
    await expect(decodeImage(Buffer.alloc(0))).rejects.toThrow(/empty/);
    await expect(decodeImage('/no/such.png')).rejects.toThrow(/\/no\/such\.png.*ENOENT/);
    for (const text of ['', 'hello', '<html><body>svg</body></html>', 'BM123456']) {
      expect(sniffImage(Buffer.from(text))).toBeUndefined();
    }
  });
});

describe('resize', () => {
  const run = ({ from, to, resample }: (typeof golden.resize)[number]) =>
    resize(noise(...from), ...to, resamplings[resample]!);

  it.each(golden.resize)('equals Pillow: $from to $to, filter $resample', (c) => {
    expect(maxDifference(run(c).data, bytes(c.rgb))).toBe(0);
  });
  it.each(golden.torch)('is within 1 of torchvision: $from to $to, filter $resample', (c) => {
    expect(maxDifference(run(c).data, bytes(c.rgb))).toBeLessThanOrEqual(1);
  });
  it.each([...resamplings])('computes a window of %s as the whole has it', (method: Resampling) => {
    const image = noise(31, 22);
    const whole = resize(image, 17, 40, method);
    const part = resize(image, 17, 40, method, { left: 5, top: 11, width: 7, height: 13 });
    for (let y = 0; y < 13; y++) {
      const at = ((y + 11) * 17 + 5) * 3;
      expect([...part.data.subarray(y * 21, y * 21 + 21)]).toEqual([...whole.data.subarray(at, at + 21)]);
    }
  });
});

describe('imageProcessor', () => {
  it.each(golden.clip)('equals transformers: $name, $from', ({ config, from, shape, values }) => {
    const tensor = imageProcessor(config).process(noise(...from));
    expect(tensor.shape).toEqual(shape);
    const expected = new Float32Array(bytes(values).buffer);
    expect(maxDifference(tensor.data, expected)).toBeLessThan(1e-6);
  });

  it('knows its output shape, and makes batches in which each image stands alone', () => {
    const p = imageProcessor({ size: 8, crop_size: 8 });
    expect(p.shape).toEqual([3, 8, 8]);
    const images = [noise(9, 20), noise(30, 8)];
    const batch = p.batch(images);
    expect(batch.shape).toEqual([2, 3, 8, 8]);
    images.forEach((image, i) => {
      expect(batch.data.subarray(i * 192, (i + 1) * 192)).toEqual(p.process(image).data);
    });
    const free = imageProcessor({ size: { shortest_edge: 8 }, do_center_crop: false });
    expect(free.shape).toBeUndefined();
    expect(() => free.batch(images)).toThrow(/8×17 and 30×8 pixels do not make one batch/);
    expect(() => p.batch([])).toThrow(/at least one/);
  });

  it('takes an integer as a square for families other than CLIP', () => {
    const vit = imageProcessor({ image_processor_type: 'ViTImageProcessor', size: 8, do_center_crop: false });
    expect(vit.shape).toEqual([3, 8, 8]);
    expect(imageProcessor({ image_processor: { size: 8, crop_size: 6 } }).shape).toEqual([3, 6, 6]);
  });

  it('does not build the parts that the crop drops', () => {
    const thin = imageProcessor().process(noise(1, 60_000));
    expect(thin.shape).toEqual([3, 224, 224]);
  });

  it('says which key is wrong', () => {
    expect(() => imageProcessor({ resample: 9 })).toThrow(/resample/);
    expect(() => imageProcessor({ size: { width: 3 } })).toThrow(/size/);
    expect(() => imageProcessor({ do_pad: true })).toThrow(/do_pad/);
  });
});
