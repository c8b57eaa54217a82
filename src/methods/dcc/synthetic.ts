import sharp from 'sharp';
import type { Normalisation } from '../../data/index.ts';
import { f32, type HostTensor, i64, toFloat32 } from '../../graph/index.ts';
import { readSafetensors, writeAtomic, writeSafetensors } from '../../hub/index.ts';
import { imagesOf, type LabelledImages } from './images.ts';

const format = 'attune-synthetic-1';

/** A condensed data set. */
export interface SyntheticSet {
  /** [N, channels, height, width] as networks read them: (pixel / 255 − mean) / std, not bounded by what a picture may have. */
  readonly images: HostTensor<'float32'>;
  readonly labels: ArrayLike<number>;
  readonly classes: readonly string[];
  /** Of each channel, in units of 255: that of the real images. */
  readonly normalisation: Normalisation;
}

/** Writes `images`, `labels` (int64), `mean` and `std`, with the names of the classes in the metadata. */
export const writeSynthetic = (
  file: string,
  { images, labels, classes, normalisation }: SyntheticSet,
): Promise<void> =>
  writeSafetensors(
    file,
    { images, labels: i64(labels), mean: f32(normalisation.mean), std: f32(normalisation.std) },
    { format, classes: JSON.stringify(classes) },
  );

/** @throws where the file is missing, damaged or of another kind. */
export async function readSynthetic(file: string): Promise<SyntheticSet> {
  const source = await readSafetensors(file);
  if (source.metadata.format !== format) throw new Error(`${file} was not written by attune distill`);
  const load = async (name: string) => {
    const weight = source.get(name);
    if (!weight) throw new Error(`${file} has no "${name}"`);
    return weight.load();
  };
  const values = async (name: string) => Array.from((await load(name)).data, Number);
  const images = toFloat32(await load('images'));
  const labels = await values('labels');
  const classes = JSON.parse(source.metadata.classes ?? '[]') as string[];
  const wrong = labels.find((label) => classes[label] === undefined);
  if (wrong !== undefined) throw new Error(`${file} has label ${wrong}, but ${classes.length} classes`);
  imagesOf(images, labels, classes);
  return { images, labels, classes, normalisation: { mean: await values('mean'), std: await values('std') } };
}

/** A condensed set as images that networks read. */
export const syntheticImages = ({ images, labels, classes }: SyntheticSet): LabelledImages =>
  imagesOf(images, labels, classes);

/** Pixels between two images of the grid. */
const gap = 2;

/** A PNG with a row for each class. Small images are enlarged; values that a picture may not have are clipped. */
export async function writeGrid(file: string, set: SyntheticSet): Promise<void> {
  const { images, classes, normalisation } = set;
  const [count, channels, height, width] = images.shape as [number, number, number, number];
  const [rows, columns] = [classes.length, count / classes.length];
  const full = { width: columns * (width + gap) + gap, height: rows * (height + gap) + gap };
  const pixels = Buffer.alloc(full.width * full.height * 3, 40);
  for (let n = 0; n < count; n++) {
    const [top, left] = [Math.floor(n / columns) * (height + gap) + gap, (n % columns) * (width + gap) + gap];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let rgb = 0; rgb < 3; rgb++) {
          const c = channels === 1 ? 0 : rgb;
          const value = images.data[((n * channels + c) * height + y) * width + x]!;
          const level = 255 * (value * normalisation.std[c]! + normalisation.mean[c]!);
          pixels[((top + y) * full.width + left + x) * 3 + rgb] = Math.max(
            0,
            Math.min(255, Math.round(level)),
          );
        }
      }
    }
  }
  const factor = Math.max(1, Math.min(8, Math.floor(800 / Math.max(full.width, full.height))));
  const png = await sharp(pixels, { raw: { ...full, channels: 3 } })
    .resize(full.width * factor, full.height * factor, { kernel: 'nearest' })
    .png()
    .toBuffer();
  await writeAtomic(file, [png]);
}
