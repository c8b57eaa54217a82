import { imageTensor, loadImages, normalisationOf, openData } from '../src/data/index.ts';
import { constant, f32, grad, i64, input } from '../src/graph/index.ts';
import { imageClassifier } from '../src/models/classifiers/index.ts';
import { crossEntropy, type Scope, sgd, type Tree, trace, weightInit } from '../src/nn/index.ts';
import { Random } from '../src/runtime/index.ts';
import { batchOf, TrainStep, type Values } from '../src/train/index.ts';
import { type Benchmark, freshWeights, stepping } from './benchmark.ts';
import { noise } from './data.ts';

const convNet = imageClassifier('convnet-3', 10);

const [size, steps] = [128, 4];

/** Loss and gradients of ConvNet-3 on a batch of MNIST. */
const digitsStep = (s: Scope, { images, labels }: Tree) => ({
  loss: crossEntropy(convNet(s, images!).logits, labels!),
});

export const mnistEpoch: Benchmark = {
  name: 'convnet-mnist',
  about: `training on MNIST, ${steps} steps of the 468 that an epoch has: ConvNet-3 (128 channels, instance norm), each time ${size} of 60,000 images of bytes are looked up in random order, made numbers and normalised; SGD with momentum`,
  torch: { script: 'images', settings: { model: 'mnist', size, steps } },
  // As in images.ts; some steps carry what a ReLU turned along.
  tolerance: 1e-2,
  async prepare() {
    const train = await loadImages((await openData('mnist')).train);
    const { mean, std } = normalisationOf(train);
    const { labels, shape } = train;
    const bytes = train.images.map(({ data }) => data.filter((_, i) => i % 3 === 0));
    const batch: Values = {
      images: {
        dtype: 'uint8',
        data: Uint8Array.from(Buffer.concat(bytes)),
        shape: [labels.length, ...shape],
      },
      labels: i64(labels),
      order: i64(new Random(1, 'order').permutation(labels.length)),
      normalisation: f32([mean[0]!, std[0]!]),
    };
    const one = { images: constant(noise('one', [1, ...shape])), labels: constant(i64([0])) };
    return { batch, weights: await freshWeights((s) => digitsStep(s, one)) };
  },
  graph: (_source, { images }) =>
    Array.from({ length: steps }, (_, i) => {
      const fed = {
        images: input(`images ${i}`, [size, ...images!.shape.slice(1)]),
        labels: input(`labels ${i}`, [size], 'int64'),
      };
      const { result, params } = trace('scratch', (s) => digitsStep(s, fed));
      const wanted = params.map((p) => p.tensor);
      return [result.loss, ...grad(result.loss, wanted)];
    }).flat(),
  async start(source, { images, labels, order, normalisation }, compile) {
    const shape = images!.shape.slice(1) as [number, number, number];
    const area = shape[1] * shape[2];
    const grey = images!.data as Uint8Array;
    const set = {
      shape,
      images: Array.from({ length: images!.shape[0]! }, (_, n) => ({
        width: shape[2],
        height: shape[1],
        data: Uint8Array.from({ length: 3 * area }, (_, i) => grey[n * area + Math.floor(i / 3)]!),
      })),
    };
    const [mean, std] = normalisation!.data as Float32Array;
    const step = await TrainStep.compile({
      source: 'scratch',
      batch: { images: batchOf([size, ...shape]), labels: batchOf([size], 'int64') },
      build: digitsStep,
      optimizer: sgd({ lr: 0.01, momentum: 0.9, weightDecay: 5e-4 }),
      init: (p) => weightInit(source.get(p.name)!),
      compile,
    });
    const [indices, digits] = [order!, labels!].map(({ data }) =>
      Int32Array.from(data as BigInt64Array, Number),
    ) as [Int32Array, Int32Array];
    let next = 0;
    return stepping(
      step,
      () => {
        // A rest at the end of the epoch is dropped.
        const at = size * (next++ % Math.floor(indices.length / size));
        const picked = indices.subarray(at, at + size);
        return {
          images: imageTensor(set, { mean: [mean!], std: [std!] }, picked),
          labels: i64(Array.from(picked, (i) => digits[i]!)),
        };
      },
      steps,
    );
  },
};
