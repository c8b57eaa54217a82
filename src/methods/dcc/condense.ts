import { type DsaOp, drawDsa } from '../../data/index.ts';
import { f32, type HostTensor, sizeOf } from '../../graph/index.ts';
import type { ImageClassifier } from '../../models/classifiers/index.ts';
import { Random } from '../../runtime/index.ts';
import { RunFolder } from '../../train/folder.ts';
import { DivergedError, type TrainEvent, type TrainState, type Values } from '../../train/index.ts';
import { imagesOf, type LabelledImages, labelsByClass } from './images.ts';
import { Matching, type RealBatch } from './matching.ts';
import { Network, networkSeed } from './network.ts';
import { type CondensationOptions, imageLearningRateOf, loopsOf } from './options.ts';

export interface Condensation {
  readonly images: LabelledImages;
  readonly network: ImageClassifier;
  readonly options: CondensationOptions;
  /** Ops of siamese augmentation; none without it. */
  readonly dsa?: readonly DsaOp[] | undefined;
  /** Where `checkpoint.safetensors` and `metrics.jsonl` go. */
  readonly dir?: string;
  readonly resume?: boolean;
  readonly fingerprint?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Real images of each class whose statistics batch norm takes before a step. */
const forStatistics = 16;
/** Milliseconds between checkpoints. */
const often = 20_000;

/**
 * Condenses images: the synthetic ones, [C·n, channels, height, width] class by class, on which training has the gradients
 * that it has on the real ones. Each outer step is a pure function of the images and the optimizer before it, the seed
 * and its number; a checkpoint holds these, so that a run that is stopped and resumed ends with the same bits.
 * @returns undefined where `signal` stopped it.
 * @throws where a class has too few images to begin with.
 */
export async function* condense(
  run: Condensation,
): AsyncGenerator<TrainEvent, HostTensor<'float32'> | undefined> {
  const { images, options: o, dir, signal, dsa } = run;
  const { innerSteps, networkEpochs } = loopsOf(o);
  const classes = images.classes.length;
  const groups = images.classes.map((_, c) => indicesOf(images.labels, c));
  const first = initialImages(images, groups, o);
  const largest = Math.max(...groups.map((g) => g.length));
  const network = new Network(run.network, images.shape, {
    learningRate: o.networkLearningRate,
    ...(dsa && { dsa }),
  });
  const matching = new Matching(network, {
    classes,
    imagesPerClass: o.imagesPerClass,
    realBatch: Math.min(o.realBatch, largest),
    distance: o.distance,
    learningRate: imageLearningRateOf(o),
    momentum: o.imageMomentum,
    dsa: dsa !== undefined,
  });
  const labels = labelsByClass(classes, o.imagesPerClass);
  const totalSteps = o.outerSteps * innerSteps;
  const store = dir === undefined ? undefined : await RunFolder.open(dir, run.fingerprint ?? '');
  const saved = run.resume ? await store?.load() : undefined;
  let state = saved?.state ?? matching.start(first);
  const from = saved?.step ?? 0;
  const log = (await store?.keepMetrics(from)) ?? [];
  let savedAt = performance.now();
  const checkpoint = async (step: number, at: TrainState): Promise<TrainEvent> => {
    await store!.writeMetrics(log);
    await store!.save({ state: at, step, best: undefined });
    savedAt = performance.now();
    return { type: 'checkpoint', step: step * innerSteps, path: store!.checkpointPath };
  };
  yield { type: 'start', step: from * innerSteps, totalSteps, parameters: first.data.length };
  const started = performance.now();
  try {
    for (let outer = from; outer < o.outerSteps; outer++) {
      const before = state;
      let learner = network.untrained(await network.fresh(networkSeed(o.seed, outer)));
      let sum = 0;
      for (let inner = 0; inner < innerSteps; inner++) {
        if (signal?.aborted) {
          if (store && outer > from) yield await checkpoint(outer, before);
          return undefined;
        }
        const draw = (what: string, c: number) => new Random(o.seed, what, outer, inner, c);
        const batches = groups.map((group, c): RealBatch => {
          const picked = draw('real', c).permutation(group.length).subarray(0, o.realBatch);
          return {
            images: images.tensor(picked.map((i) => group[i]!)),
            ...(dsa && { changes: drawDsa(draw('change', c), network.size, { ops: dsa }) }),
          };
        });
        let values = learner.params;
        if (network.buffers.length > 0) {
          const seen = groups.flatMap((group, c) =>
            Array.from(
              draw('statistics', c).permutation(group.length).subarray(0, forStatistics),
              (i) => group[i]!,
            ),
          );
          values = await network.statistics(values, images.tensor(seen));
        }
        const wanted: Values[] = [];
        for (const [c, batch] of batches.entries())
          wanted.push(await matching.realGradients(values, c, batch));
        const contrastive = o.method === 'dcc' && (outer >= o.warmUpOuter || inner >= o.warmUpInner);
        const changes = batches.map((b) => b.changes);
        const next = await matching[contrastive ? 'contrastive' : 'classwise'](
          state,
          values,
          wanted,
          changes,
        );
        state = next.state;
        sum += next.loss;
        const step = outer * innerSteps + inner + 1;
        requireFinite(next.loss, state, step);
        const pace = (performance.now() - started) / 1000 / (step - from * innerSteps);
        yield {
          type: 'step',
          step,
          epoch: outer,
          totalSteps,
          metrics: { loss: next.loss },
          observed: {},
          secondsLeft: pace * (totalSteps - step),
        };
        if (inner === innerSteps - 1) break;
        const own = imagesOf(state.params.images as HostTensor<'float32'>, labels, images.classes);
        learner = { ...learner, params: values };
        for (let epoch = 0; epoch < networkEpochs; epoch++) {
          if (signal?.aborted) break;
          learner = await network.epoch(
            learner,
            own,
            new Random(o.seed, 'order', outer, inner, epoch),
            epoch,
          );
        }
      }
      log.push(JSON.stringify({ step: outer + 1, loss: sum / innerSteps }));
      const last = outer === o.outerSteps - 1;
      if (store && (last || performance.now() - savedAt > often)) yield await checkpoint(outer + 1, state);
    }
  } finally {
    await matching.release();
    await network.release();
  }
  return state.params.images as HostTensor<'float32'>;
}

const indicesOf = (labels: ArrayLike<number>, label: number): number[] =>
  Array.from({ length: labels.length }, (_, i) => i).filter((i) => labels[i] === label);

function initialImages(
  images: LabelledImages,
  groups: readonly (readonly number[])[],
  { init, imagesPerClass, seed }: CondensationOptions,
): HostTensor<'float32'> {
  const shape = [groups.length * imagesPerClass, ...images.shape];
  groups.forEach((group, c) => {
    const least = init === 'real' ? imagesPerClass : 1;
    if (group.length < least)
      throw new Error(
        `class "${images.classes[c]}" has ${group.length} images, fewer than the ${least} that are needed` +
          (init === 'real' && group.length > 0 ? ': begin with --init noise' : ''),
      );
  });
  if (init === 'noise')
    return f32(
      new Random(seed, 'noise').fill(sizeOf(shape), (r) => r.normal()),
      shape,
    );
  return images.tensor(randomImages(groups, imagesPerClass, new Random(seed, 'initial')));
}

/** Indices of so many random images of each class, class by class. */
export const randomImages = (
  groups: readonly (readonly number[])[],
  perClass: number,
  random: Random,
): number[] => groups.flatMap((group) => random.shuffle(group).slice(0, perClass));

function requireFinite(loss: number, { params }: TrainState, step: number): void {
  const data = params.images!.data as Float32Array;
  if (Number.isFinite(loss) && data.every(Number.isFinite)) return;
  throw new DivergedError(
    `Step ${step}: ${Number.isFinite(loss) ? 'the images are not finite' : `the loss is ${loss}`}: lower --image-learning-rate`,
  );
}
