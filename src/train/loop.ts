import type { Progress } from '../nn/index.ts';
import type { RunFolder } from './folder.ts';
import type { TrainState, TrainStep, Values } from './step.ts';

export type TrainEvent =
  | {
      readonly type: 'start';
      readonly step: number;
      readonly totalSteps: number;
      readonly parameters: number;
    }
  | {
      readonly type: 'step';
      /** Steps finished so far. */
      readonly step: number;
      readonly epoch: number;
      readonly totalSteps: number;
      readonly metrics: Readonly<Record<string, number>>;
      /** What `build` returned that is no scalar. */
      readonly observed: Values;
      /** Seconds that training has left at the present pace. */
      readonly secondsLeft: number;
    }
  | { readonly type: 'evaluation'; readonly step: number; readonly metrics: Readonly<Record<string, number>> }
  | { readonly type: 'checkpoint'; readonly step: number; readonly path: string };

export interface Evaluation {
  /** Evaluate after every so many steps, and after the last. */
  readonly every: number;
  run(state: TrainState): Promise<Record<string, number>>;
  /** Stop when `metric` has not improved for `patience` evaluations; the best parameters are returned. */
  readonly earlyStop?: {
    readonly metric: string;
    readonly patience: number;
    readonly higherIsBetter: boolean;
  };
}

export interface TrainOptions {
  readonly step: TrainStep;
  readonly seed: number;
  readonly totalSteps: number;
  readonly stepsPerEpoch: number;
  /**
   * The batch of a step: a pure function of its position and of the parameters before it, so that a resumed run sees the
   * same data. The parameters are lent until the batch is there.
   */
  batch(progress: Progress, params: Values): Values | Promise<Values>;
  readonly evaluation?: Evaluation;
  /** Where `checkpoint.safetensors` and `metrics.jsonl` go; without it nothing is written. */
  readonly dir?: string;
  readonly checkpointEvery?: number;
  /** Continue from the checkpoint in `dir`, if there is one. */
  readonly resume?: boolean;
  /** Describes the run; a checkpoint of another description is refused. */
  readonly fingerprint?: string;
  /**
   * Ends the training with `stopped: 'interrupted'`, after a checkpoint where there is a `dir`. A step under way in this
   * thread is finished first; one in a worker is given up.
   */
  readonly signal?: AbortSignal;
}

export interface TrainResult {
  readonly params: Values;
  readonly step: number;
  readonly stopped: 'end' | 'early' | 'interrupted';
}

/** Training went wrong in a way that more steps will not mend. */
export class DivergedError extends Error {}

/**
 * Trains, as a generator of events. With a `dir`, a run that is killed at any moment and resumed ends with the same
 * parameters, bit for bit, as one that was not: a checkpoint holds all state, and batches depend on the step alone.
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, TrainResult> {
  const { step: program, seed, totalSteps, stepsPerEpoch, dir, evaluation, signal } = options;
  const store = dir === undefined ? undefined : await openFolder(dir, options.fingerprint ?? '');
  const saved = options.resume ? await store?.load() : undefined;
  let state = saved?.state ?? (await program.init(seed));
  let best = saved?.best;
  let done = saved?.step ?? 0;
  const log: string[] = (await store?.keepMetrics(done)) ?? [];
  const checkpoint = async (): Promise<TrainEvent> => {
    requireFinite(state.params, done);
    // Metrics first: lines behind the checkpoint are dropped when it is resumed, missing ones could not be made again.
    await store!.writeMetrics(log);
    await store!.save({ state, step: done, best });
    lastSaved = done;
    return { type: 'checkpoint', step: done, path: store!.checkpointPath };
  };

  yield { type: 'start', step: done, totalSteps, parameters: program.parameterCount };
  const started = performance.now();
  const first = done;
  let lastSaved = done;
  const watch = new DivergenceWatch(stepsPerEpoch);
  for (const { loss } of log.map((line) => JSON.parse(line))) if (loss !== undefined) watch.seen(loss);
  let early = best ? best.stale >= (evaluation?.earlyStop?.patience ?? Number.POSITIVE_INFINITY) : false;
  /** The state before this one, if its arrays are ours: others may keep the first, and those that were evaluated. */
  let spare: TrainState | undefined;
  let kept = true;
  while (done < totalSteps && !early) {
    if (signal?.aborted) {
      if (store && done > lastSaved) yield await checkpoint();
      return { params: state.params, step: done, stopped: 'interrupted' };
    }
    const progress = { step: done, epoch: Math.floor(done / stepsPerEpoch), stepsPerEpoch, totalSteps };
    const result = await program
      .run(state, await options.batch(progress, state.params), progress, { signal, recycle: spare })
      .catch((error) => {
        if (!signal?.aborted || error !== signal.reason) throw error;
      });
    if (!result) continue;
    spare = kept ? undefined : state;
    kept = false;
    state = result.state;
    done++;
    log.push(JSON.stringify({ step: done, epoch: progress.epoch, ...result.metrics }));
    const trouble = watch.trouble(result.metrics);
    if (trouble) {
      await store?.writeMetrics(log);
      throw diverged(done, trouble);
    }
    const pace = (performance.now() - started) / 1000 / (done - first);
    const secondsLeft = pace * (totalSteps - done);
    yield {
      type: 'step',
      step: done,
      epoch: progress.epoch,
      totalSteps,
      metrics: result.metrics,
      observed: result.observed,
      secondsLeft,
    };

    if (evaluation && (done % evaluation.every === 0 || done === totalSteps)) {
      kept = true;
      const metrics = await evaluation.run(state);
      log.push(JSON.stringify({ step: done, evaluation: metrics }));
      if (evaluation.earlyStop) best = updateBest(best, metrics, evaluation.earlyStop, state.params, done);
      early = best !== undefined && best.stale >= evaluation.earlyStop!.patience;
      yield { type: 'evaluation', step: done, metrics };
    }
    if (store && (done % (options.checkpointEvery ?? 100) === 0 || done === totalSteps || early)) {
      yield await checkpoint();
    }
  }
  requireFinite(state.params, done);
  return { params: best?.params ?? state.params, step: best?.step ?? done, stopped: early ? 'early' : 'end' };
}

/** Files are Node's alone: what deals with them is loaded when it is needed, by a name that no bundler follows. */
async function openFolder(dir: string, fingerprint: string): Promise<RunFolder> {
  const module = './folder.ts';
  const { RunFolder }: typeof import('./folder.ts') = await import(/* @vite-ignore */ module);
  return RunFolder.open(dir, fingerprint);
}

/** The best evaluation so far. */
export interface Best {
  readonly params: Values;
  readonly value: number;
  readonly step: number;
  /** Evaluations since the best one. */
  readonly stale: number;
}

function updateBest(
  best: Best | undefined,
  metrics: Record<string, number>,
  rule: NonNullable<Evaluation['earlyStop']>,
  params: Values,
  step: number,
): Best {
  const value = metrics[rule.metric];
  if (value === undefined) {
    throw new Error(
      `Early stop watches "${rule.metric}", but evaluation reports ${Object.keys(metrics).join(', ')}`,
    );
  }
  if (!Number.isFinite(value)) throw diverged(step, `${rule.metric} of the evaluation is ${value}`);
  const better = !best || (rule.higherIsBetter ? value > best.value : value < best.value);
  return better ? { params, value, step, stale: 0 } : { ...best, stale: best.stale + 1 };
}

function diverged(step: number, what: string): DivergedError {
  return new DivergedError(
    `Step ${step}: ${what}. Training diverged: lower the learning rate, clip gradients, or check the data.`,
  );
}

/** The loss of a step is that of the parameters before it: what the step made of them is seen here. */
function requireFinite(params: Values, step: number): void {
  for (const [name, { data }] of Object.entries(params)) {
    if (!(data as Float32Array).every(Number.isFinite)) throw diverged(step, `"${name}" is not finite`);
  }
}

/**
 * Tells a loss that is no longer a number, or that has left its range for good: its mean over about an epoch, since
 * single steps of few examples go up and down by far more than that.
 */
class DivergenceWatch {
  private smoothed = 0;
  private lowest = Number.POSITIVE_INFINITY;
  private steps = 0;
  private readonly horizon: number;

  constructor(stepsPerEpoch: number) {
    this.horizon = Math.min(Math.max(stepsPerEpoch, 10), 200);
  }

  seen(loss: number): void {
    this.steps++;
    this.smoothed += (loss - this.smoothed) / Math.min(this.steps, this.horizon);
    if (this.steps >= this.horizon) this.lowest = Math.min(this.lowest, this.smoothed);
  }

  trouble(metrics: Record<string, number>): string | undefined {
    const bad = Object.entries(metrics).find(([, value]) => !Number.isFinite(value));
    if (bad) return `${bad[0]} is ${bad[1]}`;
    this.seen(metrics.loss!);
    if (this.smoothed <= 10 * Math.max(this.lowest, 0.1)) return undefined;
    return `the loss rose to ${this.smoothed.toPrecision(3)} from ${this.lowest.toPrecision(3)}`;
  }
}
