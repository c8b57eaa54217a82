import { clipTrainTransform, type Dataset } from '../../data/index.ts';
import { type HostTensor, i64, type TensorType } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import type { Progress } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { batchOf, type Values } from '../../train/index.ts';
import type { TuneTask } from './task.ts';

/** An image of the training set, in one of its views. */
export interface Pick {
  readonly image: number;
  readonly view: number;
}

/** What a batch holds of its images: their features, their pixels. */
export interface BatchSource {
  /** The shape of one image's part. */
  readonly shape: readonly number[];
  of(picks: readonly Pick[]): HostTensor | Promise<HostTensor>;
}

/**
 * Epochs over labelled images: batches in a new order every epoch, one view drawn for each image, as a pure function
 * of the step. As in Dassl, an incomplete last batch is dropped when there is at least one full batch.
 */
export class Batches {
  readonly size: number;
  readonly perEpoch: number;
  /** Of the batches of `at`. */
  readonly types: Record<string, TensorType>;
  private order: { epoch: number; indices: Int32Array } | undefined;

  constructor(
    private readonly labels: readonly number[],
    private readonly sources: Record<string, BatchSource>,
    private readonly options: { batch: number; seed: number; views: number },
  ) {
    if (labels.length === 0) throw new Error('There are no training images');
    this.size = Math.min(options.batch, labels.length);
    this.perEpoch = Math.floor(labels.length / this.size);
    this.types = { labels: batchOf([this.size], 'int64') };
    for (const [name, { shape }] of Object.entries(sources))
      this.types[name] = batchOf([this.size, ...shape]);
  }

  at = async ({ step, epoch }: Progress): Promise<Values> => {
    const { seed, views } = this.options;
    if (this.order?.epoch !== epoch) {
      this.order = { epoch, indices: new Random(seed, 'order', epoch).permutation(this.labels.length) };
    }
    const from = (step % this.perEpoch) * this.size;
    const random = new Random(seed, 'views', step);
    const picks = Array.from(this.order.indices.subarray(from, from + this.size), (image) => ({
      image,
      view: random.int(views),
    }));
    const values: Values = { labels: i64(picks.map(({ image }) => this.labels[image]!)) };
    for (const [name, source] of Object.entries(this.sources)) values[name] = await source.of(picks);
    return values;
  };
}

/** Rows of features [N, D] that are known, of each view. */
export const rowsOf = (views: readonly HostTensor<'float32'>[]): BatchSource => {
  const width = views[0]!.shape[1]!;
  return {
    shape: [width],
    of(picks) {
      const data = new Float32Array(picks.length * width);
      picks.forEach(({ image, view }, i) => {
        data.set(views[view]!.data.subarray(image * width, (image + 1) * width), i * width);
      });
      return { dtype: 'float32', shape: [picks.length, width], data };
    },
  };
};

/** Preprocessed pixels, decoded anew for each batch. */
export const pixelsOf = ({ config, images }: ClipModel, views: readonly Dataset[]): BatchSource => {
  const { channels, imageSize } = config.vision;
  return {
    shape: [channels, imageSize, imageSize],
    of: async (picks) =>
      images.batch(await Promise.all(picks.map(({ image, view }) => views[view]!.examples[image]!.image()))),
  };
};

/** The training images as they are, or as `count` data sets of random crops and flips (CoOp's training transform). */
export function viewsOf({ train, model, seed }: TuneTask, count: number): Dataset[] {
  if (count === 0) return [train];
  const transform = clipTrainTransform(model.config.vision.imageSize);
  return Array.from({ length: count }, (_, v) => ({
    ...train,
    examples: train.examples.map((e) => ({
      ...e,
      id: `${e.id} view ${v} of seed ${seed}`,
      image: async () => transform(await e.image(), new Random(seed, 'view', v, e.id)),
    })),
  }));
}

export const labelsOf = (data: Dataset): number[] => data.examples.map((e) => e.label);
