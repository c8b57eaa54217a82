/** Trainings that claims compare: the same tasks and seeds for each variant of a method, and what is said of them. */
import { dirname, join } from 'node:path';
import type { Chart, Lab } from '../reproduction.ts';
import { figureOf } from '../study/summary.ts';
import { type LanguageTrial, type LanguageTrialResult, languageTrial } from './trial.ts';

/** A method with options. */
export type Variant = Pick<LanguageTrial, 'method' | 'options'>;

export interface Plan extends Pick<LanguageTrial, 'model' | 'count' | 'tests' | 'vals'> {
  readonly tasks: readonly string[];
  readonly seeds: readonly number[];
  /** What all variants share, steps among it. */
  readonly options: LanguageTrial['options'];
}

/** Trials of a variant: of each seed one for each task. */
export type Trials = readonly (readonly LanguageTrialResult[])[];

/** Trains, or returns what was measured before: claims of all systems may ask for the same trials. */
export async function trialsOf(
  lab: Lab,
  { tasks, seeds, options: shared, ...plan }: Plan,
  { method, options }: Variant,
): Promise<Trials> {
  const place = { ...lab, dir: join(dirname(lab.dir), 'language') };
  const all: LanguageTrialResult[][] = [];
  for (const seed of seeds) {
    const own: LanguageTrialResult[] = [];
    for (const data of tasks) {
      own.push(
        await languageTrial(place, { ...plan, method, options: { ...shared, ...options }, data, seed }),
      );
    }
    all.push(own);
  }
  return all;
}

export const mean = (values: readonly number[]): number => figureOf(values).mean;

/** Test accuracy: one mean over tasks for each seed. */
export const accuracies = (trials: Trials): number[] => trials.map((own) => mean(own.map((t) => t.test)));

/** Of each variant the mean accuracy, its deviation over seeds, the validation loss over the training, and the number of parameters. */
export const figures = (found: Readonly<Record<string, Trials>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(found).flatMap(([name, trials]) => {
      const values = accuracies(trials);
      return [
        [name, mean(values)],
        ...(values.length > 1 ? [[`${name}, deviation`, figureOf(values).std]] : []),
        // The mean of all looks at it: lower for what learns faster.
        [`${name}, validation loss`, mean(trials.flat().flatMap((t) => t.evaluations.map((e) => e.loss)))],
        [`${name}, parameters`, trials[0]![0]!.parameters],
      ];
    }),
  );

/** Bars of the accuracy on each task, mean and deviation over seeds. */
export function bars({ tasks }: Plan, title: string, found: Readonly<Record<string, Trials>>): Chart {
  const series = Object.entries(found).map(([name, trials]) => ({
    name,
    points: tasks.map((x, i) => {
      const { mean: y, std: error } = figureOf(trials.map((own) => own[i]!.test));
      return { x, y, error };
    }),
  }));
  return { title, xLabel: 'task', yLabel: 'test accuracy', series };
}
