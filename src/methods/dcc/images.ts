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

/** All images of several sets of the same classes and shape. */
export function joined(sets: readonly LabelledImages[]): LabelledImages {
  const owner = sets.flatMap((set, s) =>
    Array.from({ length: set.labels.length }, (_, i) => [s, i] as const),
  );
  const [{ classes, shape }] = sets as [LabelledImages];
  return {
    classes,
    shape,
    labels: owner.map(([s, i]) => sets[s]!.labels[i]!),
    tensor(indices) {
      const size = sizeOf(shape);
      const data = new Float32Array(indices.length * size);
      for (let n = 0; n < indices.length; n++) {
        const [s, i] = owner[indices[n]!]!;
        data.set(sets[s]!.tensor([i]).data, n * size);
      }
      return f32(data, [indices.length, ...shape]);
    },
  };
}

/** The images in memory as a tensor, each changed by `change`, a function of its values [C, H, W]. */
export function mapped(
  images: LabelledImages,
  change: (values: Float32Array) => ArrayLike<number>,
): LabelledImages {
  const all = Array.from({ length: images.labels.length }, (_, i) => i);
  const { data, shape } = images.tensor(all);
  const size = sizeOf(images.shape);
  const next = new Float32Array(data.length);
  for (const i of all) next.set(change(data.subarray(i * size, (i + 1) * size)), i * size);
  return imagesOf(f32(next, shape), images.labels, images.classes);
}
