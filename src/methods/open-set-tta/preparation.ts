/** What hosts learn from source images before they are deployed: Fisher information (EATA), sensitivity to shifts (SWR). */
import type { ImageSet, Pixels } from '../../data/index.ts';
import { argMax, grad, type HostTensor, i64, input, zeros } from '../../graph/index.ts';
import { batchNormByBatch, crossEntropy, trace } from '../../nn/index.ts';
import { compile, Random } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { shiftAugmentation } from './augment.ts';
import { type SourceModel, tensorOf } from './model.ts';
import type { AdaptationOptions } from './options.ts';

export type SourceImages = Pick<ImageSet, 'images' | 'labels'>;

/** Gradients of the mean cross-entropy of a batch, by the labels or by what the model predicts. */
type Gradients = (images: readonly Pixels[], labels: readonly number[]) => Promise<Values>;

/** Calls `look` with the gradients on batches of up to `fisherImages` images, drawn by seed. */
async function overBatches(
  model: SourceModel,
  names: readonly string[],
  target: 'labels' | 'predicted',
  source: SourceImages,
  options: AdaptationOptions,
  look: (
    batch: number,
    gradients: Gradients,
    images: readonly Pixels[],
    labels: readonly number[],
  ) => Promise<void>,
): Promise<number> {
  const { fisherImages, seed } = options;
  const count = Math.min(fisherImages, source.images.length);
  const size = Math.min(options.batch, count);
  const { result, params } = trace('scratch', (s) => {
    const logits = model.network(s, input('images', [size, ...model.shape]), batchNormByBatch);
    const labels = target === 'labels' ? input('labels', [size], 'int64') : argMax(logits, 1);
    return crossEntropy(logits, labels);
  });
  const wanted = params.filter((p) => names.includes(p.name));
  const slopes = grad(
    result,
    wanted.map((p) => p.tensor),
  );
  const program = await compile(Object.fromEntries(wanted.map((p, i) => [`slope/${p.name}`, slopes[i]!])), {
    name: 'gradients on source images',
  });
  const weights = Object.fromEntries(params.map(({ name }) => [`param/${name}`, model.weights[name]!]));
  const gradients: Gradients = async (images, labels) => {
    const out = await program.run({
      ...weights,
      images: tensorOf(model, images),
      ...(target === 'labels' && { labels: i64(labels) }),
    });
    return Object.fromEntries(names.map((name) => [name, out[`slope/${name}`]!]));
  };
  try {
    const order = new Random(seed, 'source-images').permutation(source.images.length);
    const batches = Math.floor(count / size);
    for (let b = 0; b < batches; b++) {
      const picked = [...order.subarray(b * size, (b + 1) * size)];
      await look(
        b,
        gradients,
        picked.map((i) => source.images[i]!),
        picked.map((i) => source.labels[i]!),
      );
    }
    return batches;
  } finally {
    await program.release();
  }
}

/**
 * The mean over batches of the squared gradient of the cross-entropy of predictions with themselves, by parameter, with
 * batch statistics: the diagonal of the Fisher information as EATA estimates it.
 */
export async function fisherInformation(
  model: SourceModel,
  names: readonly string[],
  source: SourceImages,
  options: AdaptationOptions,
): Promise<Values> {
  const sums = Object.fromEntries(names.map((name) => [name, zeros(model.weights[name]!.shape)]));
  const batches = await overBatches(
    model,
    names,
    'predicted',
    source,
    options,
    async (_b, gradients, images, labels) => {
      for (const [name, { data }] of Object.entries(await gradients(images, labels))) {
        const sum = sums[name]!.data;
        for (let i = 0; i < sum.length; i++) sum[i]! += Number(data[i]) ** 2;
      }
    },
  );
  for (const { data } of Object.values(sums)) for (let i = 0; i < data.length; i++) data[i]! /= batches;
  return sums;
}

/**
 * SWR's weight of each parameter's penalty: the cosine of its gradients on source images and on the same images under
 * changes of colour and blur, mean over batches; brought to 0 … 1 over parameters, squared. What points the same way under a
 * shift is held (1), what turns is free (0).
 */
export async function shiftAgnosticism(
  model: SourceModel,
  names: readonly string[],
  source: SourceImages,
  options: AdaptationOptions,
): Promise<Readonly<Record<string, number>>> {
  const sums = new Float64Array(names.length);
  const batches = await overBatches(
    model,
    names,
    'labels',
    source,
    options,
    async (b, gradients, images, labels) => {
      const clean = await gradients(images, labels);
      const shifted = await gradients(
        images.map((image, i) => shiftAugmentation(image, new Random(options.seed, 'shift', b, i))),
        labels,
      );
      names.forEach((name, i) => {
        sums[i]! += cosine(clean[name]!, shifted[name]!);
      });
    },
  );
  const mean = sums.map((s) => s / batches);
  const [low, high] = [Math.min(...mean), Math.max(...mean)];
  return Object.fromEntries(
    names.map((name, i) => [name, high > low ? ((mean[i]! - low) / (high - low)) ** 2 : 0]),
  );
}

function cosine(a: HostTensor, b: HostTensor): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.data.length; i++) {
    const [x, y] = [Number(a.data[i]), Number(b.data[i])];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0;
}
