import { rm } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import {
  type DataSplits,
  type Dataset,
  fewShot,
  fewShotVal,
  isBuiltIn,
  openData,
  templateFor,
} from '../../data/index.ts';
import { type JsonObject, loadClip, saveAdapter } from '../../hub/index.ts';
import { zeroShot } from '../baselines/zero-shot.ts';
import { EventQueue, InterruptedError } from '../events.ts';
import { findMethod } from '../list.ts';
import {
  createRun,
  exists,
  findRun,
  finishedRun,
  type RunProgress,
  type Runs,
  writeResult,
} from '../run-folder.ts';
import { version } from '../version.ts';
import { weightsDigest } from '../weights-digest.ts';
import { evaluate } from './evaluate.ts';
import { exportClassifier } from './export.ts';
import { ImageFeatures } from './features.ts';
import { adapterConfig, type Base, fitAdapter } from './fit.ts';
import type { Adapter } from './task.ts';

/** All that decides the result of a run. */
export interface RunSettings {
  /** `zoo:NAME`, a folder, or `owner/name` of the Hub. */
  readonly model: string;
  readonly method: string;
  readonly options: JsonObject;
  /** `icons`, an image folder or a manifest. */
  readonly data: string;
  readonly shots: number;
  readonly seed: number;
  /** Default: the one of the data set. */
  readonly template?: string;
  readonly allowFewer?: boolean;
  readonly onBadImage?: 'error' | 'skip';
  readonly allowUnusedWeights?: boolean;
}

export type TuneOptions = Runs<RunSettings>;

export interface RunResult extends RunSettings {
  readonly template: string;
  readonly classes: number;
  readonly images: { readonly train: number; readonly val: number; readonly test: number };
  readonly zeroShot: { readonly accuracy: number };
  readonly tuned: { readonly accuracy: number };
  readonly trainableParameters: number;
  /** From the start to the tuned accuracy; where a run was resumed, since then. */
  readonly seconds: number;
  readonly runDir: string;
  readonly warnings: readonly string[];
}

export type RunEvent = RunProgress | { readonly type: 'zero-shot'; readonly accuracy: number };

/** Adapts a model to data by a method, once for each seed, each in a run folder of its own. */
export async function* tune(o: TuneOptions): AsyncGenerator<RunEvent, RunResult[]> {
  const results: RunResult[] = [];
  const base = await settled(o.settings);
  const { signal } = o;
  let bench: Bench | undefined;
  let dir: string | undefined;
  try {
    for (const seed of o.seeds) {
      const started = performance.now();
      const settings = { ...base, seed };
      const out = o.out && (o.seeds.length > 1 ? join(o.out, `seed${seed}`) : o.out);
      dir = await findRun(settings, runName(settings), out, o.resume ?? false);
      const finished = dir && (await finishedRun<RunResult>(dir));
      if (finished) {
        results.push(finished);
        continue;
      }
      bench ??= yield* openBench(base, signal);
      const { train, val } = draw(bench.data, settings);
      const fresh = dir === undefined;
      dir ??= await createRun(settings, runName(settings), out);
      yield { type: 'run', dir, seed };
      try {
        results.push(yield* run(bench, settings, { train, val, dir, resume: !fresh, started, signal }));
      } catch (error) {
        // A run that failed before its first checkpoint leaves nothing to go on from.
        if (fresh && !signal?.aborted && !(await exists(join(dir, 'checkpoint.safetensors')))) {
          await rm(dir, { recursive: true, force: true });
        }
        throw error;
      }
    }
    return results;
  } catch (error) {
    const how =
      o.seeds.length > 1 ? 'with the same command and --resume' : `with: npx attune tune --resume ${dir}`;
    const go = dir && (await exists(dir)) ? `; continue ${how}` : '';
    if (signal?.aborted) throw new InterruptedError(`interrupted${go}`);
    // What could not be read or written for a reason outside the program can go on when that is mended.
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    throw code && go ? new Error(`${(error as Error).message}${go}`, { cause: error }) : error;
  } finally {
    await bench?.features.release();
  }
}

/** With options checked and paths absolute, so that a run means the same from any folder. */
async function settled(s: Omit<RunSettings, 'seed'>): Promise<Omit<RunSettings, 'seed'>> {
  const absolute = async (spec: string) => ((await exists(spec)) ? resolve(spec) : spec);
  const options = findMethod(s.method).options.parse(s.options) as JsonObject;
  return {
    ...s,
    options,
    model: await absolute(s.model),
    data: isBuiltIn(s.data) ? s.data : await absolute(s.data),
  };
}

const dataName = (data: string): string =>
  basename(data, /^\.(csv|jsonl|ndjson)$/i.test(extname(data)) ? extname(data) : '').replace(
    /[^\w.-]+/g,
    '-',
  );

const runName = (s: RunSettings): string => `${dataName(s.data)}-${s.method}-${s.shots}shot-seed${s.seed}`;

/** What the runs of several seeds share. */
interface Bench extends Base {
  readonly data: DataSplits;
  readonly template: string;
  readonly events: EventQueue<RunEvent>;
  readonly warnings: readonly string[];
  zeroShot?: number;
}

async function* openBench(
  s: Omit<RunSettings, 'seed'>,
  signal?: AbortSignal,
): AsyncGenerator<RunEvent, Bench> {
  const events = new EventQueue<RunEvent>();
  const progress = (text: string) => (done: number, total: number) =>
    events.push({ type: 'progress', text, done, total });
  const warnings: string[] = [];
  yield { type: 'stage', text: `model ${s.model}` };
  const load = loadClip(s.model, {
    signal,
    onUnusedWeights: s.allowUnusedWeights ? (text) => warnings.push(text) : undefined,
    onProgress: ({ bytes, totalBytes }) => progress('download (bytes)')(bytes, totalBytes),
  });
  const model = yield* events.during(load);
  const digest = await weightsDigest(model);
  yield { type: 'stage', text: `data ${s.data}` };
  const open = openData(s.data, {
    minTrain: s.shots,
    onBadImage: s.onBadImage,
    onProgress: progress('rendering icons'),
  });
  const data = yield* events.during(open);
  warnings.push(...data.warnings);
  for (const text of warnings) yield { type: 'warning', text };
  const features = new ImageFeatures(model, { onProgress: progress('image features'), signal });
  const template = s.template ?? templateFor(data.train.name);
  return { model, digest, data, template, features, events, warnings };
}

const draw = ({ train, val }: DataSplits, { shots, seed, allowFewer = false }: RunSettings) => ({
  train: fewShot(train, shots, { seed, allowFewer }),
  val: val.examples.length ? fewShotVal(val, shots, seed) : val,
});

interface Place {
  readonly train: Dataset;
  readonly val: Dataset;
  readonly dir: string;
  readonly resume: boolean;
  readonly started: number;
  readonly signal: AbortSignal | undefined;
}

async function* run(
  bench: Bench,
  settings: RunSettings,
  { train, val, dir, resume, started, signal }: Place,
): AsyncGenerator<RunEvent, RunResult> {
  const { model, data, template, features, events } = bench;
  const method = findMethod(settings.method);
  const { options } = settings;
  const { classes } = train;
  const test = async (adapter: Adapter) => {
    const classifier = await adapter.classifier(model, classes, template);
    const { accuracy } = await evaluate(model, classifier, data.test, features, { signal });
    return { classifier, accuracy };
  };
  if (bench.zeroShot === undefined) {
    yield { type: 'stage', text: `zero-shot accuracy on ${data.test.examples.length} images` };
    bench.zeroShot = (yield* events.during(
      test(zeroShot.restore({ options: { ensemble: false }, tensors: {} })),
    )).accuracy;
  }
  yield { type: 'zero-shot', accuracy: bench.zeroShot };

  yield {
    type: 'stage',
    text: `${method.name} on ${train.examples.length} images of ${classes.length} classes`,
  };
  const { shots, seed } = settings;
  const fit = { method: method.name, options, shots, seed, template, train, val, dir, resume, signal };
  const adapter = yield* fitAdapter(bench, fit, events);

  yield { type: 'stage', text: `tuned accuracy on ${data.test.examples.length} images` };
  const { classifier, accuracy } = yield* events.during(test(adapter));
  const result: RunResult = {
    ...settings,
    template,
    classes: classes.length,
    images: {
      train: train.examples.length,
      val: val.examples.length,
      test: data.test.examples.length,
    },
    zeroShot: { accuracy: bench.zeroShot },
    tuned: { accuracy },
    trainableParameters: adapter.parameters,
    seconds: Math.round(performance.now() - started) / 1000,
    runDir: dir,
    warnings: bench.warnings,
  };
  yield { type: 'stage', text: 'adapter and ONNX classifier' };
  const config = {
    ...adapterConfig(settings.model, bench, settings.data, fit),
    results: { zeroShot: result.zeroShot, tuned: result.tuned, trainableParameters: adapter.parameters },
  };
  await saveAdapter(dir, { config, tensors: adapter.tensors });
  await exportClassifier(join(dir, 'classifier.onnx'), model, classifier, {
    labels: classes,
    template,
    method: method.name,
    producer: `attune ${version}`,
  });
  // Last: a folder with a result is a finished run.
  await writeResult(dir, result);
  return result;
}
