import { adaptationLoss } from '../../src/methods/open-set-tta/entropy.ts';
import { trainable } from '../../src/methods/open-set-tta/model.ts';
import { adaptationOptions } from '../../src/methods/open-set-tta/options.ts';
import { imageClassifier } from '../../src/models/classifiers/index.ts';
import { adam } from '../../src/nn/index.ts';
import { training } from '../benchmark.ts';
import { noise } from '../data.ts';

const classifier = imageClassifier('wide-resnet-40-2', 10);
const model = {
  network: (...[s, x, norm]: Parameters<typeof classifier>) => classifier(s, x, norm).logits,
  shape: [3, 32, 32],
} as const;
const params = trainable(model, 'norm');
const options = adaptationOptions.parse({ method: 'tent', filter: true });
const images = 64;

export const ttaStep = training({
  name: 'tta',
  about: `open-set test-time adaptation: TENT with filter and diversity term on WideResNet-40-2, ${images} images of 32×32, Adam on scale and shift of batch norm`,
  torch: { script: 'tta' },
  // ReLUs, as in ../images.ts.
  tolerance: 1e-2,
  frozen: true,
  batch: () => ({ images: noise('images', [images, 3, 32, 32]) }),
  build: (s, batch) => adaptationLoss(s, batch.images!, model, params, options),
  optimizer: adam({ lr: options.learningRate }),
});
