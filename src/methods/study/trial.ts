/** One training with its tests, in a run folder named by all that decides its result. */
import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { type DataSplits, openData, templateFor } from '../../data/index.ts';
import { type JsonObject, loadClip, readJson, saveAdapter, writeAtomic } from '../../hub/index.ts';
import { EventQueue } from '../events.ts';
import { findMethod } from '../list.ts';
import { version } from '../version.ts';
import { evaluate } from '../vlm/evaluate.ts';
import { ImageFeatures } from '../vlm/features.ts';
import { adapterConfig, type Base, fitAdapter, imagesDigest } from '../vlm/fit.ts';
import type { RunEvent } from '../vlm/run.ts';
import { weightsDigest } from '../weights-digest.ts';
import { codeVersion } from './code-version.ts';
import { FeatureCache } from './feature-cache.ts';
import { type Plan, type Protocol, planOf } from './protocols.ts';

/** What one training of a study is. */
export interface TrialSettings {
  readonly protocol: Protocol;
  readonly model: string;
  readonly method: string;
  readonly options: JsonObject;
  readonly data: string;
  readonly shots: number;
  readonly seed: number;
  readonly targets?: readonly string[];
  readonly domain?: string;
}

export interface TestScore {
  /** Share of images whose highest logit is at their label; null where the method holds for the trained classes only. */
  readonly accuracy: number | null;
  readonly images: number;
  readonly classes: number;
}

export interface TrialResult extends TrialSettings {
  /** `test`; `base` and `new`; `source` and the names of targets or domains. */
  readonly tests: Readonly<Record<string, TestScore>>;
  readonly trainImages: number;
  readonly trainableParameters: number;
  readonly seconds: number;
  readonly runDir: string;
}

const resultFile = 'result.json';
const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** Runs trials on one model; data, features and programs are opened once. */
export class TrialRunner {
  private readonly data = new Map<string, Promise<DataSplits>>();
  readonly events = new EventQueue<RunEvent>();

  private constructor(
    private readonly spec: string,
    private readonly base: Base,
    private readonly cache: FeatureCache,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** @param spec the model: `zoo:NAME`, a folder, or `owner/name`. */
  static async open(spec: string, signal?: AbortSignal): Promise<TrialRunner> {
    const model = await loadClip(spec, { signal });
    const progress = (done: number, total: number) =>
      runner.events.push({ type: 'progress', text: 'image features', done, total });
    const features = new ImageFeatures(model, { signal, onProgress: progress });
    const base = { model, digest: await weightsDigest(model), features };
    const runner = new TrialRunner(spec, base, new FeatureCache(base), signal);
    return runner;
  }

  /** The result that the run folder below `out` has, or that of a run made now or continued. */
  async *run(trial: TrialSettings, out: string): AsyncGenerator<RunEvent, TrialResult & { reused: boolean }> {
    const started = performance.now();
    const data = yield* this.events.during(this.open(trial.data));
    const targets = yield* this.events.during(
      Promise.all((trial.targets ?? []).map((target) => this.open(target))),
    );
    const plan = planOf(data, { ...trial, targets });
    const dir = join(out, `${nameOf(trial)}-${await this.keyOf(trial, plan, [data, ...targets])}`);
    const finished = await readJson(join(dir, resultFile));
    if (finished) return { ...(finished as unknown as TrialResult), runDir: dir, reused: true };

    const resume = (await stat(dir).catch(() => undefined)) !== undefined;
    await mkdir(dir, { recursive: true });
    await writeAtomic(join(dir, 'trial.json'), [json({ attune: version, ...trial })]);
    yield { type: 'run', dir, seed: trial.seed };
    const warm = async () => {
      for (const set of [plan.train, plan.val, ...plan.tests.map((t) => t.data)]) await this.cache.warm(set);
    };
    yield* this.events.during(warm());
    const { method, options, shots, seed } = trial;
    const { train, val } = plan;
    const template = templateFor(data.train.name);
    const fit = { method, options, shots, seed, template, train, val, dir, resume, signal: this.signal };
    const adapter = yield* fitAdapter(this.base, fit, this.events);
    const tests: Record<string, TestScore> = {};
    for (const test of plan.tests) {
      const { classes, examples } = test.data;
      const about = { images: examples.length, classes: classes.length };
      const foreign = adapter.fixedClasses && String(classes) !== String(train.classes);
      const measure = async () => {
        // What was learned stands in for the words of the source's prompt; a model as it is needs the target's own.
        const prompt = adapter.parameters === 0 ? test.template : template;
        const classifier = await adapter.classifier(this.base.model, classes, prompt);
        const { model, features } = this.base;
        return (await evaluate(model, classifier, test.data, features, { signal: this.signal })).accuracy;
      };
      tests[test.name] = { accuracy: foreign ? null : yield* this.events.during(measure()), ...about };
    }
    const result: TrialResult = {
      ...trial,
      tests,
      trainImages: train.examples.length,
      trainableParameters: adapter.parameters,
      seconds: Math.round(performance.now() - started) / 1000,
      runDir: dir,
    };
    const config = { ...adapterConfig(this.spec, this.base, trial.data, fit), results: tests };
    await saveAdapter(dir, { config, tensors: adapter.tensors });
    await writeAtomic(join(dir, resultFile), [json(result)]);
    return { ...result, reused: false };
  }

  release = (): Promise<void> => this.base.features.release();

  private open(source: string): Promise<DataSplits> {
    const { signal } = this;
    signal?.throwIfAborted();
    const onProgress = (done: number, total: number) =>
      this.events.push({ type: 'progress', text: 'rendering icons', done, total });
    const pending = this.data.get(source) ?? openData(source, { onProgress });
    this.data.set(source, pending);
    return pending;
  }

  /** A digest of settings, images, weights and code: two runs with the same key have the same result. */
  private async keyOf(
    { model: _spec, data: _path, ...trial }: TrialSettings,
    plan: Plan,
    data: DataSplits[],
  ): Promise<string> {
    const method = findMethod(trial.method);
    const options = method.options.parse(trial.options);
    const sets = [plan.train, plan.val, ...plan.tests.map((t) => t.data)];
    const decisive = {
      ...trial,
      options,
      files: await method.digest?.(this.base.model, options),
      model: this.base.digest,
      classes: sets.map((set) => set.classes),
      images: imagesDigest(...sets),
      versions: data.map(({ train }) => [train.name, train.version]),
      code: codeVersion(import.meta.url),
    };
    return createHash('sha256').update(JSON.stringify(decisive)).digest('hex').slice(0, 12);
  }
}

const nameOf = ({ protocol, data, method, shots, seed }: TrialSettings): string => {
  const source = basename(data, /^\.(csv|jsonl|ndjson)$/i.test(extname(data)) ? extname(data) : '');
  return `${protocol}-${source.replace(/[^\w.-]+/g, '-')}-${method}-${shots}shot-seed${seed}`;
};
