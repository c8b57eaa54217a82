/** "What a faithful implementation must show", exact part, by the items of the card. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { grad, i64, input } from '../../graph/index.ts';
import { crossEntropy } from '../../nn/index.ts';
import { compile, Random } from '../../runtime/index.ts';
import { fullSampler, groupsOf, rs2Sampler } from '../../train/index.ts';
import { type Rows, row } from '../gram/k-means.ts';
import { patches } from '../testing/patches.ts';
import { herd, squareBetween } from './geometry.ts';
import { representedBy } from './gradients.ts';
import { FacilityLocation, GraphCut, lazyGreedy, naiveGreedy, type SetFunction } from './greedy.ts';
import { farthestFirst } from './k-center.ts';
import {
  cosineSimilarities,
  distanceSimilarities,
  gradientNorms,
  gradientProducts,
  type LastLayer,
  lastLayer,
  norms,
} from './last-layer.ts';
import { matchingPursuit, nonNegativeRidge, type Products, towardsMean } from './matching-pursuit.ts';
import { rescoredSamplers } from './rescoring.ts';
import { Scoring, scoringOptions } from './scoring.ts';
import { selectImages, selectionOptions } from './select.ts';
import { roundOf, timed } from './time-to-accuracy.ts';

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const sorted = (a: Iterable<number>) => [...a].sort((x, y) => x - y);
const rows = (name: string, count: number, width: number): Rows => ({
  data: new Random(name).fill(count * width, (r) => r.normal()),
  width,
});
const labelsOf = (count: number, classes: number) => Int32Array.from(range(count), (i) => (i * 7) % classes);
const outputs = (name: string, count: number, classes = 4, width = 5) => ({
  logits: rows(`${name} logits`, count, classes),
  features: rows(`${name} features`, count, width),
});
const gradients = (name: string, count: number): LastLayer =>
  lastLayer(outputs(name, count), labelsOf(count, 4));
const subsets = (n: number, k: number): number[][] =>
  k === 0 ? [[]] : range(n).flatMap((last) => subsets(last, k - 1).map((s) => [...s, last]));

describe('1. RS2 without replacement', () => {
  test('the N/B subsets of a pass partition the images', () => {
    const s = rs2Sampler(60, 12, 3);
    for (const pass of [0, 1, 4])
      expect(sorted(range(5).flatMap((t) => [...s.round(5 * pass + t)]))).toEqual(range(60));
  });

  test.each([1, 7, 12, 13])('after T = %i rounds every image was used floor or ceil of TB/N times', (T) => {
    const s = rs2Sampler(60, 12, 3);
    const uses = new Int32Array(60);
    for (const t of range(T)) for (const i of s.round(t)) uses[i]!++;
    const mean = (T * 12) / 60;
    expect(uses.every((u) => u === Math.floor(mean) || u === Math.ceil(mean))).toBe(true);
  });

  test('where B does not divide N, the last round of a pass takes the head of the same permutation', () => {
    const s = rs2Sampler(10, 4, 3);
    const [first, second, third] = [s.round(0), s.round(1), s.round(2)];
    expect(sorted([...first, ...second, ...third.subarray(0, 2)])).toEqual(range(10));
    expect([...third.subarray(2)]).toEqual([...first.subarray(0, 2)]);
    expect([...s.round(3)]).not.toEqual([...first]);
  });

  test('with r = 1 it is ordinary reshuffled SGD, index by index', () => {
    const [rs2, full] = [rs2Sampler(60, 60, 3), fullSampler(60, 3)];
    for (const t of range(4)) expect([...rs2.round(t)]).toEqual([...full.round(t)]);
  });

  test('T rounds are the data in the order of r T epochs', () => {
    const [rs2, full] = [rs2Sampler(60, 12, 3), fullSampler(60, 3)];
    const epochs = range(3).flatMap((t) => [...full.round(t)]);
    expect(range(15).flatMap((t) => [...rs2.round(t)])).toEqual(epochs);
  });
});

describe('2. gradients of the last layer in factors', () => {
  const count = 9;
  const of = outputs('autograd', count);
  const labels = labelsOf(count, 4);
  const g = lastLayer(of, labels);

  /** [δ ; vec(δ hᵀ)] of each image by differentiation of its own cross-entropy. */
  async function differentiated(double: boolean): Promise<number[][]> {
    const x = input('x', [1, 5]);
    const [w, b, y] = [input('w', [4, 5]), input('b', [4]), input('y', [1], 'int64')];
    const z = x.matmul(w, { transB: true }).add(b);
    const shifted = z.sub(z.max(-1, true)).exp();
    const logits = double ? shifted.div(shifted.sum(-1, true)) : z;
    const [db, dw] = grad(crossEntropy(logits, y), [b, w]);
    const program = await compile({ db: db!, dw: dw! });
    const out: number[][] = [];
    for (const i of range(count)) {
      // With no weights, the bias alone makes the logits; the gradient by the weights is δ hᵀ all the same.
      const feeds = {
        x: { dtype: 'float32' as const, shape: [1, 5], data: row(of.features, i) },
        w: { dtype: 'float32' as const, shape: [4, 5], data: new Float32Array(20) },
        b: { dtype: 'float32' as const, shape: [4], data: row(of.logits, i) },
        y: i64([labels[i]!]),
      };
      const found = await program.run(feeds);
      out.push([...(found.db.data as Float32Array), ...(found.dw.data as Float32Array)]);
    }
    await program.release();
    return out;
  }
  const product = (a: number[], b: number[]) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);

  test.each([false, true])(
    'norms and products are those of autograd (double softmax: %s)',
    async (double) => {
      const want = await differentiated(double);
      const own = lastLayer(of, labels, double);
      const found = gradientNorms(own);
      const products = await gradientProducts(own, range(count));
      for (const i of range(count)) {
        expect(found[i]!).toBeCloseTo(Math.sqrt(product(want[i]!, want[i]!)), 5);
        for (const j of range(count))
          expect(products[i * count + j]!).toBeCloseTo(product(want[i]!, want[j]!), 4);
      }
    },
  );

  test('GraNd ≥ EL2N for every image, and equal where h = 0', () => {
    const [grand, el2n] = [gradientNorms(g), norms(g.delta)];
    expect(grand.every((v, i) => v > el2n[i]!)).toBe(true);
    const flat = { ...g, features: { ...g.features, data: new Float32Array(count * 5) } };
    expect(gradientNorms(flat)).toEqual(el2n);
  });
});

describe('3. greedy maximisers', () => {
  const value = (s: Float32Array, n: number, set: readonly number[]) =>
    range(n).reduce((sum, i) => sum + Math.max(0, ...set.map((j) => s[i * n + j]!)), 0);
  const similarities = async (name: string, n: number, of = cosineSimilarities) =>
    of(await gradientProducts(gradients(name, n), range(n)), n);

  test.each([cosineSimilarities, distanceSimilarities])('lazy and naive pick the same (%o)', async (of) => {
    const n = 80;
    const s = await similarities('lazy', n, of);
    const [lazy, naive] = [lazyGreedy, naiveGreedy].map((max) => max(new FacilityLocation(s, n), 30));
    expect(lazy).toEqual(naive);
    expect(new Set(lazy!.map((p) => p.element)).size).toBe(30);
  });

  test('lazy evaluates far fewer gains', async () => {
    const n = 80;
    const s = await similarities('lazy', n);
    const evaluations = (max: typeof lazyGreedy) => {
      let count = 0;
      const f = new FacilityLocation(s, n);
      const counted: SetFunction = {
        size: n,
        gain: (e) => {
          count++;
          return f.gain(e);
        },
        add: (e) => f.add(e),
      };
      max(counted, 30);
      return count;
    };
    expect(evaluations(lazyGreedy)).toBeLessThan(evaluations(naiveGreedy) / 4);
  });

  test('facility location is at least 1 − 1/e of the best', async () => {
    const n = 12;
    for (const seed of range(4)) {
      const s = await similarities(`brute ${seed}`, n, distanceSimilarities);
      for (const k of [1, 2, 3, 4]) {
        const best = Math.max(...subsets(n, k).map((set) => value(s, n, set)));
        const picks = lazyGreedy(new FacilityLocation(s, n), k);
        const found = value(
          s,
          n,
          picks.map((p) => p.element),
        );
        expect(found).toBeGreaterThanOrEqual((1 - 1 / Math.E) * best);
        expect(picks.reduce((sum, p) => sum + p.gain, 0)).toBeCloseTo(found, 3);
      }
    }
  });

  test('with k = n, herding, facility location, graph cut and k-center keep everything', async () => {
    const n = 20;
    const s = await similarities('all', n);
    const points = rows('all points', n, 3);
    const chosen = [
      herd(points, n),
      lazyGreedy(new FacilityLocation(s, n), n).map((p) => p.element),
      naiveGreedy(new GraphCut(s, n), n).map((p) => p.element),
      farthestFirst(n, n, 4, squareBetween(points)),
    ];
    for (const indices of chosen) expect(sorted(indices)).toEqual(range(n));
  });

  test('k-center covers within twice the best radius', () => {
    const n = 12;
    for (const seed of range(4)) {
      const points = rows(`centres ${seed}`, n, 2);
      const square = squareBetween(points);
      const d = range(n).map((to) => range(n).map((i) => Math.sqrt(square(i, to))));
      const radius = (set: readonly number[]) =>
        Math.max(...range(n).map((i) => Math.min(...set.map((c) => d[c]![i]!))));
      for (const k of [1, 2, 3, 4]) {
        const best = Math.min(...subsets(n, k).map(radius));
        const chosen = farthestFirst(n, k, seed, square);
        expect(radius(chosen)).toBeLessThanOrEqual(2 * best + 1e-9);
        // Sums that stop early choose as whole ones.
        expect(farthestFirst(n, k, seed, (i, to) => d[to]![i]!)).toEqual(chosen);
      }
    }
  });

  test('herding adds what brings the sum nearest to k means; argmax, as released, what takes it away', () => {
    const points = rows('herding', 15, 3);
    const mean = range(3).map((d) => range(15).reduce((sum, i) => sum + row(points, i)[d]! / 15, 0));
    for (const farthest of [false, true]) {
      const chosen: number[] = [];
      for (const k of range(6)) {
        const left = range(15).filter((j) => !chosen.includes(j));
        const error = (j: number) =>
          Math.hypot(
            ...mean.map(
              (m, d) => (k + 1) * m - [...chosen, j].reduce((sum, s) => sum + row(points, s)[d]!, 0),
            ),
          );
        chosen.push(left.reduce((a, b) => ((farthest ? error(b) > error(a) : error(b) < error(a)) ? b : a)));
      }
      expect(herd(points, 6, farthest)).toEqual(chosen);
    }
  });
});

describe('4. weighted subsets', () => {
  const n = 30;

  const products = async (name: string) =>
    towardsMean(await gradientProducts(gradients(name, n), range(n)), n);
  /** Half the gradient of the ridge problem by the weight of the ith of those chosen. */
  const slope = (p: Products, chosen: number[], x: ArrayLike<number>, i: number, lambda: number) =>
    chosen.reduce(
      (sum, s, k) => sum + x[k]! * p.all[chosen[i]! * n + s]!,
      lambda * x[i]! - p.target[chosen[i]!]!,
    );

  test('residuals of matching pursuit never grow without ridge, and vanish once the picks span all', async () => {
    const p = await products('pursuit');
    const { minima, chosen, weights } = matchingPursuit(p, n, 0);
    minima.forEach((r, i) => {
      if (i > 0) expect(r).toBeLessThanOrEqual(minima[i - 1]!);
    });
    expect(Math.abs(minima.at(-1)!)).toBeLessThan(1e-5 * p.targetSquare);
    for (const i of range(chosen.length)) expect(slope(p, chosen, weights, i, 0)).toBeCloseTo(0, 3);
    expect(new Set(chosen).size).toBe(chosen.length);
  });

  test('each pick has the largest product with the residual of the ridge fit', async () => {
    const p = await products('ridge');
    const { chosen, weights } = matchingPursuit(p, 8, 1);
    for (const i of range(8)) expect(slope(p, chosen, weights, i, 1)).toBeCloseTo(0, 5);
    for (const k of range(8)) {
      const before = matchingPursuit(p, k, 1);
      const product = (j: number) =>
        before.chosen.reduce((sum, s, i) => sum - before.weights[i]! * p.all[j * n + s]!, p.target[j]!);
      const rest = range(n).filter((j) => !before.chosen.includes(j));
      expect(chosen[k]).toBe(rest.reduce((a, b) => (product(b) > product(a) ? b : a)));
    }
  });

  test.each([1, 0.01])('NNLS with λ = %f satisfies its optimality conditions', async (lambda) => {
    const p = await products('not negative');
    const x = nonNegativeRidge(p, range(n), lambda);
    expect([...x].filter((v) => v === 0).length).toBeGreaterThan(0);
    for (const i of range(n)) {
      expect(x[i]!).toBeGreaterThanOrEqual(0);
      const s = slope(p, range(n), x, i, lambda);
      if (x[i]! > 0) expect(s).toBeCloseTo(0, 5);
      else expect(s).toBeGreaterThan(-1e-5);
    }
  });

  test('CRAIG: weights sum to n + |S| in a class', async () => {
    const s = distanceSimilarities(await gradientProducts(gradients('craig', n), range(n)), n);
    const picks = lazyGreedy(new FacilityLocation(s, n), 7).map((p) => p.element);
    const weights = representedBy(s, n, picks);
    expect(weights.reduce((a, b) => a + b)).toBe(n + 7);
    // Each stands for itself at least.
    expect(Math.min(...weights)).toBeGreaterThanOrEqual(2);
  });
});

describe('5. time to accuracy', () => {
  const rounds = [0.2, 0.7, 0.6, 0.9].map((accuracy, i) => ({ steps: 10 * (i + 1), accuracy }));
  const timeTo = (target: number, selection: number) =>
    roundOf(timed(rounds, selection, 0.25), target)?.seconds;

  test('the first time at which a target is reached; never where it is not', () => {
    expect([0.1, 0.7, 0.65, 0.8, 0.95].map((a) => timeTo(a, 0))).toEqual([2.5, 5, 5, 10, undefined]);
  });

  test('with the same curve, it is shifted by exactly the time of the selection', () => {
    for (const a of [0.1, 0.65, 0.9]) expect(timeTo(a, 7.25)! - timeTo(a, 0)!).toBe(7.25);
  });
});

describe('4. and 5. whole selections', () => {
  const images = patches(90, 1, 0.5);
  const network = { network: 'mlp', batch: 16, scoringEpochs: 3, runs: 1 };
  const scoring = new Scoring(images, scoringOptions.parse(network), 1);
  const select = (method: string, given: object = {}) =>
    selectImages(images, selectionOptions.parse({ ...network, method, fraction: 0.2, ...given }), {
      scoring,
    });
  beforeAll(() => scoring.run());
  afterAll(() => scoring.release());

  test('CRAIG, class by class', async () => {
    const { indices, weights } = await select('craig');
    expect(indices).toHaveLength(18);
    for (const members of groupsOf(images.labels)) {
      const own = indices.flatMap((index, at) => (members.includes(index) ? [weights![at]!] : []));
      expect(own.reduce((a, b) => a + b, 0)).toBe(members.length + own.length);
    }
  });

  test('GradMatch keeps what has a weight', async () => {
    const { indices, weights } = await select('gradmatch');
    expect(weights!.every((w) => w > 0)).toBe(true);
    expect(indices.length).toBeLessThanOrEqual(18);
  });

  test.each(Object.keys(rescoredSamplers))('%s', async (name) => {
    const sampler = rescoredSamplers[name]!.of(images.labels, 0.2, 1);
    const [first, other] = [(await scoring.run()).outputs, (await scoring.run(1)).outputs];
    // By the scoring network it is the selection that stays fixed.
    const fixed = await select(name.replace('rescored-', ''));
    expect(sorted(sampler.select(first, 0))).toEqual(sorted(fixed.indices));
    expect(sampler.select(first, 0)).toEqual(sampler.select(first, 0));
    expect(sampler.select(first, 1)).not.toEqual(sampler.select(first, 0));
    expect(sorted(sampler.select(first, 1))).toEqual(sorted(fixed.indices));
    // By another network it is another one.
    expect(sorted(sampler.select(other, 0))).not.toEqual(sorted(fixed.indices));
  });

  test('times are those of the clock that is given, what is remembered counted again', async () => {
    let now = 0;
    const timing = new Scoring(images, scoringOptions.parse(network), 1, { clock: () => now });
    const work = () =>
      timing.remember('work', async () => {
        now += 5;
      });
    for (const _ of ['done', 'remembered']) expect((await timing.timed(work)).seconds).toBe(5);
    await timing.release();
  });

  test('random takes no scores; what scored methods cost has the pre-training in it, also when it was there', async () => {
    const { seconds } = await select('random');
    expect(seconds).toBeLessThan(0.05);
    const pretraining = (await scoring.timed(() => scoring.run())).seconds;
    for (const method of ['entropy', 'herding'])
      expect((await select(method)).seconds).toBeGreaterThan(pretraining);
    expect((await select('supervised-prototypes-easy')).seconds).toBeLessThan(pretraining);
  });
});
