import { Random } from '../runtime/random.ts';

/**
 * Which images each epoch trains on, in which order. A round is a pure function of its number, so that a resumed
 * training sees the same images. A round takes the place of an epoch: of a share r of N images it has about rN.
 */
export interface Sampler {
  /** Images of every round. */
  readonly size: number;
  /** Indices of the round, shuffled. */
  round(epoch: number): Int32Array;
  /** The weight of each image of the data set in the loss; without, all count the same. */
  readonly weights?: Float32Array;
}

/** max(1, round(share · count)): the size of a subset. */
export const subsetSize = (count: number, share: number): number => {
  if (!(share > 0 && share <= 1))
    throw new Error(`a share of the images is above 0 and at most 1, not ${share}`);
  return Math.max(1, Math.round(share * count));
};

/** `size` of `count` images, drawn once. */
export const randomSubset = (count: number, size: number, seed: number): Int32Array =>
  new Random(seed, 'subset').permutation(count).slice(0, size);

/** All images, in a new order every epoch. */
export const fullSampler = (count: number, seed: number): Sampler => ({
  size: count,
  round: (epoch) => new Random(seed, 'order', epoch).permutation(count),
});

/** The same images every round, in a new order: what pruning leaves. `weights` are those of `indices`. */
export function subsetSampler(
  indices: ArrayLike<number>,
  count: number,
  seed: number,
  weights?: ArrayLike<number>,
): Sampler {
  const size = indices.length;
  if (size === 0) throw new Error('the subset has no images');
  const all = weights && new Float32Array(count);
  for (let i = 0; i < size; i++) {
    const index = indices[i]!;
    if (!(Number.isInteger(index) && index >= 0 && index < count))
      throw new Error(`the subset has index ${index}, but there are ${count} images`);
    if (all) all[index] = weights[i]!;
  }
  return {
    size,
    round: (epoch) => new Random(seed, 'order', epoch).permutation(size).map((i) => indices[i]!),
    ...(all && { weights: all }),
  };
}

/**
 * RS2 without replacement (Okanovic et al., ICLR 2024): rounds of `size` cut a permutation of all images; one that reaches
 * past its end takes the head of the same permutation, then a new one is drawn. With `size = count` this is `fullSampler`.
 */
export const rs2Sampler = (count: number, size: number, seed: number): Sampler => {
  const rounds = Math.ceil(count / size);
  let pass: { number: number; order: Int32Array } | undefined;
  return {
    size,
    round(epoch) {
      const number = Math.floor(epoch / rounds);
      if (pass?.number !== number)
        pass = { number, order: new Random(seed, 'order', number).permutation(count) };
      const { order } = pass;
      const from = (epoch % rounds) * size;
      return Int32Array.from({ length: size }, (_, i) => order[(from + i) % count]!);
    },
  };
};

/** RS2 with replacement between rounds: each draws `size` different images, whatever came before. */
export const rs2WithReplacement = (count: number, size: number, seed: number): Sampler => ({
  size,
  round: (epoch) => new Random(seed, 'order', epoch).permutation(count).subarray(0, size),
});

/**
 * RS2 with replacement by class: round(share · N_c) different images of each class c. Where that is below one for some
 * class, one image of every class and the rest of round(share · N) from classes drawn at random.
 */
export function rs2Stratified(labels: ArrayLike<number>, share: number, seed: number): Sampler {
  const groups = groupsOf(labels);
  const budgets = groups.map((g) => Math.round(share * g.length));
  const scarce = budgets.some((b) => b < 1);
  const size = scarce
    ? Math.max(groups.length, subsetSize(labels.length, share))
    : budgets.reduce((a, b) => a + b, 0);
  return {
    size,
    round(epoch) {
      const random = new Random(seed, 'order', epoch);
      const counts = scarce ? groups.map(() => 1) : [...budgets];
      for (let left = scarce ? size - groups.length : 0; left > 0; ) {
        const c = random.int(groups.length);
        if (counts[c]! === groups[c]!.length) continue;
        counts[c]!++;
        left--;
      }
      const drawn = groups.flatMap((g, c) => random.shuffle(g).slice(0, counts[c]));
      return Int32Array.from(random.shuffle(drawn));
    },
  };
}

/**
 * Every round draws anew, without replacement in the round, each image with odds exp(logOdds) among what is left; with
 * `labels`, round(share · N_c) of each class, else round(share · N) of all.
 */
export function oddsSampler(
  logOdds: ArrayLike<number>,
  share: number,
  seed: number,
  labels?: ArrayLike<number>,
): Sampler {
  const groups = labels ? groupsOf(labels) : [Array.from({ length: logOdds.length }, (_, i) => i)];
  const counts = groups.map((g) => subsetSize(g.length, share));
  return {
    size: counts.reduce((a, b) => a + b, 0),
    round(epoch) {
      const random = new Random(seed, 'order', epoch);
      // The largest of log-odds with Gumbel noise are such a draw (Efraimidis & Spirakis 2006; Kool et al. 2019).
      const keys = Float64Array.from(logOdds, (o) => o - Math.log(-Math.log(1 - random.next())));
      const drawn = groups.flatMap((g, c) => g.toSorted((a, b) => keys[b]! - keys[a]!).slice(0, counts[c]));
      return Int32Array.from(random.shuffle(drawn));
    },
  };
}

/** The indices of each class that occurs, in order. */
export function groupsOf(labels: ArrayLike<number>): number[][] {
  const groups: number[][] = [];
  for (let i = 0; i < labels.length; i++) {
    groups[labels[i]!] ??= [];
    groups[labels[i]!]!.push(i);
  }
  return groups.filter((g) => g !== undefined);
}

/**
 * Steps of a run of `rounds`: a round is cut into batches of `batch`, an incomplete last one is dropped where there is a full
 * one. Schedules of attune/nn span `totalSteps`: a short run anneals over its own rounds.
 */
export function stepsOf(sampler: Pick<Sampler, 'size'>, batch: number, rounds: number) {
  const size = Math.min(batch, sampler.size);
  const stepsPerEpoch = Math.floor(sampler.size / size);
  return { batch: size, stepsPerEpoch, totalSteps: stepsPerEpoch * rounds };
}

/** The images of each step: a pure function of it. */
export function sampledBatches(sampler: Sampler, batch: number): (step: number) => Int32Array {
  const { batch: size, stepsPerEpoch } = stepsOf(sampler, batch, 1);
  let round: { epoch: number; indices: Int32Array } | undefined;
  return (step) => {
    const epoch = Math.floor(step / stepsPerEpoch);
    if (round?.epoch !== epoch) round = { epoch, indices: sampler.round(epoch) };
    const from = (step % stepsPerEpoch) * size;
    return round.indices.subarray(from, from + size);
  };
}
