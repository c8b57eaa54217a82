import { f32, norm } from '../../src/graph/index.ts';
import { drawsOf, dropConflicts, uniformOf } from '../../src/methods/r-amt/gradient-dropout.ts';
import { maskedWeights, SCORE, scoring } from '../../src/methods/r-amt/masks.ts';
import { distillation } from '../../src/methods/r-amt/method.ts';
import { cosineLogits, logitScale, parseClipConfig, visionTower } from '../../src/models/clip/index.ts';
import { adam, constantInit, crossEntropy, mapTree } from '../../src/nn/index.ts';
import { gradTree } from '../../src/train/index.ts';
import { training } from '../benchmark.ts';
import { FastRandom, integers, noise } from '../data.ts';

const config = parseClipConfig({ vision_config: { patch_size: 16 } });
const [images, classes] = [4, 20];
const { width, channels, patchSize } = config.vision;
const names = maskedWeights(config, { layers: 'attention', patches: true });
const shapeOf = (name: string) =>
  name.includes('patch_embedding') ? [width, channels, patchSize, patchSize] : [width, width];
/** Where the draws of each mask begin: by name, as PyTorch's side reads them. */
const starts = new Map<string, number>();
let draws = 0;
for (const name of [...names].sort()) {
  starts.set(`mask.${name}`, draws);
  draws += drawsOf(shapeOf(name));
}

export const ramtStep = training({
  name: 'r-amt',
  about: `R-AMT at CLIP ViT-B/16 size: masks on the attention of the vision tower (28.9 M scores), gradient dropout, ${images} images of 224×224, ${classes} classes, teacher features known, Adam`,
  torch: { script: 'r_amt' },
  // Where gradients are small, rounding decides which of them disagree.
  tolerance: 1e-2,
  frozen: true,
  batch: () => ({
    pixels: noise('pixels', [images, 3, 224, 224]),
    labels: integers('labels', [images], classes),
    text: noise('text', [classes, config.projection]),
    teacher: noise('teacher', [images, config.projection]),
    draws: f32(new FastRandom('draws').fill(draws, (r) => r.next())),
  }),
  build(s, { pixels, labels, text, teacher }) {
    const image = visionTower(s.intercept(scoring(names)), pixels!, config).features;
    const logitsOf = (features: typeof image) => cosineLogits(features, text!, logitScale(s, config));
    const logits = logitsOf(image);
    const norms = names
      .map((name) => norm(s.param(`mask.${name}`, shapeOf(name), constantInit(SCORE))))
      .reduce((a, b) => a.add(b));
    return {
      loss: crossEntropy(logits, labels!).add(norms.mul(1e-4)),
      distillation: distillation(logits, logitsOf(teacher!), 1),
    };
  },
  gradients(task, { params, batch, metrics }) {
    const other = gradTree(metrics.distillation!, params);
    return mapTree(task, (a, name) => {
      const start = starts.get(name)!;
      const own = batch.draws!.slice(0, start, start + drawsOf(a.shape));
      return dropConflicts(a, other[name]!, uniformOf(own, a.shape), 1);
    });
  },
  optimizer: adam({ lr: 8e-5 }),
});
