/** From trials to figures: means over data sets, mean and deviation over seeds. */
import { harmonicMean } from '../../data/index.ts';
import type { Chart } from '../reproduction.ts';
import { testNames } from './protocols.ts';
import type { StudyTrial } from './study.ts';

/** Mean over seeds of the mean over data sets, and the sample standard deviation over seeds. */
export interface Figure {
  readonly mean: number;
  readonly std: number;
  /** One value a seed, in the order of the seeds. */
  readonly values: readonly number[];
}

export function figureOf(values: readonly number[]): Figure {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { mean, std: Math.sqrt(square), values };
}

/** Which trials: all that agree with what is given. */
export interface Where {
  readonly label: string;
  readonly data?: string;
  readonly shots?: number;
}

/** The name under which `figure` gives the harmonic mean of base and new accuracy. */
export const harmonic = 'H';
/** The name under which `figure` gives the mean over all targets or domains. */
export const meanOfTargets = 'targets';

const isTarget = (test: string) => test !== testNames.source;

function accuracyOf({ tests }: StudyTrial, test: string): number | null {
  if (test !== meanOfTargets) {
    const score = tests[test];
    if (!score) throw new Error(`no test "${test}"; there are ${Object.keys(tests).join(', ')}`);
    return score.accuracy;
  }
  const targets = Object.entries(tests).filter(([name]) => isTarget(name));
  const values = targets.flatMap(([, { accuracy }]) => accuracy ?? []);
  return values.length === targets.length ? figureOf(values).mean : null;
}

/**
 * Accuracy of a test over the trials that match; undefined where a method could not be tested so. `H` is the harmonic
 * mean of the averaged base and new accuracies, as published averages are, not an average of harmonic means.
 * @throws where no trial matches.
 */
export function figure(
  trials: readonly StudyTrial[],
  { label, data, shots }: Where,
  test: string,
): Figure | undefined {
  if (test === harmonic) {
    const [base, fresh] = [testNames.base, testNames.new].map((t) =>
      figure(trials, { label, data, shots }, t),
    );
    if (!base || !fresh) return undefined;
    const { std, values } = figureOf(base.values.map((b, i) => harmonicMean(b, fresh.values[i]!)));
    return { mean: harmonicMean(base.mean, fresh.mean), std, values };
  }
  const matching = trials.filter(
    (t) =>
      t.label === label &&
      (data === undefined || t.data === data) &&
      (shots === undefined || t.shots === shots),
  );
  if (matching.length === 0) {
    throw new Error(
      `no trial of ${[label, data, shots !== undefined && `${shots} shots`].filter(Boolean).join(', ')}`,
    );
  }
  const seeds = [...new Set(matching.map((t) => t.seed))];
  const perSeed = seeds.map((seed) => {
    const values = matching.filter((t) => t.seed === seed).map((t) => accuracyOf(t, test));
    return values.includes(null) ? undefined : figureOf(values.map(Number)).mean;
  });
  return perSeed.includes(undefined) ? undefined : figureOf(perSeed.map(Number));
}

const labelsOf = (trials: readonly StudyTrial[]) => [...new Set(trials.map((t) => t.label))];
const baseAndNew = [testNames.base, testNames.new];

/** What a claim reports of trials: the mean of each test of each label, by default of base and new classes and H. */
export const accuracyTable = (
  trials: readonly StudyTrial[],
  labels: readonly string[] = labelsOf(trials),
  tests: readonly string[] = [...baseAndNew, harmonic],
): Record<string, number> =>
  Object.fromEntries(
    labels.flatMap((label) =>
      tests.map((test) => [`${label} ${test}`, figure(trials, { label }, test)!.mean]),
    ),
  );

/** The same as bars with deviations over seeds, a series for each test. */
export const accuracyBars = (
  title: string,
  trials: readonly StudyTrial[],
  labels: readonly string[] = labelsOf(trials),
  tests: readonly string[] = baseAndNew,
): Chart => ({
  title,
  xLabel: 'method',
  yLabel: 'accuracy',
  series: tests.map((test) => ({
    name: test,
    points: labels.map((x) => {
      const { mean: y, std: error } = figure(trials, { label: x }, test)!;
      return { x, y, error };
    }),
  })),
});
