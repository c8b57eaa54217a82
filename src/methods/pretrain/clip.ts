import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  byClass,
  type Dataset,
  type Example,
  icons,
  imageProcessor,
  subsetClasses,
} from '../../data/index.ts';
import {
  equal,
  type HostTensor,
  i64,
  logSoftmax,
  minimum,
  mul,
  type Tensor,
  toFloat16,
} from '../../graph/index.ts';
import {
  clipTokenizer,
  type Tokenizer,
  trainBpe,
  writeAtomic,
  writeClipTokenizer,
  writeSafetensors,
} from '../../hub/index.ts';
import {
  type ClipConfig,
  cosineLogits,
  logitScale,
  parseClipConfig,
  textTower,
  visionTower,
  writeClipConfig,
} from '../../models/clip/index.ts';
import { adamw, chain, clipByGlobalNorm, cosine, type Initializer, type Param } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { batchOf, type TrainEvent, TrainStep, train, type Values } from '../../train/index.ts';
import { augmentDrawing } from './augment.ts';
import { caption, captionTemplates, drawTemplate, styleWords } from './captions.ts';

/** What `recipe.json` of a zoo model may set. */
export const clipRecipe = z.strictObject({
  seed: z.int().default(1),
  minDrawings: z.int().positive().describe('names with fewer drawings are left out'),
  first: z
    .strictObject({ steps: z.int().nonnegative(), minDrawings: z.int().positive() })
    .describe(
      'begin with the most frequent names only: with thousands of names, training stays at chance for long',
    ),
  steps: z.int().positive().describe('training steps'),
  batch: z.int().positive().describe('images a step'),
  extraCaptions: z.int().nonnegative().describe('further captions a step, as negatives for the images'),
  learningRate: z.number().positive(),
  warmupSteps: z.int().nonnegative(),
  weightDecay: z
    .number()
    .nonnegative()
    .describe('AdamW decay of matrices; biases, norms and embeddings have none'),
  vocabulary: z.int().positive().describe('tokens of the vocabulary, trained on the captions'),
  captionLength: z.int().positive().describe('tokens of a caption, the rest is cut'),
  context: z.int().positive().describe('positions of the text tower'),
  projection: z.int().positive(),
  text: z.strictObject({ width: z.int(), layers: z.int(), heads: z.int() }),
  vision: z.strictObject({
    width: z.int(),
    layers: z.int(),
    heads: z.int(),
    imageSize: z.int(),
    patchSize: z.int(),
  }),
  activation: z.string(),
});
export type ClipRecipe = z.output<typeof clipRecipe>;

export interface PretrainOptions {
  readonly recipe: ClipRecipe;
  /** Where the model goes, in the layout of Hugging Face repositories, and the checkpoint beside it. */
  readonly dir: string;
  readonly resume?: boolean;
  readonly signal?: AbortSignal;
  readonly onRender?: (done: number, total: number) => void;
}

const imageSettings = (size: number) => ({
  image_processor_type: 'CLIPImageProcessor',
  do_resize: true,
  size: { shortest_edge: size },
  resample: 3,
  do_center_crop: true,
  crop_size: { height: size, width: size },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  // Drawings are mostly white: near their own mean, what is drawn stands out.
  image_mean: [0.85, 0.85, 0.85],
  image_std: [0.3, 0.3, 0.3],
  do_convert_rgb: true,
});

/**
 * Trains a CLIP from nothing on pairs of drawings and captions (Radford et al. 2021), and writes it as float16.
 * Captions of one name are all right answers for its drawings: the target of a row is spread over them.
 */
export async function* pretrainClip(options: PretrainOptions): AsyncGenerator<TrainEvent, void> {
  const { recipe: r, dir } = options;
  const all = await icons({ split: 'pretrain', ...(options.onRender && { onProgress: options.onRender }) });
  const frequent = byClass(all).flatMap((drawings, label) =>
    drawings.length >= r.minDrawings ? [label] : [],
  );
  const data = subsetClasses(all, frequent);
  const texts = data.classes.flatMap((name) => captionTemplates.map((t) => t.replace('{}', name)));
  const vocabulary = trainBpe(texts, { vocabSize: r.vocabulary });
  const tokenizer = clipTokenizer(vocabulary);
  const config = configOf(r, tokenizer);

  const step = await TrainStep.compile({
    source: 'scratch',
    batch: {
      pixels: batchOf([r.batch, 3, r.vision.imageSize, r.vision.imageSize]),
      ids: batchOf([r.batch + r.extraCaptions, r.captionLength], 'int64'),
      labels: batchOf([r.batch + r.extraCaptions], 'int64'),
    },
    build: (s, { pixels, ids, labels }) => {
      const image = visionTower(s, pixels!, config).features;
      const text = textTower(s, ids!, config).features;
      const scale = minimum(logitScale(s, config), 100);
      const logits = cosineLogits(image, text, scale);
      const loss = multiPositiveLoss(logits, labels!, r.batch);
      return { loss, scale };
    },
    init: initializer(config),
    optimizer: chain(
      clipByGlobalNorm(1),
      adamw({
        lr: cosine(r.learningRate, { warmupSteps: r.warmupSteps }),
        beta2: 0.98,
        eps: 1e-6,
        weightDecay: r.weightDecay,
        decayMask: (name) => /(proj|fc\d|projection|patch_embedding)\.weight$/.test(name),
      }),
    ),
  });

  const makeBatch = batches(data, r, tokenizer);
  const events = train({
    step,
    seed: r.seed,
    totalSteps: r.steps,
    stepsPerEpoch: Math.floor(data.examples.length / r.batch),
    batch: (t) => makeBatch(t.step),
    dir,
    checkpointEvery: 100,
    resume: options.resume ?? false,
    fingerprint: JSON.stringify({ pretrain: 'clip', recipe: r }),
    ...(options.signal && { signal: options.signal }),
  });
  const result = yield* events;
  await step.release();
  if (result.stopped === 'interrupted') return;
  await writeModel(dir, config, tokenizer, result.params);
  await writeClipTokenizer(dir, vocabulary, { maxLength: r.context });
  await writeAtomic(join(dir, 'preprocessor_config.json'), [json(imageSettings(r.vision.imageSize))]);
  await writeAtomic(join(dir, 'recipe.json'), [json(r)]);
}

/**
 * Initial values by which a small tower, short of data, leaves the plateau at chance early. Those of `transformers`
 * make all images nearly one vector (mean cosine 0.97); wider branches of the residual stream tell them apart
 * (0.5), and positions of sines and cosines of row and column (Beyer et al. 2022, arXiv 2205.01580) show shapes.
 */
function initializer({ vision }: ClipConfig): (param: Param) => Initializer {
  return ({ name, init }) => {
    if (name === 'vision_model.embeddings.position_embedding.weight') return () => sinCosPositions(vision);
    if (!/(v_proj|out_proj|fc2)\.weight$/.test(name)) return init;
    return async (shape, random) => (await init(shape, random)).map((v) => 3 * v);
  };
}

function sinCosPositions({ imageSize, patchSize, width }: ClipConfig['vision']): Float32Array {
  const grid = Math.floor(imageSize / patchSize);
  const quarter = width / 4;
  const out = new Float32Array((grid * grid + 1) * width);
  for (let cell = 0; cell < grid * grid; cell++) {
    for (let i = 0; i < quarter; i++) {
      const frequency = 100 ** (-i / (quarter - 1));
      const angles = [(cell % grid) * frequency, Math.floor(cell / grid) * frequency];
      const values = angles.flatMap((a) => [Math.sin(a), Math.cos(a)]);
      values.forEach((v, part) => {
        out[(cell + 1) * width + part * quarter + i] = v / 2;
      });
    }
  }
  return out;
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

function configOf(r: ClipRecipe, tokenizer: Tokenizer): ClipConfig {
  const tower = ({ width, layers, heads }: ClipRecipe['text']) => ({
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: 4 * width,
    hidden_act: r.activation,
  });
  return parseClipConfig({
    projection_dim: r.projection,
    text_config: {
      ...tower(r.text),
      vocab_size: tokenizer.vocabSize,
      max_position_embeddings: r.context,
      eos_token_id: tokenizer.eosId,
    },
    vision_config: { ...tower(r.vision), image_size: r.vision.imageSize, patch_size: r.vision.patchSize },
  });
}

/** Symmetric cross-entropy where all captions (and images) of the row's name share the target. logits [B, B + extra]. */
function multiPositiveLoss(logits: Tensor, labels: Tensor, images: number): Tensor {
  const count = labels.size;
  const own = labels.slice(0, 0, images);
  const same = equal(own.reshape([images, 1]), labels.reshape([1, count])).cast('float32');
  const towards = (scores: Tensor, hits: Tensor) =>
    mul(hits.div(hits.sum(-1, true)), logSoftmax(scores))
      .sum(-1)
      .mean()
      .neg();
  const square = (t: Tensor) => t.slice(1, 0, images).transpose();
  return towards(logits, same)
    .add(towards(square(logits), square(same)))
    .mul(0.5);
}

/** Batches as a pure function of the step: the most frequent names first, then all; every epoch in a new order. */
function batches(data: Dataset, r: ClipRecipe, tokenizer: Tokenizer): (step: number) => Promise<Values> {
  const processor = imageProcessor(imageSettings(r.vision.imageSize));
  const frequent = byClass(data).flatMap((d) => (d.length >= r.first.minDrawings ? d : []));
  let order: { key: string; examples: Example[] } | undefined;
  return async (step) => {
    const early = step < r.first.steps;
    const pool = early ? frequent : data.examples;
    const perEpoch = Math.floor(pool.length / r.batch);
    const local = early ? step : step - r.first.steps;
    const key = `${early ? 'first' : 'all'} ${Math.floor(local / perEpoch)}`;
    if (order?.key !== key) order = { key, examples: new Random(r.seed, 'order', key).shuffle(pool) };
    const from = (local % perEpoch) * r.batch;
    const examples = order.examples.slice(from, from + r.batch);
    const images = await Promise.all(
      examples.map(async (e, i) => augmentDrawing(await e.image(), new Random(r.seed, 'augment', step, i))),
    );
    const random = new Random(r.seed, 'captions', step);
    const others = Array.from({ length: r.extraCaptions }, () => pool[random.int(pool.length)]!);
    const captioned = [...examples, ...others];
    const template = drawTemplate(random);
    const texts = captioned.map((e) => caption(template, data.classes[e.label]!, styleWords[e.domain!]));
    return {
      pixels: processor.batch(images),
      ids: tokenizer.encodeBatch(texts, { maxLength: r.captionLength, padTo: r.captionLength }).ids,
      labels: i64(captioned.map((e) => e.label)),
    };
  };
}

async function writeModel(
  dir: string,
  config: ClipConfig,
  tokenizer: Tokenizer,
  params: Values,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  const half = Object.fromEntries(
    Object.entries(params).map(([name, t]) => [name, toFloat16(t as HostTensor<'float32'>)]),
  );
  await writeSafetensors(join(dir, 'model.safetensors'), half, { format: 'pt' });
  const tokens = { bos: tokenizer.bosId!, eos: tokenizer.eosId!, pad: tokenizer.padId! };
  await writeAtomic(join(dir, 'config.json'), [json(writeClipConfig(config, tokens))]);
}
