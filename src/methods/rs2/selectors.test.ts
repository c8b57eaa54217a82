import { afterAll, describe, expect, test } from 'vitest';
import { type ImageSet, normalisationOf } from '../../data/index.ts';
import { Random } from '../../runtime/index.ts';
import { fullSampler, groupsOf } from '../../train/index.ts';
import { Classifier, classifierOptions, type Outputs } from '../classify/classifier.ts';
import { row } from '../gram/k-means.ts';
import { drained, patches } from '../testing/patches.ts';
import { perturbations } from './deepfool.ts';
import { nearestRows, symmetricDivergence } from './geometry.ts';
import { stochasticCandidates } from './greedy.ts';
import { softmaxRows } from './last-layer.ts';
import { findSelector, selectors } from './list.ts';
import { Scoring, scoringOptions } from './scoring.ts';
import { selectImages, selectionOptions } from './select.ts';
import type { Deviation, ScoreRun, Scores } from './selector.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const images = patches(90, 1, 0.5);
const network = { network: 'mlp', batch: 16, scoringEpochs: 3, runs: 2, activeEpochs: 2, activeStep: 8 };
const scoring = new Scoring(
  images,
  scoringOptions.parse({ network: 'mlp', batch: 16, scoringEpochs: 3, runs: 2, activeEpochs: 2 }),
  1,
);
afterAll(() => scoring.release());
const select = (method: string, given: object = {}, own: object = { scoring }) =>
  selectImages(images, selectionOptions.parse({ ...network, method, fraction: 0.2, ...given }), own);

const cases = selectors.flatMap((s): [string, Deviation[]][] => [
  [s.name, []],
  ...(s.released ?? []).map((r): [string, Deviation[]] => [s.name, [r]]),
]);

test('there are more than twenty, each with a name of its own', () => {
  expect(new Set(selectors.map((s) => s.name)).size).toBe(selectors.length);
  expect(selectors.length).toBeGreaterThan(20);
});

test.each(cases)('%s %j keeps so many different images', async (method, released) => {
  const { indices, weights } = await select(method, { released });
  if (method === 'gradmatch') expect(indices.length).toBeLessThanOrEqual(18);
  else expect(indices).toHaveLength(18);
  expect(new Set(indices).size).toBe(indices.length);
  expect(indices.every((i) => i >= 0 && i < 90)).toBe(true);
  expect(weights?.length ?? indices.length).toBe(indices.length);
  if (released.length === 0) expect((await select(method)).indices).toEqual(indices);
});

test('what is balanced keeps as many of each class', async () => {
  for (const method of [
    'herding',
    'facility-location',
    'graph-cut',
    'moderate',
    'supervised-prototypes-easy',
  ]) {
    const { indices } = await select(method);
    expect(
      groupsOf(indices.map((i) => images.labels[i]!)).map((g) => g.length),
      method,
    ).toEqual([6, 6, 6]);
  }
});

describe('by scores that are known', () => {
  /** Ten images of two classes; logits as given, features their own. */
  const logits = [4, 3, 2, 1, 0.5, -0.1, -1, -2, -3, -4].flatMap((z) => [z, 0]);
  const outputs: Outputs = {
    logits: { data: Float32Array.from(logits), width: 2 },
    features: { data: Float32Array.from(range(10)), width: 1 },
  };
  const run: ScoreRun = {
    outputs,
    forgotten: Float64Array.from([0, 3, 1, 0, 2, 3, 0, 0, 0, 0]),
    learned: Uint8Array.from([1, 1, 1, 0, 1, 1, 1, 1, 1, 1]),
    margins: Float64Array.from([4, 3, 2, 1, 0.5, 0.1, 1, 2, 3, 4]),
  };
  const scores: Scores = {
    runs: 2,
    run: async () => run,
    trainedOn: async () => outputs,
    embeddings: async () => outputs.features,
    perturbations: async () => run.margins,
    remember: (_, work) => work(),
  };
  const pick = async (method: string, given: object = {}) => {
    const task = {
      labels: Int32Array.from([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
      share: 0.3,
      seed: 1,
      scores,
      released: new Set<Deviation>(),
      settings: { learningRate: 0.1, activeStep: 2, hardCutoff: 0.1 },
      ...given,
    };
    return (await findSelector(method).select(task)).indices;
  };

  test.each([
    ['least-confidence', [5, 4, 3]],
    ['entropy', [5, 4, 3]],
    ['margin', [5, 4, 3]],
    ['el2n', [5, 4, 3]],
    ['aum', [5, 4, 3]],
    ['deepfool', [5, 4, 3]],
    // The one that was never learned, then ties in order.
    ['forgetting', [3, 1, 5]],
  ])('%s', async (method, want) => {
    expect(await pick(method)).toEqual(want);
  });

  test('as released: forgetting without infinity and from the end; raw logits', async () => {
    expect(await pick('forgetting', { released: new Set(['never-learned-zero']) })).toEqual([1, 5, 4]);
    expect(await pick('forgetting', { released: new Set(['never-learned-zero', 'ties-last']) })).toEqual([
      5, 1, 4,
    ]);
    // The largest logit is 0 for the second half.
    expect(await pick('least-confidence', { released: new Set(['raw-logits']) })).toEqual([5, 6, 7]);
  });

  test('GraNd as released: a smaller last batch counts more', async () => {
    const [plain, released] = [
      await pick('grand'),
      await pick('grand', { released: new Set(['last-batch']) }),
    ];
    // Ten images are one batch, all of it the last.
    expect(released).toEqual(plain);
  });

  test('moderate keeps the middle of distances to the class mean', async () => {
    // Means 2 and 7: distances 2 1 0 1 2 in both; the window of two around the median holds the ones.
    expect((await pick('moderate', { share: 0.4 })).toSorted((a, b) => a - b)).toEqual([1, 3, 6, 8]);
  });

  test('prototypes keep the nearest, or the farthest', async () => {
    expect(await pick('supervised-prototypes-easy', { share: 0.2 })).toEqual([2, 7]);
    expect(await pick('supervised-prototypes-hard', { share: 0.2 })).toEqual([0, 5]);
  });

  test('CCS drops the hardest and spreads over the rest', async () => {
    const kept = await pick('ccs');
    expect(kept).not.toContain(5);
    // Bins hold one or two images each; the smallest come first.
    expect(new Set(kept.map((i) => run.margins[i])).size).toBe(3);
  });
});

test('nearest rows are those of a full sort', async () => {
  const rows = { data: new Random('near').fill(300 * 4, (r) => r.normal()), width: 4 };
  const near = await nearestRows(rows, 5);
  const distance = (i: number, j: number) =>
    row(rows, i).reduce((sum, v, d) => sum + (v - row(rows, j)[d]!) ** 2, 0);
  for (const i of [0, 130, 299]) {
    const want = range(300)
      .filter((j) => j !== i)
      .sort((a, b) => distance(i, a) - distance(i, b));
    expect(near[i]).toEqual(want.slice(0, 5));
  }
});

test('the divergence is symmetric, zero for equals, and that of its definition', () => {
  const p = softmaxRows({ data: new Random('p').fill(9, (r) => r.normal()), width: 3 });
  const d = symmetricDivergence(p);
  const kl = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, k) => sum + v * Math.log(v / b[k]!), 0);
  expect(d(1, 1)).toBe(0);
  expect(d(0, 2)).toBe(d(2, 0));
  expect(d(0, 1)).toBeCloseTo((kl(row(p, 0), row(p, 1)) + kl(row(p, 1), row(p, 0))) / 2, 6);
});

test('the released ε leaves 11 candidates at 1 %, 2 at 5 %, one from 7 % on', () => {
  expect([0.01, 0.05, 0.08, 0.3].map((r) => stochasticCandidates(50_000, 50_000 * r, 0.9))).toEqual([
    11, 2, 1, 1,
  ]);
  expect(stochasticCandidates(50_000, 5000, 0.1)).toBe(23);
});

test('what pre-training counts fits together', async () => {
  const { forgotten, learned, margins } = await scoring.run();
  expect(Math.max(...forgotten)).toBeLessThanOrEqual(1);
  expect(forgotten.every((f, i) => f === 0 || learned[i] === 1)).toBe(true);
  // Three visits: whoever was forgotten was right before; a margin that is always negative was never right.
  expect(learned.some((l) => l === 1) && margins.some((m) => m > 0)).toBe(true);
});

test('names and deviations that there are not', async () => {
  expect(() => findSelector('hurding')).toThrow('There is no selector "hurding" (did you mean "herding"');
  await expect(select('herding', { released: ['cal-lowest'] })).rejects.toThrow(
    'herding has no released deviation "cal-lowest"; it knows herding-argmax',
  );
});

test('DeepFool: what an image needs does not depend on what is perturbed beside it', async () => {
  const all = patches(230, 2, 0.5);
  const options = classifierOptions.parse({ network: 'mlp', batch: 16, rounds: 2 });
  const classifier = new Classifier(options, all.shape, 3, normalisationOf(all));
  const { params } = await drained(
    classifier.train({ images: all, sampler: fullSampler(230, 1), seed: 1, rounds: 2 }),
  );
  const squaresOf = async (images: ImageSet) => {
    const { logits } = await classifier.outputs(params, images);
    return perturbations(classifier, params, images, logits);
  };
  const part = range(30).map((i) => 200 + i);
  const some = { ...all, images: part.map((i) => all.images[i]!), labels: all.labels.slice(200) };
  const [squares, own] = [await squaresOf(all), await squaresOf(some)];
  for (const i of range(30)) expect(own[i]! / squares[200 + i]!).toBeCloseTo(1, 4);
  expect(new Set(squares).size).toBeGreaterThan(200);
  await classifier.release();
});
