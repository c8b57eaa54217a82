import { concat, l2Normalize, type Tensor } from '../../src/graph/index.ts';
import {
  gateLoss,
  gateTarget,
  mixed,
  route,
  routerLogits,
  textLoss,
} from '../../src/methods/mocoop/losses.ts';
import { logitScale, parseClipConfig, placeTokens, textTower } from '../../src/models/clip/index.ts';
import { chain, clipByGlobalNorm, crossEntropy, normalInit, sgd } from '../../src/nn/index.ts';
import { training } from '../benchmark.ts';
import { integers, noise, sentenceIds } from '../data.ts';

const config = parseClipConfig({ vision_config: { patch_size: 16 } });
const [experts, classes, length, tokens] = [4, 10, 77, 4];
const sentences = experts * classes;
const slots = Array.from({ length: sentences }, () => Array.from({ length: tokens }, (_, j) => 1 + j));

export const mocoopStep = training({
  name: 'mocoop',
  about: `MoCoOp at CLIP ViT-B/16 size: ${experts} experts of ${tokens} soft tokens around ${classes} classes of ${length} tokens, 32 image features (the vision tower left alone), K = 2, all losses, SGD with momentum`,
  torch: { script: 'mocoop', settings: { experts, tokens } },
  frozen: true,
  batch: () => ({
    ids: sentenceIds(sentences, length),
    features: noise('features', [32, config.projection]),
    labels: integers('labels', [32], classes),
    prototypes: noise('prototypes', [experts, classes, config.projection]),
  }),
  build(s, { ids, features, labels, prototypes }) {
    const { width } = config.text;
    const each = Array.from({ length: experts }, (_, g) =>
      s
        .param(`experts.${g}`, [tokens, width], normalInit(0.02))
        .reshape([1, tokens, width])
        .expand([classes, tokens, width]),
    );
    const soft = concat(each, 0);
    const prompted = s.intercept({
      tap: { 'text_model.embeddings:tokens': (x: Tensor) => placeTokens(x, soft, slots) },
    });
    const { features: text } = textTower(prompted, ids!, config);
    const correction = s.param('correction', [config.projection], normalInit(0.02));
    const t = l2Normalize(text.add(correction)).reshape([experts, classes, -1]);
    const h = l2Normalize(prototypes!);
    const v = l2Normalize(features!);
    const q = routerLogits(s, v, experts);
    const logits = mixed(v, t, route(q, 2)).mul(logitScale(s, config));
    const loss = crossEntropy(logits, labels!)
      .add(textLoss(t, h, 1).mul(5))
      .add(gateLoss(q, gateTarget(v, h, labels!)));
    return { loss };
  },
  optimizer: chain(clipByGlobalNorm(1), sgd({ lr: 0.032, momentum: 0.9, weightDecay: 5e-4 })),
});
