import { constant, grad, i64, type Tensor } from '../src/graph/index.ts';
import { gradientDistance } from '../src/methods/dcc/distance.ts';
import { imageClassifier } from '../src/models/classifiers/index.ts';
import { batchNormInTraining, crossEntropy, normalInit, sgd, type Tree } from '../src/nn/index.ts';
import { type Benchmark, freshWeights, training } from './benchmark.ts';
import { integers, noise } from './data.ts';

const [convNet, resNet18] = [imageClassifier('convnet-3', 10), imageClassifier('resnet-18-cifar', 10)];

const batch = (size: number) => () => ({
  images: noise('images', [size, 3, 32, 32]),
  labels: integers('labels', [size], 10),
});

/** Rounding turns a few of millions of ReLUs: `torch/kinks.py` shows PyTorch differing from itself by half of this. */
const tolerance = 1e-2;

const convNetStep = training({
  name: 'convnet',
  about: 'ConvNet-3 (128 channels, instance norm), 128 images of 32×32, SGD with momentum; all trained',
  torch: { script: 'images', settings: { model: 'convnet' } },
  tolerance,
  frozen: false,
  batch: batch(128),
  build: (s, { images, labels }) => ({ loss: crossEntropy(convNet(s, images!).logits, labels!) }),
  optimizer: sgd({ lr: 0.01, momentum: 0.9, weightDecay: 5e-4 }),
});

const resNetStep = training({
  name: 'resnet18',
  about:
    'ResNet-18 (3×3 stem, batch norm with running statistics), 64 images of 32×32, SGD with momentum; all trained',
  torch: { script: 'images', settings: { model: 'resnet18' } },
  tolerance,
  frozen: false,
  batch: batch(64),
  build: (s, { images, labels }) => ({
    loss: crossEntropy(resNet18(s, images!, batchNormInTraining).logits, labels!),
  }),
  optimizer: sgd({ lr: 0.01, momentum: 0.9, weightDecay: 5e-4 }),
});

const [classes, real, synthetic] = [10, 16, 10];

const matching = training({
  name: 'convnet-second-order',
  about: `dataset condensation by gradient matching: for ${classes} classes the distance between ConvNet-3's gradients on ${real} real and on ${synthetic} synthetic images, its gradient with respect to the latter, SGD with momentum`,
  torch: { script: 'images', settings: { model: 'matching' } },
  tolerance,
  frozen: true,
  async batch() {
    const images = noise('images', [classes, real, 3, 32, 32]);
    const net = await freshWeights((s) => convNet(s.at('net'), constant(noise('one', [1, 3, 32, 32]))));
    return { real: images, ...net };
  },
  // The network is fed, not frozen: dataset condensation trains it in between.
  build(s, fed) {
    const given = s.intercept({ weight: { 'net.**': (_w, { name }) => fed[name]! } }).at('net');
    const names = Object.keys(fed).filter((name) => name.startsWith('net.'));
    const images = s.param('synthetic', [classes, synthetic, 3, 32, 32], normalInit(1));
    const gradients = (all: Tensor, c: number): Tree => {
      const x = all.slice(0, c, c + 1).reshape(all.shape.slice(1));
      const labels = constant(i64(Array<number>(x.dim(0)).fill(c)));
      const found = grad(
        crossEntropy(convNet(given, x).logits, labels),
        names.map((name) => fed[name]!),
      );
      return Object.fromEntries(names.map((name, i) => [name, found[i]!]));
    };
    const losses = Array.from({ length: classes }, (_, c) =>
      gradientDistance('rows', gradients(images, c), gradients(fed.real!, c)),
    );
    return { loss: losses.reduce((a, b) => a.add(b)) };
  },
  optimizer: sgd({ lr: 0.1, momentum: 0.5 }),
});

export const imageBenchmarks: Benchmark[] = [convNetStep, resNetStep, matching];
