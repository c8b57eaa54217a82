import { type ImageSet, imageTensor, type Normalisation } from '../../data/index.ts';
import { f32, type HostTensor, sizeOf } from '../../graph/index.ts';

/** Labelled images as networks read them: normalised, and with values that a picture may not have. */
export interface LabelledImages {
  readonly classes: readonly string[];
  readonly labels: ArrayLike<number>;
  readonly shape: ImageSet['shape'];
  /** The images of these indices: float32 [B, C, H, W]. */
  tensor(indices: ArrayLike<number>): HostTensor<'float32'>;
}

/** Pictures, normalised when they are asked for. */
export const normalised = (set: ImageSet, normalisation: Normalisation): LabelledImages => ({
  classes: set.classes,
  labels: set.labels,
  shape: set.shape,
  tensor: (indices) => imageTensor(set, normalisation, indices),
});

/** Images of a tensor [N, C, H, W]. */
export function imagesOf(
  { data, shape }: HostTensor<'float32'>,
  labels: ArrayLike<number>,
  classes: readonly string[],
): LabelledImages {
  if (shape.length !== 4 || shape[0] !== labels.length)
    throw new Error(`images must be [${labels.length}, channels, height, width], not [${shape}]`);
  const each = shape.slice(1) as [number, number, number];
  const size = sizeOf(each);
  return {
    classes,
    labels,
    shape: each,
    tensor(indices) {
      const picked = new Float32Array(indices.length * size);
      for (let n = 0; n < indices.length; n++) {
        const from = indices[n]! * size;
        picked.set(data.subarray(from, from + size), n * size);
      }
      return f32(picked, [indices.length, ...each]);
    },
  };
}

/** Some of the images. */
export const subsetOf = (images: LabelledImages, indices: ArrayLike<number>): LabelledImages =>
  imagesOf(
    images.tensor(indices),
    Array.from(indices, (i) => images.labels[i]!),
    images.classes,
  );

/** Labels of condensed sets: `perClass` times each class in order. */
export const labelsByClass = (classes: number, perClass: number): number[] =>
  Array.from({ length: classes * perClass }, (_, i) => Math.floor(i / perClass));
