import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type ImageSet, loadImages, normalisationOf, openData } from '../../data/index.ts';
import { readJson, writeAtomic } from '../../hub/index.ts';
import { fullSampler, stepsOf, subsetSampler } from '../../train/index.ts';
import { Classifier, type ClassifierRun, classifierOptions } from '../classify/classifier.ts';
import { samplers } from '../classify/samplers.ts';
import { InterruptedError } from '../events.ts';
import type { Lab } from '../reproduction.ts';
import { codeVersion } from '../study/code-version.ts';
import { figureOf } from '../study/summary.ts';
import { selectors } from './list.ts';
import { Scoring, scoringOptions } from './scoring.ts';
import { selectImages, selectionOptions } from './select.ts';
import { type Clock, meanRounds, type Round, type TimedRound, timed, wallClock } from './time-to-accuracy.ts';

/** A data set and how networks are trained on it, one protocol for all methods. */
export interface Task {
  readonly name: string;
  readonly data: string;
  readonly size: number;
  readonly rounds: number;
  readonly batch: number;
  readonly scoringEpochs: number;
  /** Pre-trainings that GraNd and EL2N average over; the paper has ten. */
  readonly runs: number;
  /** Epochs of each training of active learning. */
  readonly activeEpochs: number;
  /** Images that active learning adds at a time. */
  readonly activeStep: number;
  /** How often at most the test accuracy is taken in the course of a training. */
  readonly measurements: number;
  /** Accuracies whose times are compared. */
  readonly targets: readonly number[];
}

export interface Trial {
  readonly method: string;
  readonly share: number;
  readonly seed: number;
  /** Seconds before the first round. */
  readonly selection: number;
  /** Images of a step, and its mean seconds; evaluation is left out. */
  readonly batch: number;
  readonly stepSeconds: number;
  readonly rounds: readonly Round[];
}

export const mnist: Task = {
  name: 'mnist',
  data: 'mnist',
  size: 0,
  rounds: 50,
  batch: 128,
  scoringEpochs: 10,
  runs: 3,
  activeEpochs: 50,
  activeStep: 1000,
  measurements: 20,
  targets: [0.8, 0.9, 0.95],
};
export const icons: Task = {
  ...mnist,
  name: 'weather icons',
  data: 'weather',
  size: 32,
  rounds: 60,
  batch: 16,
  targets: [0.1, 0.2, 0.3],
};
/** The digits of `digits`, 5,000 of them. */
export const digits: Task = {
  ...mnist,
  name: 'digits',
  data: 'digits',
  rounds: 20,
  batch: 16,
  activeEpochs: 20,
};

export const resampling = ['rs2', 'rs2-replacement', 'rs2-stratified'];
/** All that can be trained by. */
export const everyMethod = ['full', ...resampling, ...selectors.map((s) => s.name)];

export interface Plan {
  readonly methods: readonly string[];
  readonly shares: readonly number[];
  readonly seeds: readonly number[];
  /** Trials that need not be measured any more. */
  readonly known?: readonly Trial[];
  /** Told of every trial of the plan, as soon as it is known. */
  readonly found?: (trial: Trial) => Promise<void>;
}

/** `clock`: what selections and steps are timed with (default: the wall clock). */
type Place = Pick<Lab, 'dir' | 'signal' | 'say'> & { readonly clock?: Clock };

/** Trains by every method at every share; what the same code measured before is read from the place's folder. */
export async function trialsOf(lab: Place, task: Task, plan: Plan): Promise<Trial[]> {
  const { methods, shares, seeds } = plan;
  const trials: Trial[] = [];
  const add = async (trial: Trial) => {
    trials.push(trial);
    await plan.found?.(trial);
  };
  let images: { train: ImageSet; test: ImageSet } | undefined;
  for (const seed of seeds) {
    let bench: { classifier: Classifier; scoring: Scoring } | undefined;
    try {
      for (const share of shares) {
        for (const method of methods) {
          const about = JSON.stringify({ task, method, share, seed, code: codeVersion(import.meta.url) });
          const digest = createHash('sha256').update(about).digest('hex').slice(0, 16);
          const path = join(lab.dir, `${method}-${digest}.json`);
          const known =
            plan.known?.find((t) => t.method === method && t.share === share && t.seed === seed) ??
            ((await readJson(path)) as unknown as Trial | undefined);
          if (known) {
            await add(known);
            continue;
          }
          images ??= await imagesOf(task);
          bench ??= benchOf(task, images.train, seed, lab);
          const trial = await trialOf(task, images, bench, { method, share, seed }, lab);
          const { selection, rounds, stepSeconds } = trial;
          const { accuracy, steps } = rounds.at(-1)!;
          lab.say(
            `  ${task.name}, ${method}, ${100 * share} %, seed ${seed}: ${(100 * accuracy).toFixed(1)} % ` +
              `after ${selection.toFixed(1)} + ${(steps * stepSeconds).toFixed(1)} s`,
          );
          await writeAtomic(path, [JSON.stringify(trial)]);
          await add(trial);
        }
      }
    } finally {
      await bench?.classifier.release();
      await bench?.scoring.release();
    }
  }
  return trials;
}

async function imagesOf({ data, size }: Task) {
  const splits = await openData(data);
  const train = await loadImages(splits.train, size ? { size } : {});
  return { train, test: await loadImages(splits.test, { like: train }) };
}

const networkOf = ({ rounds, batch }: Task) => classifierOptions.parse({ rounds, batch });
const scoringOf = (task: Task) => {
  const { rounds: _, ...network } = networkOf(task);
  return scoringOptions.parse({
    ...network,
    scoringEpochs: task.scoringEpochs,
    runs: task.runs,
    activeEpochs: task.activeEpochs,
  });
};

function benchOf(task: Task, train: ImageSet, seed: number, { signal, clock = wallClock }: Place) {
  const classifier = new Classifier(
    networkOf(task),
    train.shape,
    train.classes.length,
    normalisationOf(train),
  );
  return {
    classifier,
    scoring: new Scoring(train, scoringOf(task), seed, { clock, ...(signal && { signal }) }),
  };
}

async function trialOf(
  task: Task,
  { train, test }: { train: ImageSet; test: ImageSet },
  { classifier, scoring }: { classifier: Classifier; scoring: Scoring },
  { method, share, seed }: Pick<Trial, 'method' | 'share' | 'seed'>,
  { signal, clock = wallClock }: Place,
): Promise<Trial> {
  let [sampler, selection]: [ClassifierRun['sampler'], number] = [fullSampler(train.labels.length, seed), 0];
  // All images with as many updates.
  const epochs = method === 'full' ? Math.max(1, Math.round(share * task.rounds)) : task.rounds;
  if (Object.hasOwn(samplers, method) && method !== 'full') {
    sampler = samplers[method]!.of(train.labels, share, seed);
  } else if (method !== 'full') {
    const { activeStep } = task;
    const options = selectionOptions.parse({ method, fraction: share, seed, activeStep, ...scoringOf(task) });
    const chosen = await selectImages(train, options, { scoring });
    sampler = subsetSampler(chosen.indices, train.labels.length, seed, chosen.weights);
    selection = chosen.seconds;
  }
  const rounds: Round[] = [];
  const events = classifier.train({
    images: train,
    sampler,
    seed,
    rounds: epochs,
    evaluation: {
      every: Math.ceil(epochs / task.measurements),
      run: async (params) => ({ accuracy: await classifier.accuracy(params, test) }),
    },
    ...(signal && { signal }),
  });
  let seconds = 0;
  for (;;) {
    const started = clock();
    const { done, value } = await events.next();
    if (done) {
      if (value.stopped === 'interrupted')
        throw new InterruptedError('interrupted; the same command goes on');
      const { batch } = stepsOf(sampler, task.batch, 1);
      return { method, share, seed, selection, batch, stepSeconds: seconds / value.step, rounds };
    }
    // Compilation comes before the first step, evaluation between steps.
    if (value.type === 'step') seconds += clock() - started;
    if (value.type === 'evaluation') rounds.push({ steps: value.step, accuracy: value.metrics.accuracy! });
  }
}

export interface Entry {
  readonly method: string;
  readonly share: number;
  readonly mean: number;
  readonly deviation: number;
  /** The mean curve on the clock that starts with the selection. */
  readonly curve: readonly TimedRound[];
  /** Seconds of the selection: the least of all seeds. */
  readonly selection: number;
}

/**
 * Each method at each share, over seeds. Clocks are the paper's for machines that others use too: the selection takes its
 * least time of all seeds, a step the least of all methods and seeds (mean over a training), since all take the same steps but for subsets below a batch.
 */
export function entriesOf(trials: readonly Trial[]): Entry[] {
  const batch = Math.max(...trials.map((t) => t.batch));
  const stepSeconds = Math.min(...trials.flatMap((t) => (t.batch === batch ? [t.stepSeconds] : [])));
  const keys = [...new Set(trials.map((t) => `${t.method} ${t.share}`))];
  return keys.map((key) => {
    const group = trials.filter((t) => `${t.method} ${t.share}` === key);
    const finals = group.map((t) => t.rounds.at(-1)!.accuracy);
    const { mean, std } = figureOf(finals);
    const selection = Math.min(...group.map((t) => t.selection));
    return {
      method: group[0]!.method,
      share: group[0]!.share,
      mean,
      deviation: std,
      curve: timed(meanRounds(group.map((t) => t.rounds)), selection, stepSeconds),
      selection,
    };
  });
}
