/** From pixels to a vision model's input, as the Pillow image processors of `transformers` do it. */
import { z } from 'zod';
import { emptyArray, type HostTensor } from '../graph/host.ts';
import type { Pixels } from './dataset.ts';
import { crop, type Resampling, resamplings, resize } from './resize.ts';

const edge = z.int().positive();
const sizeSchema = z.union([
  edge,
  z.tuple([edge, edge]),
  z.object({ height: edge, width: edge }),
  z.object({ max_height: edge, max_width: edge }),
  z.object({ shortest_edge: edge, longest_edge: edge.nullish() }),
]);
const channels = z.union([z.number(), z.array(z.number()).length(3)]);

/** The keys of `preprocessor_config.json` that say what happens to an image; the defaults are CLIP's. */
const configSchema = z.object({
  image_processor_type: z.string().nullish(),
  feature_extractor_type: z.string().nullish(),
  default_to_square: z.boolean().nullish(),
  do_resize: z.boolean().default(true),
  size: sizeSchema.default({ shortest_edge: 224 }),
  resample: z.union([z.int().min(0).max(5), z.enum(resamplings)]).default(3),
  do_center_crop: z.boolean().default(true),
  crop_size: z
    .union([edge, z.tuple([edge, edge]), z.object({ height: edge, width: edge })])
    .default({ height: 224, width: 224 }),
  do_rescale: z.boolean().default(true),
  rescale_factor: z.number().default(1 / 255),
  do_normalize: z.boolean().default(true),
  image_mean: channels.default([0.48145466, 0.4578275, 0.40821073]),
  image_std: channels.default([0.26862954, 0.26130258, 0.27577711]),
});

export interface ImageProcessor {
  /** `[3, height, width]` where every image gets the same shape; undefined where it follows the image's. */
  readonly shape: readonly [3, number, number] | undefined;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Resize and crop alone: what the model sees, in 8 bits. */
  frame(image: Pixels): Pixels;
  /** 8 bits to floats of shape `[3, height, width]`, normalised; no resizing. */
  normalize(image: Pixels): HostTensor<'float32'>;
  /** `frame`, then `normalize`. */
  process(image: Pixels): HostTensor<'float32'>;
  /** All images as one tensor `[N, 3, height, width]`. Throws where they differ in size. */
  batch(images: readonly Pixels[]): HostTensor<'float32'>;
}

interface Side {
  readonly height: number;
  readonly width: number;
}

const square = (n: number): Side => ({ height: n, width: n });

/** Reads a parsed `preprocessor_config.json` (or `processor_config.json`); without one, CLIP's defaults at 224. */
export function imageProcessor(config: unknown = {}): ImageProcessor {
  const nested = (config as { image_processor?: unknown } | null)?.image_processor ?? config;
  const given = Object.fromEntries(Object.entries(nested as object).filter(([, v]) => v !== null));
  const parsed = configSchema.safeParse(given);
  if (!parsed.success) {
    throw new Error(`the preprocessor config is not understood: ${z.prettifyError(parsed.error)}`);
  }
  const c = parsed.data;
  if (given.do_pad === true)
    throw new Error('the preprocessor config asks for do_pad, which is not supported');
  const kind = c.image_processor_type ?? c.feature_extractor_type ?? 'CLIP';
  const toSquare = c.default_to_square ?? !/CLIP/i.test(kind);
  const target = sizeRule(c.size, toSquare);
  const cropSize = pair(c.crop_size);
  const method: Resampling = typeof c.resample === 'number' ? resamplings[c.resample]! : c.resample;
  const three = (v: number | number[]) => (typeof v === 'number' ? [v, v, v] : v);
  const mean = three(c.image_mean);
  const std = three(c.image_std);
  // every 8-bit value's float, rounded to float32 where transformers rounds
  const tables = [0, 1, 2].map((channel) =>
    Float32Array.from({ length: 256 }, (_, v) => {
      const scaled = Math.fround(c.do_rescale ? v * c.rescale_factor : v);
      if (!c.do_normalize) return scaled;
      return Math.fround(scaled - Math.fround(mean[channel]!)) / Math.fround(std[channel]!);
    }),
  );
  const fixed = c.do_center_crop ? cropSize : c.do_resize ? target.fixed : undefined;

  function frame(image: Pixels): Pixels {
    const size = c.do_resize ? target.of(image) : image;
    const out = c.do_center_crop ? cropSize : size;
    // where the image is smaller than the crop, it stands in the middle of black, the odd pixel before it
    const left = Math.floor((size.width - out.width) / 2);
    const top = Math.floor((size.height - out.height) / 2);
    const window = {
      left: Math.max(0, left),
      top: Math.max(0, top),
      width: Math.min(out.width, size.width),
      height: Math.min(out.height, size.height),
    };
    const part = c.do_resize ? resize(image, size.width, size.height, method, window) : crop(image, window);
    return left < 0 || top < 0 ? place(part, out, Math.max(0, -left), Math.max(0, -top)) : part;
  }

  function write({ data }: Pixels, out: Float32Array): void {
    const plane = data.length / 3;
    for (let channel = 0; channel < 3; channel++) {
      const table = tables[channel]!;
      const base = channel * plane;
      for (let i = 0, j = channel; i < plane; i++, j += 3) out[base + i] = table[data[j]!]!;
    }
  }

  function stack(images: readonly Pixels[], shape: number[]): HostTensor<'float32'> {
    const data = emptyArray(
      'float32',
      shape.reduce((a, b) => a * b, 1),
    );
    const each = data.length / images.length;
    images.forEach((image, i) => {
      write(image, data.subarray(i * each, (i + 1) * each));
    });
    return { dtype: 'float32', shape, data };
  }
  const normalize = (image: Pixels) => stack([image], [3, image.height, image.width]);

  return {
    shape: fixed && [3, fixed.height, fixed.width],
    mean,
    std,
    frame,
    normalize,
    process: (image) => normalize(frame(image)),
    batch(images) {
      const fitted = images.map(frame);
      const [first] = fitted;
      if (!first) throw new Error('a batch needs at least one image');
      const odd = fitted.find((p) => p.width !== first.width || p.height !== first.height);
      if (odd) {
        throw new Error(
          `images of ${first.width}×${first.height} and ${odd.width}×${odd.height} pixels do not make one batch: ` +
            `the preprocessor config has neither a square size nor a centre crop`,
        );
      }
      return stack(fitted, [fitted.length, 3, first.height, first.width]);
    },
  };
}

const pair = (size: number | [number, number] | Side): Side =>
  typeof size === 'number'
    ? square(size)
    : Array.isArray(size)
      ? { height: size[0], width: size[1] }
      : { height: size.height, width: size.width };

/** How large an image becomes, and the one size of all where there is one. */
function sizeRule(
  size: z.infer<typeof sizeSchema>,
  toSquare: boolean,
): { fixed?: Side; of(image: Side): Side } {
  if (typeof size === 'object' && 'max_height' in size) {
    return {
      of({ height, width }) {
        const scale = Math.min(size.max_height / height, size.max_width / width);
        return { height: whole(height * scale), width: whole(width * scale) };
      },
    };
  }
  if (typeof size === 'number' ? !toSquare : 'shortest_edge' in size) {
    const { shortest_edge: short, longest_edge: long } =
      typeof size === 'number'
        ? { shortest_edge: size }
        : (size as { shortest_edge: number; longest_edge?: number });
    return { of: (image) => keepAspect(image, short, long ?? undefined) };
  }
  const fixed = pair(size as number | [number, number] | Side);
  return { fixed, of: () => fixed };
}

/** Python's `int()`, but a side never vanishes. */
const whole = (x: number) => Math.max(1, Math.trunc(x));

function keepAspect({ height, width }: Side, short: number, long?: number): Side {
  const [low, high] = width <= height ? [width, height] : [height, width];
  let target = short;
  let exact: number | undefined;
  if (long !== undefined && (high / low) * short > long) {
    exact = (long * low) / high;
    target = Math.max(1, roundHalfEven(exact));
  }
  const other = long !== undefined && low === target ? high : whole(((exact ?? target) * high) / low);
  return width <= height ? { height: other, width: target } : { height: target, width: other };
}

function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  return x - down === 0.5 ? down + (down % 2) : Math.round(x);
}

/** `image` on a black `size`, its corner at `left`, `top`. */
function place(image: Pixels, size: Side, left: number, top: number): Pixels {
  const data = new Uint8Array(size.width * size.height * 3);
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
    data.set(row, ((y + top) * size.width + left) * 3);
  }
  return { data, width: size.width, height: size.height };
}
