import { Random } from '../../runtime/index.ts';
import { randomSubset, subsetSize } from '../../train/index.ts';
import { type Rows, row } from '../gram/k-means.ts';
import { gradientNorms, lastLayer, norms, softmaxRows } from './last-layer.ts';
import { everyone, lowest, type ScoreRun, type SelectionTask, type Selector } from './selector.ts';

type Score = (i: number) => number;

/** Keeps the images of lowest score, of all classes together. */
async function keepLowest(task: SelectionTask, score: Score) {
  const { length } = task.labels;
  return { indices: lowest(everyone(length), score, subsetSize(length, task.share)) };
}

/** Scores by which uncertainty, and active learning, tell images apart; low is uncertain. */
export const uncertainties = {
  'least-confidence': (logits: Rows): Score => {
    const p = softmaxRows(logits);
    return (i) => Math.max(...row(p, i));
  },
  entropy: (logits: Rows): Score => {
    const p = softmaxRows(logits);
    return (i) => row(p, i).reduce((sum, v) => sum + v * Math.log(v + 1e-6), 0);
  },
  margin: (logits: Rows): Score => {
    const p = softmaxRows(logits);
    return (i) => {
      const [first, second] = row(p, i).toSorted().slice(-2).reverse();
      return first! - second!;
    };
  },
} as const;

const uncertain = (
  name: keyof typeof uncertainties,
  summary: string,
  released: Selector['released'] = [],
): Selector => ({
  name,
  summary,
  paper: 'Coleman et al., ICLR 2020',
  released,
  async select(task) {
    const { logits } = (await task.scores.run()).outputs;
    if (task.released.has('raw-logits') && name === 'least-confidence')
      return keepLowest(task, (i) => Math.max(...row(logits, i)));
    return keepLowest(task, uncertainties[name](logits));
  },
});

/** The mean over pre-trainings of a score. */
async function averaged({ scores }: SelectionTask, scoresOf: (run: ScoreRun) => Float64Array) {
  let sum: Float64Array | undefined;
  for (let n = 0; n < scores.runs; n++) {
    const next = scoresOf(await scores.run(n));
    sum = sum ? sum.map((s, i) => s + next[i]!) : next;
  }
  return sum!.map((s) => s / scores.runs);
}

const releasedBatch = 128;

export const el2n: Selector = {
  name: 'el2n',
  summary: 'largest ‖p − e_y‖, mean of several pre-trainings',
  paper: 'Paul et al., NeurIPS 2021',
  async select(task) {
    const score = await averaged(task, (run) => norms(lastLayer(run.outputs, task.labels).delta));
    return keepLowest(task, (i) => -score[i]!);
  },
};

export const grand: Selector = {
  name: 'grand',
  summary: 'largest gradient of the last layer, mean of several pre-trainings',
  paper: 'Paul et al., NeurIPS 2021',
  released: ['double-softmax', 'last-batch'],
  async select(task) {
    const { released, labels } = task;
    const score = await averaged(task, (run) =>
      gradientNorms(lastLayer(run.outputs, labels, released.has('double-softmax'))),
    );
    const tail = labels.length % releasedBatch;
    const factor = (i: number) =>
      released.has('last-batch') && i >= labels.length - tail ? releasedBatch / tail : 1;
    return keepLowest(task, (i) => -score[i]! * factor(i));
  },
};

export const forgetting: Selector = {
  name: 'forgetting',
  summary: 'most often learned and forgotten again during training; first of all what was never learned',
  paper: 'Toneva et al., ICLR 2019',
  released: ['ties-last', 'never-learned-zero'],
  async select(task) {
    const { forgotten, learned } = await task.scores.run();
    const events = (i: number) =>
      learned[i] || task.released.has('never-learned-zero') ? forgotten[i]! : Number.MAX_VALUE;
    const { length } = task.labels;
    const order = task.released.has('ties-last') ? everyone(length).reverse() : everyone(length);
    return { indices: lowest(order, (i) => -events(i), subsetSize(length, task.share)) };
  },
};

export const aum: Selector = {
  name: 'aum',
  summary:
    'smallest area under the margin: the mean over training of the logit of the label minus the largest other',
  paper: 'Pleiss et al., NeurIPS 2020',
  async select(task) {
    const { margins } = await task.scores.run();
    return keepLowest(task, (i) => margins[i]!);
  },
};

export const deepfool: Selector = {
  name: 'deepfool',
  summary: 'smallest change of the image that changes the prediction',
  paper: 'Ducoffe & Precioso 2018',
  async select(task) {
    const squares = await task.scores.perturbations();
    return keepLowest(task, (i) => squares[i]!);
  },
};

/** Bins of equal width over the range of scores. */
const strata = 50;

export const ccs: Selector = {
  name: 'ccs',
  summary: 'without the hardest, evenly over bins of the area under the margin',
  paper: 'Zheng et al., ICLR 2023',
  async select({ labels, share, scores, settings, seed }) {
    const { margins } = await scores.run();
    const { length } = labels;
    const budget = subsetSize(length, share);
    // Never more than leaves the budget.
    const dropped = Math.min(Math.round(settings.hardCutoff * length), length - budget);
    const kept = lowest(everyone(length), (i) => margins[i]!, length).slice(dropped);
    const [low, high] = [margins[kept[0]!]!, margins[kept.at(-1)!]!];
    const bins: number[][] = Array.from({ length: strata }, () => []);
    for (const i of kept) {
      const bin = high > low ? Math.floor((strata * (margins[i]! - low)) / (high - low)) : 0;
      bins[Math.min(strata - 1, bin)]!.push(i);
    }
    const filled = bins.filter((b) => b.length > 0).sort((a, b) => a.length - b.length);
    const random = new Random(seed, 'strata');
    const indices: number[] = [];
    filled.forEach((bin, at) => {
      const fair = Math.floor((budget - indices.length) / (filled.length - at));
      indices.push(...random.shuffle(bin).slice(0, fair));
    });
    return { indices };
  },
};

/** Trains on what is there and adds what the network is least certain of, from 1,000 random images on. */
const active = (name: keyof typeof uncertainties): Selector => ({
  name: `active-${name}`,
  summary: `active learning by ${name.replace('-', ' ')}: train, add the least certain, train anew`,
  paper: 'Park et al. 2022, as RS2 runs it',
  async select({ labels, share, scores, settings, seed }) {
    const { length } = labels;
    const budget = subsetSize(length, share);
    const chosen = [...randomSubset(length, Math.min(settings.activeStep, budget), seed)];
    while (chosen.length < budget) {
      const { logits } = await scores.trainedOn(chosen);
      const there = new Set(chosen);
      const pool = everyone(length).filter((i) => !there.has(i));
      chosen.push(
        ...lowest(pool, uncertainties[name](logits), Math.min(settings.activeStep, budget - chosen.length)),
      );
    }
    return { indices: chosen };
  },
});

export const random: Selector = {
  name: 'random',
  summary: 'drawn once, uniformly',
  paper: 'baseline',
  async select({ labels, share, seed }) {
    return { indices: [...randomSubset(labels.length, subsetSize(labels.length, share), seed)] };
  },
};

export const scoreSelectors: readonly Selector[] = [
  random,
  uncertain('least-confidence', 'smallest probability of the likeliest class', ['raw-logits']),
  uncertain('entropy', 'largest entropy of the probabilities'),
  uncertain('margin', 'smallest difference of the two largest probabilities'),
  forgetting,
  el2n,
  grand,
  aum,
  deepfool,
  ccs,
  active('least-confidence'),
  active('entropy'),
  active('margin'),
];
