/** What the claims of DePT and EPT compare: prompts of one budget of parameters on a small frozen T5. */
import { dirname, join } from 'node:path';
import { openTextData } from '../../data/index.ts';
import { loadLanguageModel } from '../../hub/index.ts';
import { fitLanguage } from '../lm/fit.ts';
import { findLanguageMethod } from '../lm/list.ts';
import { drawTexts, taskOf } from '../lm/run.ts';
import { type LanguageTrial, type LanguageTrialResult, languageTrial } from '../lm/trial.ts';
import type { Chart, Lab } from '../reproduction.ts';
import { figureOf } from '../study/summary.ts';

const model = 'zoo:words-t5';

/** A method with options, on a budget of `long` tokens. */
export type Variant = Pick<LanguageTrial, 'method' | 'options'>;

/** Tokens of the long prompt, which is the budget, and of the short one: 0.6 of it, as in the paper. */
export const lengths = { long: 30, short: 18 };

/** The shared peak learning rates; docs/methods/dept.md says how they were chosen. */
const rates = { learningRate: 0.3, offsetRate: 0.05 };
const { learningRate } = rates;
const { long, short } = lengths;

export const prompts = {
  'PT(l)': { method: 'prompt-tuning', options: { length: long, learningRate } },
  'PT(m)': { method: 'prompt-tuning', options: { length: short, learningRate } },
  DePT: { method: 'dept', options: { length: short, budget: long, init: 'vocabulary', ...rates } },
} satisfies Record<string, Variant>;

/** The same short prompt and pair under one learning rate. */
export const oneRate: Variant = { method: 'dept', options: { ...prompts.DePT.options, sharedRate: true } };

/** K = 2 spaces of one dimension are what the budget allows; `more` changes that. */
export const eptWith = (more: object = {}): Variant => ({
  method: 'ept',
  options: { length: short, budget: long, spaces: 2, spaceWidth: 1, ...rates, ...more },
});

interface Plan {
  readonly tasks: readonly string[];
  readonly seeds: readonly number[];
  readonly count: number;
  readonly tests: number;
  readonly steps: number;
}
const planOf = ({ quick }: Lab): Plan =>
  quick
    ? { tasks: ['fiction'], seeds: [1], count: 64, tests: 64, steps: 4 }
    : {
        tasks: ['fiction', 'spam'],
        seeds: [1, 2, 3],
        count: 1000,
        tests: 500,
        steps: 300,
      };
const shared = { batch: 16, maxLength: 32, evaluations: 4 };

/** Trials of a variant: of each seed one for each task. */
export type Trials = readonly (readonly LanguageTrialResult[])[];

export async function trialsOf(lab: Lab, { method, options }: Variant): Promise<Trials> {
  const { tasks, seeds, steps, count, tests } = planOf(lab);
  // DePT's and EPT's claims ask for the same trials.
  const place = { ...lab, dir: join(dirname(lab.dir), 'prompts') };
  const all: LanguageTrialResult[][] = [];
  for (const seed of seeds) {
    const own: LanguageTrialResult[] = [];
    for (const data of tasks) {
      const given = { ...shared, steps, ...options };
      own.push(await languageTrial(place, { model, method, options: given, data, seed, count, tests }));
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
export function bars(lab: Lab, title: string, found: Readonly<Record<string, Trials>>): Chart {
  const series = Object.entries(found).map(([name, trials]) => ({
    name,
    points: planOf(lab).tasks.map((x, i) => {
      const { mean: y, std: error } = figureOf(trials.map((own) => own[i]!.test));
      return { x, y, error };
    }),
  }));
  return { title, xLabel: 'task', yLabel: 'test accuracy', series };
}

/** Median seconds of a training step of each variant; they take turns, so that whatever else runs slows all alike. */
export async function stepSeconds(lab: Lab, variants: readonly Variant[]): Promise<number[]> {
  const steps = lab.quick ? 4 : 30;
  const base = await loadLanguageModel(model);
  const data = (await openTextData('gloss-class')).train;
  const fits = variants.map(({ method, options }) =>
    fitLanguage({
      ...{ model: base, method: findLanguageMethod(method), options: { ...shared, ...options, steps } },
      ...{ task: taskOf(data), train: drawTexts(data, 320, 1), val: [], seed: 1 },
      ...(lab.signal && { signal: lab.signal }),
    }),
  );
  const times = variants.map((): number[] => []);
  for (let i = 0; i < steps; i++) {
    for (const [k, fit] of fits.entries()) {
      const from = performance.now();
      await fit.next();
      times[k]!.push((performance.now() - from) / 1000);
    }
  }
  for (const fit of fits) await fit.return(undefined as never);
  // Before the first event the step is compiled.
  return times.map((own) => own.slice(1).sort((a, b) => a - b)[Math.floor((own.length - 1) / 2)]!);
}
