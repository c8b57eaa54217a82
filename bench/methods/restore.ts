import { constant, f32 } from '../../src/graph/index.ts';
import type { ClipModel } from '../../src/hub/index.ts';
import { mapleTokens } from '../../src/methods/baselines/maple.ts';
import { consistencyLoss, gramNorms, surgery } from '../../src/methods/restore/method.ts';
import {
  cosineLogits,
  deepText,
  deepVision,
  logitScale,
  parseClipConfig,
  textTower,
  visionTower,
} from '../../src/models/clip/index.ts';
import { crossEntropy, sgd } from '../../src/nn/index.ts';
import { training } from '../benchmark.ts';
import { integers, noise, sentenceIds } from '../data.ts';

const config = parseClipConfig({ vision_config: { patch_size: 16 } });
const [classes, length, tokens, depth, images] = [20, 77, 2, 9, 4];
const slots = Array.from({ length: classes }, () => Array.from({ length: tokens }, (_, j) => 1 + j));

export const restoreStep = training({
  name: 'restore',
  about: `RESTORE at CLIP ViT-B/16 size: ${tokens} soft tokens in ${depth} layers of both towers, surgery blocks, consistency loss; ${images} images of 224×224, ${classes} classes of ${length} tokens, SGD with momentum`,
  torch: { script: 'restore', settings: { tokens, depth } },
  frozen: true,
  batch: () => ({
    ids: sentenceIds(classes, length),
    pixels: noise('pixels', [images, 3, 224, 224]),
    labels: integers('labels', [images], classes),
    firstText: f32(Array.from({ length: depth - 1 }, (_, l) => 0.3 + 0.02 * l)),
    firstVision: f32(Array.from({ length: depth - 1 }, (_, l) => 3 + 0.1 * l)),
  }),
  build(s, { ids, pixels, labels, firstText, firstVision }) {
    const model = { config } as ClipModel;
    const soft = mapleTokens(s, model, { contextLength: tokens, depth, contextInit: '' });
    const text = textTower(deepText(s, soft.text, slots), ids!, config).features;
    const image = visionTower(deepVision(s, soft.vision), pixels!, config).features;
    const ratio = constant(0.1);
    const block = (tower: string) => s.trained().at('surgery').at(tower);
    const logits = cosineLogits(
      surgery(block('vision'), image, ratio, 4),
      surgery(block('text'), text, ratio, 4),
      logitScale(s, config),
    );
    const now = { text: gramNorms(soft.text.slice(1)), vision: gramNorms(soft.vision.slice(1)) };
    const consistency = consistencyLoss(now, { text: firstText!, vision: firstVision! });
    return { loss: crossEntropy(logits, labels!).add(consistency) };
  },
  optimizer: sgd({ lr: 1e-4, momentum: 0.9, weightDecay: 5e-4 }),
});
