import { constant, input, softmax } from '../../graph/index.ts';
import { compile, Random } from '../../runtime/index.ts';
import { groupsOf, subsetSize } from '../../train/index.ts';
import type { Outputs } from '../classify/classifier.ts';
import { row } from '../gram/k-means.ts';
import {
  drawToFront,
  FacilityLocation,
  GraphCut,
  lazyGreedy,
  type Maximizer,
  naiveGreedy,
  type SetFunction,
  stochasticCandidates,
  stochasticGreedy,
} from './greedy.ts';
import {
  asTensor,
  cosineSimilarities,
  distanceSimilarities,
  gradientProducts,
  lastLayer,
} from './last-layer.ts';
import { matchingPursuit, nonNegativeRidge, towardsMean } from './matching-pursuit.ts';
import { everyone, inClasses, type Selection, type SelectionTask, type Selector } from './selector.ts';

/** ε of the released code: with it, hardly a candidate is left to choose from. */
const releasedEpsilon = 0.9;

const lastLayerOf = async ({ scores, labels, released }: SelectionTask) =>
  lastLayer((await scores.run()).outputs, labels, released.has('double-softmax'));

const maximizerOf = ({ released, seed }: SelectionTask, exact: Maximizer): Maximizer =>
  released.has('stochastic-greedy') ? stochasticGreedy(releasedEpsilon, new Random(seed, 'greedy')) : exact;

/** Maximises a set function of the cosine similarities in every class. */
const submodular = (
  name: string,
  summary: string,
  exact: Maximizer,
  of: (similarities: Float32Array, n: number) => SetFunction,
): Selector => ({
  name,
  summary,
  paper: 'Iyer et al., ALT 2021',
  released: ['stochastic-greedy', 'double-softmax'],
  async select(task) {
    const g = await lastLayerOf(task);
    const maximize = maximizerOf(task, exact);
    return inClasses(task, async (members, budget) => {
      const n = members.length;
      const similarities = cosineSimilarities(await gradientProducts(g, members), n);
      return { indices: maximize(of(similarities, n), budget).map(({ element }) => members[element]!) };
    });
  },
});

/** 1 + how many others each of the chosen stands for: sums to n + |chosen|. */
export function representedBy(similarities: Float32Array, n: number, chosen: readonly number[]): number[] {
  const weights = chosen.map(() => 1);
  for (let i = 0; i < n; i++) {
    let best = 0;
    for (let k = 1; k < chosen.length; k++)
      if (similarities[i * n + chosen[k]!]! > similarities[i * n + chosen[best]!]!) best = k;
    weights[best]!++;
  }
  return weights;
}

const craig: Selector = {
  name: 'craig',
  summary: 'weighted images whose gradients stand for those of their class',
  paper: 'Mirzasoleiman et al., ICML 2020',
  released: ['stochastic-greedy', 'double-softmax'],
  async select(task) {
    const g = await lastLayerOf(task);
    const budget = subsetSize(task.labels.length, task.share);
    const maximize = maximizerOf(task, lazyGreedy);
    const groups = groupsOf(task.labels);
    const similaritiesOf = async (members: number[]) =>
      distanceSimilarities(await gradientProducts(g, members), members.length);
    // Images of different classes share no gain: greedy over all is a merge of the picks of the classes, best gain first.
    const queues: { element: number; gain: number }[][] = [];
    for (const members of groups) {
      const f = new FacilityLocation(await similaritiesOf(members), members.length);
      queues.push(maximize(f, Math.min(budget, members.length)));
    }
    const taken = groups.map(() => 0);
    for (let left = Math.min(budget, task.labels.length); left > 0; left--) {
      let best = -1;
      queues.forEach((q, c) => {
        if (taken[c]! < q.length && (best < 0 || q[taken[c]!]!.gain > queues[best]![taken[best]!]!.gain))
          best = c;
      });
      taken[best]!++;
    }
    const indices: number[] = [];
    const weights: number[] = [];
    for (const [c, members] of groups.entries()) {
      const chosen = queues[c]!.slice(0, taken[c]).map(({ element }) => element);
      if (chosen.length === 0) continue;
      indices.push(...chosen.map((e) => members[e]!));
      weights.push(...representedBy(await similaritiesOf(members), members.length, chosen));
    }
    return { indices, weights };
  },
};

const ridge = 1;

const gradMatch: Selector = {
  name: 'gradmatch',
  summary:
    'weighted images whose gradients add up to the mean of their class, by orthogonal matching pursuit',
  paper: 'Killamsetty et al., ICML 2021',
  released: ['double-softmax'],
  async select(task) {
    const g = await lastLayerOf(task);
    return inClasses(task, async (members, budget): Promise<Selection> => {
      const products = towardsMean(await gradientProducts(g, members), members.length);
      const { chosen } = matchingPursuit(products, budget, ridge);
      const x = nonNegativeRidge(products, chosen, ridge);
      const kept = everyone(chosen.length).filter((i) => x[i]! > 0);
      return { indices: kept.map((i) => members[chosen[i]!]!), weights: kept.map((i) => x[i]!) };
    });
  },
};

/** [1, h]: the factor of bias and weights. */
function withBias({ features }: Outputs) {
  const { data, width } = features;
  const out = new Float32Array((data.length / width) * (width + 1));
  for (let i = 0; i < data.length / width; i++) {
    out[i * (width + 1)] = 1;
    out.set(row(features, i), i * (width + 1) + 1);
  }
  return { data: out, width: width + 1 };
}

const glister: Selector = {
  name: 'glister',
  summary: 'greedy in the gain of one virtual step of the last layer on what is chosen',
  paper: 'Killamsetty et al., AAAI 2021',
  released: ['glister-frozen', 'stochastic-greedy', 'double-softmax'],
  async select(task) {
    const { outputs } = await task.scores.run();
    const { delta } = await lastLayerOf(task);
    const { released, settings, labels, seed } = task;
    const count = labels.length;
    const budget = subsetSize(count, task.share);
    const [classes, inputs] = [outputs.logits.width, withBias(outputs)];
    const h = constant(asTensor(inputs));
    const d = constant(asTensor(delta));
    const targets = new Float32Array(count * classes);
    for (let i = 0; i < count; i++) targets[i * classes + labels[i]!] = 1;
    // The mean gradient of what is chosen, [C, 1 + D]; the validation set is the training set.
    const step = input('step', [classes, inputs.width]);
    const logits = constant(asTensor(outputs.logits)).sub(
      h.matmul(step, { transB: true }).mul(settings.learningRate),
    );
    const errors = softmax(logits).sub(constant(asTensor({ data: targets, width: classes })));
    const validation = errors.matmul(h, { transA: true }).div(count);
    const gains = d.mul(h.matmul(validation, { transB: true })).sum(-1);
    const program = await compile({ gains }, { name: 'Glister' });
    try {
      const sum = new Float64Array(classes * inputs.width);
      const left = everyone(count);
      const random = new Random(seed, 'greedy');
      const candidates = released.has('stochastic-greedy')
        ? stochasticCandidates(count, budget, releasedEpsilon)
        : count;
      const chosen: number[] = [];
      let gain: Float32Array | undefined;
      while (chosen.length < budget) {
        if (!gain || !released.has('glister-frozen')) {
          const mean = Float32Array.from(sum, (v) => v / Math.max(1, chosen.length));
          const out = await program.run({
            step: { dtype: 'float32', shape: [classes, inputs.width], data: mean },
          });
          gain = out.gains.data as Float32Array;
        }
        const among = candidates < left.length ? drawToFront(left, candidates, random) : left;
        let at = 0;
        for (let i = 1; i < among.length; i++) if (gain[among[i]!]! > gain[among[at]!]!) at = i;
        const next = among[at]!;
        // What was drawn stands at the front.
        left[at] = left.at(-1)!;
        left.pop();
        chosen.push(next);
        const [own, x] = [row(delta, next), row(inputs, next)];
        for (let k = 0; k < classes; k++)
          for (let j = 0; j < x.length; j++) sum[k * x.length + j]! += own[k]! * x[j]!;
      }
      return { indices: chosen };
    } finally {
      await program.release();
    }
  },
};

export const gradientSelectors: readonly Selector[] = [
  craig,
  gradMatch,
  glister,
  submodular(
    'facility-location',
    'gradients of each class near one that is kept',
    lazyGreedy,
    (s, n) => new FacilityLocation(s, n),
  ),
  submodular(
    'graph-cut',
    'gradients like all others of the class, unlike those kept',
    naiveGreedy,
    (s, n) => new GraphCut(s, n),
  ),
];
