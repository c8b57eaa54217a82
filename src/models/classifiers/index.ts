/** Classifiers of images, mostly convolutional, with the weight names of PyTorch checkpoints. */
import { didYouMean } from '../../graph/nearest.ts';
import type { ImageClassifier } from './classifier.ts';
import { convNet } from './convnet.ts';
import { leNet } from './lenet.ts';
import { mlp } from './mlp.ts';
import { resNet, resNetConfig } from './resnet.ts';
import { wideResNet } from './wide-resnet.ts';

export * from './classifier.ts';
export * from './convnet.ts';
export * from './lenet.ts';
export * from './mlp.ts';
export { type ResNetConfig, resNet, resNetConfig } from './resnet.ts';
export * from './wide-resnet.ts';

/** The networks that have a name; `-cifar` are those for small images, `-bn` those with batch norm. */
export const imageClassifiers: Readonly<Record<string, (classes: number) => ImageClassifier>> = {
  'convnet-3': (classes) => (s, x, norm) => convNet(s, x, { classes }, norm),
  'convnet-3-bn': (classes) => (s, x, norm) => convNet(s, x, { classes, norm: 'batchnorm' }, norm),
  lenet: (classes) => (s, x) => leNet(s, x, { classes }),
  'lenet-bn': (classes) => (s, x, norm) => leNet(s, x, { classes, batchNorm: true }, norm),
  mlp: (classes) => (s, x) => mlp(s, x, { classes }),
  'mlp-bn': (classes) => (s, x, norm) => mlp(s, x, { classes, batchNorm: true }, norm),
  'resnet-20': (classes) => (s, x, norm) => resNet(s, x, resNetConfig('resnet-20', classes), norm),
  'resnet-18-cifar': (classes) => (s, x, norm) =>
    resNet(s, x, resNetConfig('resnet-18', classes, 'cifar'), norm),
  'resnet-50-cifar': (classes) => (s, x, norm) =>
    resNet(s, x, resNetConfig('resnet-50', classes, 'cifar'), norm),
  'resnet-18': (classes) => (s, x, norm) => resNet(s, x, resNetConfig('resnet-18', classes), norm),
  'resnet-50': (classes) => (s, x, norm) => resNet(s, x, resNetConfig('resnet-50', classes), norm),
  'wide-resnet-40-2': (classes) => (s, x, norm) => wideResNet(s, x, { classes }, norm),
};

/** The network of that name for so many classes; otherwise an error that suggests one. */
export function imageClassifier(name: string, classes: number): ImageClassifier {
  const names = Object.keys(imageClassifiers);
  if (!Object.hasOwn(imageClassifiers, name)) {
    throw new Error(
      `There is no network "${name}"${didYouMean(name, names)}; networks are ${names.join(', ')}`,
    );
  }
  return imageClassifiers[name]!(classes);
}
