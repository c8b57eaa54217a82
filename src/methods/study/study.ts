/** Many trials under one protocol: methods × data sets × shots × seeds. */
import { availableParallelism } from 'node:os';
import type { JsonObject } from '../../hub/index.ts';
import { InterruptedError } from '../events.ts';
import { findMethod } from '../list.ts';
import type { RunEvent } from '../vlm/run.ts';
import { TrialPool } from './pool.ts';
import { type Protocol, testsOtherClasses } from './protocols.ts';
import { type TrialResult, TrialRunner, type TrialSettings } from './trial.ts';

/** A method with the options that differ from its defaults. */
export interface MethodChoice {
  readonly method: string;
  readonly options?: JsonObject;
  /** What to call it in tables; default: its name with its options. */
  readonly label?: string;
}

export interface StudySettings {
  readonly protocol: Protocol;
  /** Default `zoo:icon-clip`. */
  readonly model?: string;
  readonly methods: readonly (string | MethodChoice)[];
  readonly data: readonly string[];
  readonly shots: readonly number[];
  readonly seeds: readonly number[];
  /** Other data sets to test on (cross-dataset; domain-generalisation where data has no domains of its own). */
  readonly targets?: readonly string[];
  /** domain-generalisation: the domain to train on; default: the one with most training images. */
  readonly domain?: string;
}

export interface StudyOptions {
  /** Where the run folders lie; a trial whose folder is finished is not run again. Default `runs/study`. */
  readonly out?: string;
  /** Processes, each on one thread; default: one a core, up to the number of trials. 1: this process, on all cores. */
  readonly jobs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface StudyTrial extends TrialResult {
  readonly label: string;
}

export type StudyEvent =
  | RunEvent
  /** A trial is done, or was done before (`reused`). */
  | {
      readonly type: 'trial';
      readonly done: number;
      readonly total: number;
      readonly trial: StudyTrial;
      readonly reused: boolean;
    };

export const labelOf = ({ method, options = {}, label }: MethodChoice): string =>
  label ??
  [method, ...Object.entries(options).map(([k, v]) => (v === true ? k : `${k}=${String(v)}`))].join(':');

/** Every trial of the study, checked before the first is run. Options of a method that only some protocols need are set. */
export function trialsOf(s: StudySettings): { label: string; settings: TrialSettings }[] {
  const { protocol, model = 'zoo:icon-clip', targets, domain } = s;
  const choices = s.methods.map((m) => (typeof m === 'string' ? { method: m } : m));
  const labels = choices.map(labelOf);
  const twice = labels.find((label, i) => labels.indexOf(label) !== i);
  if (twice !== undefined) throw new Error(`the method ${twice} is named twice`);
  return s.data.flatMap((data) =>
    choices.flatMap((choice) => {
      const method = findMethod(choice.method);
      const standard = testsOtherClasses(protocol) ? method.acrossClasses : {};
      const options: JsonObject = method.options.parse({ ...standard, ...choice.options });
      return s.shots.flatMap((shots) =>
        s.seeds.map((seed) => ({
          label: labelOf(choice),
          settings: {
            protocol,
            model,
            method: method.name,
            options,
            data,
            shots,
            seed,
            ...(targets && { targets }),
            ...(domain !== undefined && { domain }),
          },
        })),
      );
    }),
  );
}

/** Runs the trials that are not done yet, in this process or in several, and returns all in the study's order. */
export async function* study(
  settings: StudySettings,
  { out = 'runs/study', jobs, signal }: StudyOptions = {},
): AsyncGenerator<StudyEvent, StudyTrial[]> {
  const trials = trialsOf(settings);
  const results: (StudyTrial | undefined)[] = trials.map(() => undefined);
  let done = 0;
  const finish = (i: number, { reused, ...result }: TrialResult & { reused: boolean }): StudyEvent => {
    const trial = { ...result, label: trials[i]!.label };
    results[i] = trial;
    return { type: 'trial', done: ++done, total: trials.length, trial, reused };
  };
  const processes = Math.min(jobs ?? availableParallelism(), trials.length);
  if (processes > 1) {
    const pool = new TrialPool(
      trials.map((t) => t.settings),
      out,
      processes,
      signal,
    );
    for await (const event of pool.events())
      yield event.type === 'result' ? finish(event.index, event.result) : event;
  } else {
    const runner = await TrialRunner.open(trials[0]!.settings.model, signal);
    try {
      for (const [i, { settings }] of trials.entries()) yield finish(i, yield* runner.run(settings, out));
    } catch (error) {
      throw signal?.aborted ? new InterruptedError('interrupted; the same command goes on') : error;
    } finally {
      await runner.release();
    }
  }
  return results.map((r) => r!);
}
