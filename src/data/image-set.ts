/** Decoded images of one size in memory, and the tensors made of them: what networks are trained on from scratch. */
import { type HostTensor, zeros } from '../graph/index.ts';
import { type Dataset, isGrey, type Pixels } from './dataset.ts';
import { mapParallel } from './parallel.ts';
import { resize } from './resize.ts';

export interface ImageSet {
  readonly name: string;
  readonly classes: readonly string[];
  readonly ids: readonly string[];
  readonly labels: Int32Array;
  readonly images: readonly Pixels[];
  /** [C, H, W] of each image's tensor; C is 1 where all are grey. */
  readonly shape: readonly [channels: number, height: number, width: number];
}

/**
 * Decodes all images of a data set. All get `size`×`size` pixels, by default that of the first, and as many channels as
 * they need (`like`: the size and channels of another set).
 * @throws where images differ in size and no size is given.
 */
export async function loadImages(
  data: Dataset,
  options: { readonly size?: number; readonly like?: Pick<ImageSet, 'shape'> } = {},
): Promise<ImageSet> {
  const { like } = options;
  const decoded = await mapParallel(data.examples, (e) => e.image());
  const first = like ? { height: like.shape[1], width: like.shape[2] } : decoded[0];
  if (!first) throw new Error(`${data.name} has no images`);
  const { height, width } = options.size ? { height: options.size, width: options.size } : first;
  const images = decoded.map((image, i) => {
    if (like) return fitImage(image, like.shape);
    if (image.height === height && image.width === width) return image;
    if (options.size) return resize(image, width, height, 'bilinear');
    throw new Error(
      `${data.name}: ${data.examples[i]!.id} is ${image.width}×${image.height}, not ${width}×${height} as the first: give a size`,
    );
  });
  return {
    name: data.name,
    classes: data.classes,
    ids: data.examples.map((e) => e.id),
    labels: Int32Array.from(data.examples, (e) => e.label),
    images,
    shape: [like?.shape[0] ?? (images.every(isGrey) ? 1 : 3), height, width],
  };
}

/** An image in the size of [C, H, W], and without colours where C is 1 (weighed as Pillow does). */
export function fitImage(image: Pixels, [channels, height, width]: ImageSet['shape']): Pixels {
  const sized =
    image.height === height && image.width === width ? image : resize(image, width, height, 'bilinear');
  if (channels === 3 || isGrey(sized)) return sized;
  const data = new Uint8Array(sized.data.length);
  for (let i = 0; i < data.length; i += 3) {
    const [r, g, b] = [sized.data[i]!, sized.data[i + 1]!, sized.data[i + 2]!];
    data.fill(Math.round(0.299 * r + 0.587 * g + 0.114 * b), i, i + 3);
  }
  return { data, width, height };
}

/** Mean and deviation of each channel, in units of 255. */
export interface Normalisation {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Over all pixels of all images. */
export function normalisationOf({ images, shape: [channels, height, width] }: ImageSet): Normalisation {
  const [sums, squares] = [new Float64Array(channels), new Float64Array(channels)];
  for (const { data } of images) {
    for (let c = 0; c < channels; c++) {
      for (let i = c; i < data.length; i += 3) {
        sums[c]! += data[i]! / 255;
        squares[c]! += (data[i]! / 255) ** 2;
      }
    }
  }
  const count = images.length * height * width;
  const mean = Array.from(sums, (s) => s / count);
  // A channel without any variation is left as it is.
  const std = mean.map((m, c) => Math.sqrt(Math.max(0, squares[c]! / count - m * m)) || 1);
  return { mean, std };
}

/** The images of these indices as float32 [B, C, H, W], normalised; `change` augments the image at a position. */
export function imageTensor(
  { images, shape }: Pick<ImageSet, 'images' | 'shape'>,
  { mean, std }: Normalisation,
  indices: ArrayLike<number>,
  change: (image: Pixels, position: number) => Pixels = (image) => image,
): HostTensor<'float32'> {
  const [channels, height, width] = shape;
  const area = height * width;
  const tensor = zeros([indices.length, ...shape]) as HostTensor<'float32'>;
  for (let n = 0; n < indices.length; n++) {
    const { data } = change(images[indices[n]!]!, n);
    for (let c = 0; c < channels; c++) {
      const [factor, shift] = [1 / (255 * std[c]!), mean[c]! / std[c]!];
      const from = (n * channels + c) * area;
      for (let i = 0; i < area; i++) tensor.data[from + i] = data[3 * i + c]! * factor - shift;
    }
  }
  return tensor;
}
