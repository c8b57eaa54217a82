import { createHash } from 'node:crypto';
import { basename, extname, join, resolve } from 'node:path';
import {
  isTextTask,
  majorityRate,
  openTextData,
  type TextDataset,
  type TextMetric,
  type TextSplits,
  textScores,
} from '../../data/index.ts';
import { type JsonObject, type LanguageModel, loadLanguageModel, resolveDataset } from '../../hub/index.ts';
import { Random } from '../../runtime/index.ts';
import { EventQueue, InterruptedError } from '../events.ts';
import {
  createRun,
  exists,
  findRun,
  finishedRun,
  type RunProgress,
  type Runs,
  writeResult,
} from '../run-folder.ts';
import { weightsDigest } from '../weights-digest.ts';
import { fitLanguage } from './fit.ts';
import { findLanguageMethod } from './list.ts';
import { TextPredictor } from './predict.ts';
import { saveLanguageAdapter } from './saved.ts';
import type { TextTask } from './score.ts';

/** All that decides the result of a run on texts. */
export interface LanguageSettings {
  /** `zoo:NAME`, a folder, or `owner/name` of the Hub. */
  readonly model: string;
  readonly method: string;
  readonly options: JsonObject;
  /** What `openTextData` takes. */
  readonly data: string;
  /** Of a folder with several data sets, the one to read. */
  readonly config?: string;
  /** Columns of the text and of what is to be said of it, where they have unusual names. */
  readonly text?: readonly string[];
  readonly label?: string;
  /** Training texts, drawn by the seed; 0: all. */
  readonly count: number;
  readonly seed: number;
  readonly allowUnusedWeights?: boolean;
}

export interface LanguageResult extends LanguageSettings {
  readonly texts: { readonly train: number; readonly val: number; readonly test: number };
  /** Of test texts, by metric. */
  readonly scores: Partial<Record<TextMetric, number>>;
  /** Share of the most frequent class among the test texts: what always saying the same would give. */
  readonly majority?: number;
  readonly trainableParameters: number;
  readonly seconds: number;
  readonly runDir: string;
  readonly warnings: readonly string[];
}

const runName = (s: LanguageSettings): string => {
  const file = basename(s.data, extname(s.data)).replace(/[^\w.-]+/g, '-');
  return `${file}-${s.method}-seed${s.seed}`;
};

/** Adapts a language model to texts by a method, once for each seed, each in a run folder of its own. */
export async function* tuneLanguage(
  o: Runs<LanguageSettings>,
): AsyncGenerator<RunProgress, LanguageResult[]> {
  const results: LanguageResult[] = [];
  const base = await settled(o.settings);
  let bench: Bench | undefined;
  let dir: string | undefined;
  try {
    for (const seed of o.seeds) {
      const settings = { ...base, seed };
      const out = o.out && (o.seeds.length > 1 ? join(o.out, `seed${seed}`) : o.out);
      dir = await findRun(settings, runName(settings), out, o.resume ?? false);
      const finished = dir && (await finishedRun<LanguageResult>(dir));
      if (finished) {
        results.push(finished);
        continue;
      }
      bench ??= yield* openBench(base, o.signal);
      const fresh = dir === undefined;
      dir ??= await createRun(settings, runName(settings), out);
      yield { type: 'run', dir, seed };
      results.push(yield* run(bench, settings, { dir, resume: !fresh, signal: o.signal }));
    }
    return results;
  } catch (error) {
    if (!o.signal?.aborted) throw error;
    const go = dir && (await exists(dir)) ? `; continue with the same command and --resume` : '';
    throw new InterruptedError(`interrupted${go}`);
  }
}

/** With options checked and paths absolute, so that a run means the same from any folder. */
async function settled(s: Omit<LanguageSettings, 'seed'>): Promise<Omit<LanguageSettings, 'seed'>> {
  const absolute = async (spec: string) => ((await exists(spec)) ? resolve(spec) : spec);
  return {
    ...s,
    options: findLanguageMethod(s.method).options.parse(s.options) as JsonObject,
    model: await absolute(s.model),
    data: isTextTask(s.data) ? s.data : await absolute(s.data),
  };
}

/** What the runs of several seeds share. */
interface Bench {
  readonly model: LanguageModel;
  readonly data: TextSplits;
  readonly events: EventQueue<RunProgress>;
  readonly warnings: readonly string[];
}

async function* openBench(
  s: Omit<LanguageSettings, 'seed'>,
  signal: AbortSignal | undefined,
): AsyncGenerator<RunProgress, Bench> {
  const events = new EventQueue<RunProgress>();
  const warnings: string[] = [];
  yield { type: 'stage', text: `model ${s.model}` };
  const model = yield* events.during(
    loadLanguageModel(s.model, {
      signal,
      onUnusedWeights: s.allowUnusedWeights ? (text) => warnings.push(text) : undefined,
      onProgress: ({ bytes, totalBytes: total }) =>
        events.push({ type: 'progress', text: 'download (bytes)', done: bytes, total }),
    }),
  );
  yield { type: 'stage', text: `data ${s.data}` };
  const data = yield* events.during(openTexts(s, signal));
  warnings.push(...data.warnings);
  for (const text of warnings) yield { type: 'warning', text };
  return { model, data, events, warnings };
}

/** The texts of settings; those of the Hub are downloaded. */
export const openTexts = (
  { data, config, text, label }: Pick<LanguageSettings, 'data' | 'config' | 'text' | 'label'>,
  signal?: AbortSignal,
): Promise<TextSplits> =>
  openTextData(data, {
    ...(config !== undefined && { config }),
    ...(text && { text }),
    ...(label !== undefined && { label }),
    download: (spec, part) => resolveDataset(spec, { config: part, signal }),
  });

/** What is to be said of the texts of a data set. */
export const taskOf = ({ kind, classes, examples }: TextDataset): TextTask => ({
  kind,
  classes,
  parts: Object.keys(examples[0]?.parts ?? {}),
});

/** `count` of the texts, drawn by a seed; all where it is 0. */
export function drawTexts({ examples }: TextDataset, count: number, seed: number): TextDataset['examples'] {
  if (count === 0 || count >= examples.length) return examples;
  return new Random(seed, 'texts').shuffle(examples).slice(0, count);
}

async function* run(
  { model, data, events, warnings }: Bench,
  settings: LanguageSettings,
  place: { dir: string; resume: boolean; signal: AbortSignal | undefined },
): AsyncGenerator<RunProgress, LanguageResult> {
  const started = performance.now();
  const { dir, resume, signal } = place;
  const { seed, options } = settings;
  const task = taskOf(data.train);
  const train = drawTexts(data.train, settings.count, seed);
  const method = findLanguageMethod(settings.method);
  const classes = task.classes.length ? ` of ${task.classes.length} classes` : '';
  yield { type: 'stage', text: `${method.name} on ${train.length} texts${classes}` };
  const texts = JSON.stringify([train, data.val.examples]);
  const fingerprint = JSON.stringify({
    ...{ method: method.name, options, seed, task, base: await weightsDigest(model) },
    texts: createHash('sha256').update(texts).digest('hex'),
  });
  const fit = fitLanguage({
    ...{ model, method, options, task, train, val: data.val.examples, seed, fingerprint, dir, resume },
    ...(signal && { signal }),
  });
  let next = yield* events.during(fit.next());
  for (; !next.done; next = yield* events.during(fit.next())) yield { type: 'train', event: next.value };
  const { adapter, parameters, stopped } = next.value;
  if (stopped === 'interrupted') throw new InterruptedError();
  const test = data.test.examples;
  yield { type: 'stage', text: `scores on ${test.length} test texts` };
  const predictor = await TextPredictor.open(model, adapter);
  const onProgress = (done: number, total: number) =>
    events.push({ type: 'progress', text: 'test texts', done, total });
  const predictions = yield* events.during(
    predictor.predict(test, { onProgress, signal }).finally(() => predictor.release()),
  );
  const result: LanguageResult = {
    ...settings,
    texts: { train: train.length, val: data.val.examples.length, test: test.length },
    scores: textScores(
      data.test,
      predictions.map((p) => p.text),
    ),
    ...(task.kind === 'classification' && { majority: majorityRate(data.test) }),
    trainableParameters: parameters,
    seconds: Math.round(performance.now() - started) / 1000,
    runDir: dir,
    warnings,
  };
  const { scores } = result;
  await saveLanguageAdapter(dir, model, adapter, { data: settings.data, seed, scores });
  // Last: a folder with a result is a finished run.
  await writeResult(dir, result);
  return result;
}
