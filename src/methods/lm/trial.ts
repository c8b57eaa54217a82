import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openTextData, type TextDataset, type TextSplits, textScores } from '../../data/index.ts';
import { type JsonObject, loadLanguageModel, readJson, writeAtomic } from '../../hub/index.ts';
import { InterruptedError } from '../events.ts';
import type { Lab } from '../reproduction.ts';
import { codeVersion } from '../study/code-version.ts';
import { fitLanguage } from './fit.ts';
import { findLanguageMethod } from './list.ts';
import { TextPredictor } from './predict.ts';
import { drawTexts, taskOf } from './run.ts';
import { saveLanguageAdapter } from './saved.ts';

/** A training on a built-in task (or any text data), and its test. */
export interface LanguageTrial {
  /** `zoo:NAME`, or a folder. */
  readonly model: string;
  readonly method: string;
  readonly options: JsonObject;
  readonly data: string;
  readonly seed: number;
  /** Training texts, drawn by the seed; all by default. */
  readonly count?: number;
  /** Test texts, the first ones, and validation texts; all by default. */
  readonly tests?: number;
  readonly vals?: number;
  /** Gives training texts of other labels, such as drawn ones; named `label` in the trial's digest. */
  readonly change?: {
    readonly label: string;
    texts(train: TextDataset['examples']): TextDataset['examples'];
  };
}

export interface LanguageTrialResult {
  /** The task's first metric on test texts, and the best score on validation texts. */
  readonly test: number;
  readonly val: number;
  readonly parameters: number;
  /** Mean seconds of a step, without compilation and validation. */
  readonly stepSeconds: number;
  /** Validation scores and losses in the course of the training. */
  readonly evaluations: readonly { readonly step: number; readonly score: number; readonly loss: number }[];
  /** Where the adapter lies. */
  readonly dir: string;
}

const data = new Map<string, Promise<TextSplits>>();
const opened = (spec: string): Promise<TextSplits> => {
  const known = data.get(spec) ?? openTextData(spec);
  data.set(spec, known);
  return known;
};

/** Trains and tests, or returns what the same code measured before. */
export async function languageTrial(
  { dir: root, signal, say }: Pick<Lab, 'dir' | 'signal' | 'say'>,
  { change, ...trial }: LanguageTrial,
): Promise<LanguageTrialResult> {
  const about = JSON.stringify({ ...trial, change: change?.label, code: codeVersion(import.meta.url) });
  const digest = createHash('sha256').update(about).digest('hex').slice(0, 16);
  const dir = join(root, `${trial.data}-${trial.method}-${digest}`);
  const known = (await readJson(join(dir, 'trial.json'))) as unknown as LanguageTrialResult | undefined;
  if (known) return { ...known, dir };
  const model = await loadLanguageModel(trial.model);
  const data = await opened(trial.data);
  const method = findLanguageMethod(trial.method);
  const task = taskOf(data.train);
  const drawn = drawTexts(data.train, trial.count ?? 0, trial.seed);
  const train = change ? change.texts(drawn) : drawn;
  const events = fitLanguage({
    ...{
      model,
      method,
      options: trial.options,
      task,
      train,
      val: data.val.examples.slice(0, trial.vals),
      seed: trial.seed,
    },
    ...(signal && { signal }),
  });
  const evaluations: { step: number; score: number; loss: number }[] = [];
  let [seconds, steps] = [0, 0];
  let started = performance.now();
  let next = await events.next();
  for (; !next.done; next = await events.next()) {
    if (next.value.type === 'step') {
      // The first step waits for memory, and is left out.
      if (steps++) seconds += (performance.now() - started) / 1000;
    }
    if (next.value.type === 'evaluation') {
      const { score, loss } = next.value.metrics;
      evaluations.push({ step: next.value.step, score: score!, loss: loss! });
    }
    started = performance.now();
  }
  const { adapter, parameters, stopped } = next.value;
  if (stopped === 'interrupted') throw new InterruptedError('interrupted; the same command goes on');
  const test = { ...data.test, examples: data.test.examples.slice(0, trial.tests) };
  const predictor = await TextPredictor.open(model, adapter);
  const predictions = await predictor.predict(test.examples, { signal }).finally(() => predictor.release());
  const scores = textScores(
    test,
    predictions.map((p) => p.text),
  );
  const result = {
    test: scores[test.metrics[0]!]!,
    val: Math.max(...evaluations.map((e) => e.score)),
    parameters,
    stepSeconds: seconds / Math.max(1, steps - 1),
    evaluations,
  };
  say(
    `  ${trial.data}, ${trial.method}, seed ${trial.seed}: ${(100 * result.test).toFixed(1)} %, ` +
      `${(1000 * result.stepSeconds).toFixed(0)} ms a step`,
  );
  await mkdir(dir, { recursive: true });
  await saveLanguageAdapter(dir, model, adapter);
  await writeAtomic(join(dir, 'trial.json'), [JSON.stringify(result)]);
  return { ...result, dir };
}
