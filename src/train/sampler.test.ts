import { describe, expect, test } from 'vitest';
import {
  fullSampler,
  oddsSampler,
  rs2Sampler,
  rs2Stratified,
  rs2WithReplacement,
  type Sampler,
  sampledBatches,
  stepsOf,
  subsetSampler,
  subsetSize,
} from './index.ts';

const sorted = (indices: ArrayLike<number>) => Array.from(indices).sort((a, b) => a - b);
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const rounds = (s: Sampler, n: number) => range(n).flatMap((t) => [...s.round(t)]);

const labels = Int32Array.from({ length: 60 }, (_, i) => (i < 30 ? 0 : i < 50 ? 2 : 3));
const samplers: Record<string, Sampler> = {
  full: fullSampler(60, 1),
  subset: subsetSampler([4, 9, 50], 60, 1),
  rs2: rs2Sampler(60, 7, 1),
  'with replacement': rs2WithReplacement(60, 7, 1),
  stratified: rs2Stratified(labels, 0.1, 1),
  odds: oddsSampler(
    Float32Array.from(range(60), (i) => -i),
    0.1,
    1,
    labels,
  ),
};

test.each(Object.entries(samplers))(
  '%s: rounds have their size, no image twice, and depend on their number alone',
  (_, s) => {
    const first = range(20).map((t) => [...s.round(t)]);
    for (const [t, r] of first.entries()) {
      expect(new Set(r).size).toBe(s.size);
      expect(r).toHaveLength(s.size);
      expect([...s.round(19 - t)]).toEqual(first[19 - t]);
    }
    expect(first[0]).not.toEqual(first[1]);
  },
);

test('a subset keeps its images and carries their weights', () => {
  const s = subsetSampler([4, 9, 50], 60, 1, [0.5, 1, 2]);
  expect(sorted(s.round(5))).toEqual([4, 9, 50]);
  expect([s.weights![4], s.weights![9], s.weights![50], s.weights![0]]).toEqual([0.5, 1, 2, 0]);
  expect(() => subsetSampler([60], 60, 1)).toThrow('index 60, but there are 60 images');
  expect(() => subsetSampler([], 60, 1)).toThrow('no images');
});

describe('stratified', () => {
  test('round(r N_c) of each class', () => {
    const count = (r: Int32Array, c: number) => r.filter((i) => labels[i] === c).length;
    const r = rs2Stratified(labels, 0.1, 1).round(3);
    expect([0, 2, 3].map((c) => count(r, c))).toEqual([3, 2, 1]);
  });
  test('below one a class: one each, the rest from random classes', () => {
    const s = rs2Stratified(labels, 0.04, 1);
    expect(s.size).toBe(3);
    expect(new Set([...s.round(0)].map((i) => labels[i])).size).toBe(3);
    expect(rs2Stratified(labels, 0.01, 1).size).toBe(3);
    const more = rs2Stratified(
      Int32Array.from(range(100), (i) => (i < 99 ? 0 : 1)),
      0.1,
      1,
    );
    expect(more.size).toBe(10);
    expect([...more.round(0)]).toContain(99);
  });
});

test('odds: what is far likelier is drawn, equal odds are uniform', () => {
  const s = oddsSampler([0, 0, 50, 50, 0], 0.4, 1);
  expect(sorted(s.round(0))).toEqual([2, 3]);
  const uniform = oddsSampler(new Float32Array(5), 0.4, 1);
  const counts = new Float64Array(5);
  for (const i of rounds(uniform, 2000)) counts[i]!++;
  for (const c of counts) expect(Math.abs(c - 800)).toBeLessThan(90);
});

test('batches cut rounds and drop an incomplete last one', () => {
  const s = rs2Sampler(60, 7, 1);
  expect(stepsOf(s, 3, 4)).toEqual({ batch: 3, stepsPerEpoch: 2, totalSteps: 8 });
  expect(stepsOf(s, 100, 4)).toEqual({ batch: 7, stepsPerEpoch: 1, totalSteps: 4 });
  const at = sampledBatches(s, 3);
  expect([...at(2), ...at(3)]).toEqual([...s.round(1).subarray(0, 6)]);
  expect([...at(0)]).toEqual([...s.round(0).subarray(0, 3)]);
});

test('shares are checked', () => {
  expect([subsetSize(10, 0.25), subsetSize(10, 0.001), subsetSize(10, 1)]).toEqual([3, 1, 10]);
  expect(() => subsetSize(10, 0)).toThrow('above 0 and at most 1, not 0');
  expect(() => subsetSize(10, 10)).toThrow('not 10');
});
