import { join } from 'node:path';
import { z } from 'zod';
import type { HostTensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { Random } from '../../runtime/index.ts';
import { type TrainEvent, TrainStep, train } from '../../train/index.ts';
import { FeatureCache } from '../study/feature-cache.ts';
import { ImageFeatures } from '../vlm/features.ts';
import { pixelsOf, rowsOf } from '../vlm/loop.ts';
import type { PromptMethod } from '../vlm/prompting.ts';
import { weightsDigest } from '../weights-digest.ts';
import { orders } from './adapt.ts';
import { hierarchy, type Topic } from './hierarchy.ts';
import { hostNames, hosts } from './hosts.ts';
import { writeMeta } from './meta-file.ts';
import { metaStep } from './meta-step.ts';
import { captionFeatures, openPairs, type Pairs, samplePairs } from './pairs.ts';
import { regulatorForms } from './regulator.ts';
import { drawTask, gaps, richTopics } from './tasks.ts';

export const metaOptions = z.strictObject({
  on: z.enum(hostNames).default('coop').describe('prompt method that is meta-learned'),
  length: z.int().min(0).max(64).default(0).describe('soft tokens (of a layer); 0: 4 of coop, 2 of others'),
  depth: z.int().positive().default(9).describe('first layers with soft tokens of their own'),
  pairs: z
    .string()
    .default('icons')
    .describe('image–caption pairs: icons, a .jsonl file, a folder with metadata.jsonl'),
  pairCount: z.int().positive().default(12000).describe('pairs that are drawn from them at most'),
  topics: z.int().positive().default(20).describe('clusters of captions (K_1)'),
  concepts: z.int().positive().default(10).describe('clusters of captions in a topic (K_2)'),
  domains: z.int().min(2).default(3).describe('clusters of images in a concept (K_3)'),
  ways: z.int().min(2).default(5).describe('concepts of a task (N)'),
  shots: z.int().positive().default(2).describe('support images of a concept (K)'),
  queries: z.int().positive().default(5).describe('query images of a concept (Q)'),
  gap: z.enum(gaps).default('different').describe('domains of support and query images'),
  regulator: z.enum(regulatorForms).default('conditioned').describe('form of the gradient regulator'),
  learnInit: z.boolean().default(true).describe('meta-learn the initial prompts too'),
  innerSteps: z.int().positive().default(1).describe('steps on the support images (n_in)'),
  innerRate: z.number().nonnegative().default(0.05).describe('their learning rate (α); 0: plain training'),
  order: z
    .enum(orders)
    .default('first')
    .describe('second: the inner gradients are differentiated too, which is exact'),
  tasks: z.int().positive().default(4).describe('tasks of a step (T)'),
  steps: z.int().positive().default(1000).describe('meta-training steps'),
  learningRate: z.number().positive().default(1e-3).describe('of Adam, for prompts and regulator (β)'),
  seed: z.int().nonnegative().default(1).describe('of clusters, tasks and initial values'),
});
export type MetaOptions = z.output<typeof metaOptions>;

/** In the folder of a meta-training, beside its checkpoint. */
const metaName = 'meta.safetensors';

const hostOf = ({ on, length, depth }: MetaOptions): PromptMethod =>
  hosts[on].prompting({ length: length || (on === 'coop' ? 4 : 2), depth });

export interface MetaTrainOptions {
  readonly model: ClipModel;
  readonly options: MetaOptions;
  /** Where `meta.safetensors`, checkpoint and metrics go. */
  readonly dir: string;
  readonly resume?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (text: string, done: number, total: number) => void;
}

/**
 * Meta-trains on image–text pairs without labels, and writes θ* and φ*. Returns the file and the names of its concepts;
 * undefined where it was interrupted.
 */
export async function* metaTrain({
  model,
  options: o,
  dir,
  resume = false,
  signal,
  onProgress,
}: MetaTrainOptions): AsyncGenerator<TrainEvent, { file: string; concepts: readonly string[] } | undefined> {
  const opened = await openPairs(o.pairs, (done, total) => onProgress?.('rendering icons', done, total));
  const pairs = samplePairs(opened, o.pairCount, o.seed);
  const digest = await weightsDigest(model);
  const features = new ImageFeatures(model, {
    onProgress: (done, total) => onProgress?.('image features', done, total),
    ...(signal && { signal }),
  });
  try {
    await new FeatureCache({ model, digest, features }).warm(pairs.images);
    const image = await features.of(pairs.images);
    const topics = await conceptsOf(model, pairs, image, o);
    const names = [...new Set(topics.flat().map((c) => c.name))];
    const meta = await metaStep(
      model,
      hostOf(o),
      names,
      (pixels) => (pixels ? pixelsOf(model, [pairs.images]) : rowsOf([image])),
      o,
    );
    const step = await TrainStep.compile(meta.step);
    try {
      const { params, stopped } = yield* train({
        step,
        seed: o.seed,
        totalSteps: o.steps,
        stepsPerEpoch: o.steps,
        batch: (at) =>
          meta.batch(
            Array.from({ length: o.tasks }, (_, t) =>
              drawTask(topics, o, new Random(o.seed, 'task', at.step, t)),
            ),
          ),
        dir,
        resume,
        fingerprint: JSON.stringify({ metaTrain: o, base: digest, names }),
        ...(signal && { signal }),
      });
      if (stopped === 'interrupted') return undefined;
      const file = join(dir, metaName);
      await writeMeta(file, model, {
        on: o.on,
        regulator: o.regulator,
        concepts: names,
        ...meta.split(params),
      });
      return { file, concepts: names };
    } finally {
      await step.release();
    }
  } finally {
    await features.release();
  }
}

/** Stage 0: the topics from which tasks are drawn. */
export async function conceptsOf(
  model: ClipModel,
  pairs: Pairs,
  image: HostTensor<'float32'>,
  o: MetaOptions,
): Promise<readonly Topic[]> {
  const text = await captionFeatures(model, pairs.captions);
  const rows = { data: image.data, width: image.shape[1]! };
  const topics = hierarchy(pairs.captions, { text, image: rows }, { ...o, smallest: o.shots + o.queries });
  return richTopics(topics, o);
}
