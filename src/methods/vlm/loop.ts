import type { Dataset } from '../../data/index.ts';
import { type HostTensor, i64 } from '../../graph/index.ts';
import type { Progress } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';

/**
 * Epochs over cached features: batches in a new order every epoch, as a pure function of the step. As in Dassl, an
 * incomplete last batch is dropped when there is at least one full batch.
 */
export class FeatureBatches {
  readonly size: number;
  readonly perEpoch: number;
  private order: { epoch: number; indices: Int32Array } | undefined;

  /** @param views features [N, D] of each view of the images; every epoch draws one view for each image. */
  constructor(
    private readonly views: readonly HostTensor<'float32'>[],
    private readonly labels: readonly number[],
    batch: number,
    private readonly seed: number,
  ) {
    if (labels.length === 0) throw new Error('There are no training images');
    this.size = Math.min(batch, labels.length);
    this.perEpoch = Math.floor(labels.length / this.size);
  }

  at = ({ step, epoch }: Progress): Values => {
    if (this.order?.epoch !== epoch) {
      this.order = { epoch, indices: new Random(this.seed, 'order', epoch).permutation(this.labels.length) };
    }
    const from = (step % this.perEpoch) * this.size;
    const picked = Array.from(this.order.indices.subarray(from, from + this.size));
    const width = this.views[0]!.shape[1]!;
    const random = new Random(this.seed, 'views', step);
    const features = new Float32Array(this.size * width);
    picked.forEach((image, i) => {
      const view = this.views[random.int(this.views.length)]!;
      features.set(view.data.subarray(image * width, (image + 1) * width), i * width);
    });
    return {
      features: { dtype: 'float32', shape: [this.size, width], data: features },
      labels: i64(picked.map((image) => this.labels[image]!)),
    };
  };
}

export const labelsOf = (data: Dataset): number[] => data.examples.map((e) => e.label);
