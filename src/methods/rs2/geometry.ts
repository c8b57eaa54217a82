import { constant, input, topK } from '../../graph/index.ts';
import { compile, Random } from '../../runtime/index.ts';
import { groupsOf, subsetSize } from '../../train/index.ts';
import { kMeans, type Rows, row } from '../gram/k-means.ts';
import { farthestFirst } from './k-center.ts';
import { asTensor, dot, rowsAt, softmaxRows } from './last-layer.ts';
import { everyone, inClasses, inGroups, lowest, type SelectionTask, type Selector } from './selector.ts';

export function meanOf({ data, width }: Rows): Float64Array {
  const mean = new Float64Array(width);
  data.forEach((v, i) => {
    mean[i % width]! += v;
  });
  return mean.map((v) => (v * width) / data.length);
}

/** ‖row − point‖² */
const squareTo = (rows: Rows, i: number, point: ArrayLike<number>): number => {
  const from = i * rows.width;
  let sum = 0;
  for (let d = 0; d < rows.width; d++) sum += (rows.data[from + d]! - point[d]!) ** 2;
  return sum;
};

/**
 * Welling's herding: adds j = argmin ‖(k + 1) μ − Σ_{s in S} h_s − h_j‖, or argmax as released. One product with all rows a
 * pick: the distance is ‖h_j‖² − 2 ⟨t, h_j⟩ but for a constant, and t moves by μ − h_s.
 * @returns positions of rows.
 */
export function herd(rows: Rows, budget: number, farthest = false): number[] {
  const count = rows.data.length / rows.width;
  const mean = meanOf(rows);
  const own = Float64Array.from({ length: count }, (_, i) => dot(row(rows, i), row(rows, i)));
  const towards = Float64Array.from({ length: count }, (_, i) => dot(row(rows, i), mean));
  const products = towards.slice();
  const taken = new Uint8Array(count);
  const chosen: number[] = [];
  while (chosen.length < Math.min(budget, count)) {
    let best = -1;
    let bestValue = 0;
    for (let j = 0; j < count; j++) {
      if (taken[j]) continue;
      const value = farthest ? 2 * products[j]! - own[j]! : own[j]! - 2 * products[j]!;
      if (best < 0 || value < bestValue) [best, bestValue] = [j, value];
    }
    taken[best] = 1;
    chosen.push(best);
    const h = row(rows, best);
    for (let j = 0; j < count; j++) products[j]! += towards[j]! - dot(row(rows, j), h);
  }
  return chosen;
}

const herding: Selector = {
  name: 'herding',
  summary: 'keeps the mean of the features of each class',
  paper: 'Welling, ICML 2009',
  released: ['herding-argmax'],
  async select(task) {
    const { features } = (await task.scores.run()).outputs;
    const farthest = task.released.has('herding-argmax');
    return inClasses(task, (members, budget) => ({
      indices: herd(rowsAt(features, members), budget, farthest).map((i) => members[i]!),
    }));
  },
};

const farthest = ({ labels, share, seed }: SelectionTask, distance: Parameters<typeof farthestFirst>[3]) => ({
  indices: farthestFirst(
    labels.length,
    subsetSize(labels.length, share),
    new Random(seed, 'first centre').int(labels.length),
    distance,
  ),
});

/** ‖h_i − h_j‖², summed until it is no more below `within`. */
export const squareBetween =
  ({ data, width }: Rows) =>
  (i: number, j: number, within = Number.POSITIVE_INFINITY): number => {
    const [from, to] = [i * width, j * width];
    let sum = 0;
    for (let k = 0; k < width && sum < within; k++) {
      const difference = data[from + k]! - data[to + k]!;
      sum += difference * difference;
    }
    return sum;
  };

const kCenter: Selector = {
  name: 'k-center',
  summary: 'farthest first in the space of features',
  paper: 'Sener & Savarese, ICLR 2018',
  async select(task) {
    const { features } = (await task.scores.run()).outputs;
    return farthest(task, squareBetween(features));
  },
};

/** ½ Σ_k (p_ik − p_jk) (ln p_ik − ln p_jk), with probabilities of at least 1e-10. */
export function symmetricDivergence(p: Rows) {
  const floored = Float32Array.from(p.data, (v) => Math.max(v, 1e-10));
  const logs = floored.map(Math.log);
  const { width } = p;
  return (i: number, j: number): number => {
    let sum = 0;
    for (let k = 0; k < width; k++)
      sum +=
        (floored[i * width + k]! - floored[j * width + k]!) * (logs[i * width + k]! - logs[j * width + k]!);
    return sum / 2;
  };
}

const diversity: Selector = {
  name: 'contextual-diversity',
  summary: 'farthest first by the divergence of predicted probabilities',
  paper: 'Agarwal et al., ECCV 2020',
  async select(task) {
    const { logits } = (await task.scores.run()).outputs;
    const divergence = symmetricDivergence(softmaxRows(logits));
    return farthest(task, divergence);
  },
};

const neighbours = 10;

/** The nearest other rows of each: [N, k] indices, by blocks of distances that never leave the program. */
export async function nearestRows(rows: Rows, k: number): Promise<number[][]> {
  const count = rows.data.length / rows.width;
  const wanted = Math.min(k + 1, count);
  const block = Math.min(256, count);
  const squares = Float32Array.from({ length: count }, (_, i) => dot(row(rows, i), row(rows, i)));
  const queries = input('queries', [block, rows.width]);
  const all = constant(asTensor(rows));
  const distances = constant({ dtype: 'float32', shape: [1, count], data: squares }).sub(
    queries.matmul(all, { transB: true }).mul(2),
  );
  const program = await compile({ nearest: topK(distances, wanted, 1, false)[1] }, { name: 'nearest rows' });
  const found: number[][] = [];
  try {
    for (let from = 0; from < count; from += block) {
      const members = Array.from({ length: block }, (_, i) => Math.min(from + i, count - 1));
      const { nearest } = await program.run({ queries: asTensor(rowsAt(rows, members)) });
      for (let i = 0; i < Math.min(block, count - from); i++) {
        const own = Array.from({ length: wanted }, (_, j) => Number(nearest.data[i * wanted + j]));
        // Where copies of the image stand before it, the farthest makes room.
        found.push(own.filter((j) => j !== from + i).slice(0, k));
      }
    }
  } finally {
    await program.release();
  }
  return found;
}

const cal: Selector = {
  name: 'cal',
  summary: 'predictions that differ most from those of the ten nearest images',
  paper: 'Margatina et al., EMNLP 2021',
  released: ['cal-lowest'],
  async select({ scores, labels, share, released }) {
    const { logits } = (await scores.run()).outputs;
    const score = await scores.remember('divergence from neighbours', async () => {
      const divergence = symmetricDivergence(softmaxRows(logits));
      const near = await nearestRows(await scores.embeddings(), neighbours);
      return near.map((js, i) => js.reduce((sum, j) => sum + divergence(i, j), 0) / js.length);
    });
    const sign = released.has('cal-lowest') ? 1 : -1;
    return {
      indices: lowest(everyone(labels.length), (i) => sign * score[i]!, subsetSize(labels.length, share)),
    };
  },
};

/** The distance of every image to the mean of its group. */
export function distancesToMeans(rows: Rows, groups: readonly (readonly number[])[]): Float64Array {
  const out = new Float64Array(rows.data.length / rows.width);
  for (const members of groups) {
    const mean = meanOf(rowsAt(rows, members));
    for (const i of members) out[i] = Math.sqrt(squareTo(rows, i, mean));
  }
  return out;
}

const restarts = 4;

/** Of several k-means, the clusters with the smallest sum of squared distances. */
function clusters(rows: Rows, k: number, seed: number): number[][] {
  const all = everyone(rows.data.length / rows.width);
  let best: { groups: number[][]; inertia: number } | undefined;
  for (let n = 0; n < restarts; n++) {
    const groups = kMeans(rows, all, k, new Random(seed, 'k-means', n), false);
    const inertia = distancesToMeans(rows, groups).reduce((sum, d) => sum + d * d, 0);
    if (!best || inertia < best.inertia) best = { groups, inertia };
  }
  return best!.groups;
}

const prototypes = (kind: 'self-supervised' | 'supervised', which: 'easy' | 'hard'): Selector => ({
  name: `${kind}-prototypes-${which}`,
  summary: `${which === 'easy' ? 'nearest to' : 'farthest from'} the mean of ${kind === 'supervised' ? 'its class' : 'its cluster'}, without a scoring network`,
  paper: 'Sorscher et al., NeurIPS 2022',
  async select({ scores, labels, share, seed }) {
    const { groups, d } = await scores.remember(`${kind} prototypes`, async () => {
      const rows = await scores.embeddings();
      const groups = kind === 'supervised' ? groupsOf(labels) : clusters(rows, groupsOf(labels).length, seed);
      return { groups, d: distancesToMeans(rows, groups) };
    });
    const sign = which === 'easy' ? 1 : -1;
    return inGroups(groups, share, (members, budget) => ({
      indices: lowest(members, (i) => sign * d[i]!, budget),
    }));
  },
});

const moderate: Selector = {
  name: 'moderate',
  summary: 'at the median of the distances to the mean of the class',
  paper: 'Xia et al., ICLR 2023',
  async select(task) {
    const { features } = (await task.scores.run()).outputs;
    const d = distancesToMeans(features, groupsOf(task.labels));
    return inClasses(task, (members, budget) => {
      const from = Math.floor((members.length - budget) / 2);
      return { indices: lowest(members, (i) => d[i]!, members.length).slice(from, from + budget) };
    });
  },
};

export const geometrySelectors: readonly Selector[] = [
  herding,
  kCenter,
  diversity,
  cal,
  prototypes('self-supervised', 'easy'),
  prototypes('self-supervised', 'hard'),
  prototypes('supervised', 'easy'),
  prototypes('supervised', 'hard'),
  moderate,
];
