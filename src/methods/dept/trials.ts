/** What the claims of DePT and EPT compare: prompts of one budget of parameters on a small frozen T5. */
import { openTextData } from '../../data/index.ts';
import { loadLanguageModel } from '../../hub/index.ts';
import { fitLanguage } from '../lm/fit.ts';
import { findLanguageMethod } from '../lm/list.ts';
import { drawTexts, taskOf } from '../lm/run.ts';
import type { Plan, Trials, Variant } from '../lm/trials.ts';
import * as trials from '../lm/trials.ts';
import type { Chart, Lab } from '../reproduction.ts';

const model = 'zoo:words-t5';

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

const shared = { batch: 16, maxLength: 32, evaluations: 4 };
const planOf = ({ quick }: Lab): Plan =>
  quick
    ? { model, tasks: ['fiction'], seeds: [1], count: 64, tests: 64, options: { ...shared, steps: 4 } }
    : {
        ...{ model, tasks: ['fiction', 'spam'], seeds: [1, 2, 3], count: 1000, tests: 500 },
        options: { ...shared, steps: 300 },
      };

export const trialsOf = (lab: Lab, variant: Variant): Promise<Trials> =>
  trials.trialsOf(lab, planOf(lab), variant);
export const bars = (lab: Lab, title: string, found: Readonly<Record<string, Trials>>): Chart =>
  trials.bars(planOf(lab), title, found);

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
