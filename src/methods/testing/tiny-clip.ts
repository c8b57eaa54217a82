/** A random CLIP in memory, and pictures for it: the smallest task on which methods can be held to their cards. */
import { type Dataset, imageProcessor } from '../../data/index.ts';
import { input, memoryWeights, type WeightSource } from '../../graph/index.ts';
import { type ClipModel, clipTokenizer, trainBpe } from '../../hub/index.ts';
import {
  type ClipConfig,
  logitScale,
  parseClipConfig,
  textTower,
  visionTower,
} from '../../models/clip/index.ts';
import { type Param, trace } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { initParams } from '../../train/index.ts';
import { ImageFeatures } from '../vlm/features.ts';
import type { TuneTask } from '../vlm/task.ts';

export const classNames = ['cat', 'light bulb', 'oak_tree', 'St.', 'a'];

/**
 * Text and vision widths differ, and both differ from the joint width, so that none is taken for another. `layers` are
 * those of the text tower and of the vision tower.
 */
export async function tinyClip({ context = 32, seed = 1, layers = [2, 1] } = {}): Promise<ClipModel> {
  const text = ['a photo of a cat.', 'a photo of an oak tree, light bulb', 'X X'];
  const tokenizer = clipTokenizer(trainBpe([...text, ...text], { vocabSize: 560 }));
  const config = parseClipConfig({
    projection_dim: 10,
    text_config: {
      hidden_size: 12,
      num_hidden_layers: layers[0],
      num_attention_heads: 2,
      intermediate_size: 24,
      vocab_size: tokenizer.vocabSize,
      max_position_embeddings: context,
      eos_token_id: tokenizer.eosId,
    },
    vision_config: {
      hidden_size: 16,
      num_hidden_layers: layers[1],
      num_attention_heads: 2,
      intermediate_size: 32,
      image_size: 16,
      patch_size: 8,
    },
  });
  // Wider than CLIP's own initial values: features then differ from text to text.
  const wide = paramsOf(config).map((p) => ({
    ...p,
    init: async (shape: readonly number[], random: Random) => {
      const values = await p.init(shape, random);
      return shape.length > 1 ? values.map((v) => 4 * v) : values;
    },
  }));
  return {
    spec: 'tiny',
    folder: '',
    config,
    weights: memoryWeights(await initParams(wide, seed), 'tiny CLIP'),
    tokenizer,
    images: imageProcessor({ size: { shortest_edge: 16 }, crop_size: 16 }),
  };
}

/** The configuration of CLIP ViT-B/16, and weights for it that have shapes, but no values. */
export const vitB16 = parseClipConfig({ vision_config: { patch_size: 16 } });
export function shapesOf(config: ClipConfig): WeightSource {
  const shapes = new Map(paramsOf(config).map((p) => [p.name, p.shape]));
  const load = () => Promise.reject(new Error('no values'));
  return {
    label: 'shapes',
    names: () => [...shapes.keys()],
    get: (name) => ({ name, dtype: 'float32', shape: shapes.get(name)!, load }),
  };
}

const paramsOf = (config: ClipConfig): readonly Param[] =>
  trace('scratch', (s) => {
    const { channels, imageSize } = config.vision;
    logitScale(s, config);
    textTower(s, input('ids', [1, 2], 'int64'), config);
    visionTower(s, input('pixels', [1, channels, imageSize, imageSize]), config);
  }).params;

/** `count` noisy pictures of each class, each class around a colour of its own. */
export function pictures(count: number, classes: readonly string[] = classNames, name = 'pictures'): Dataset {
  const examples = classes.flatMap((c, label) =>
    Array.from({ length: count }, (_, i) => ({
      id: `${c}/${i}`,
      label,
      image: async () => {
        const colour = new Random('colour', c);
        const random = new Random(name, c, i);
        const base = [0, 1, 2].map(() => colour.int(200));
        const data = Uint8Array.from({ length: 16 * 16 * 3 }, (_, at) => base[at % 3]! + random.int(56));
        return { data, width: 16, height: 16 };
      },
    })),
  );
  return { name, classes, examples };
}

/** A task on those pictures; `features` are the model's. */
export const tinyTask = (model: ClipModel, settings: Partial<TuneTask> = {}): TuneTask => ({
  model,
  train: pictures(4),
  val: pictures(2, classNames, 'val'),
  template: 'a photo of a {}.',
  seed: 1,
  fingerprint: 'tiny',
  features: new ImageFeatures(model),
  ...settings,
});

/** The result of a generator whose events nobody looks at. */
export async function resultOf<R>(events: AsyncGenerator<unknown, R>): Promise<R> {
  for (;;) {
    const { done, value } = await events.next();
    if (done) return value as R;
  }
}
