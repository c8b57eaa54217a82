import { type ChildProcess, fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { EventQueue, InterruptedError } from '../events.ts';
import type { RunEvent } from '../vlm/run.ts';
import type { TrialResult, TrialSettings } from './trial.ts';

type Result = TrialResult & { readonly reused: boolean };

/** From the parent: a trial to run; or, by the signal, an end after the step under way. */
export type ToWorker =
  | { readonly type: 'run'; readonly trial: TrialSettings; readonly out: string }
  | { readonly type: 'stop' };
export type FromWorker =
  | { readonly type: 'event'; readonly event: RunEvent }
  | { readonly type: 'result'; readonly result: Result }
  | { readonly type: 'failed'; readonly message: string };

export type PoolEvent =
  | RunEvent
  | { readonly type: 'result'; readonly index: number; readonly result: Result };

/** Trials over several processes with one thread each. A process keeps to one data set while it has trials. */
export class TrialPool {
  private readonly queue: number[];
  private readonly workers: ChildProcess[] = [];
  private readonly opened = new Set<string>();

  constructor(
    private readonly trials: readonly TrialSettings[],
    private readonly out: string,
    private readonly processes: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.queue = trials.map((_, i) => i);
  }

  async *events(): AsyncGenerator<PoolEvent, void> {
    const events = new EventQueue<PoolEvent>();
    const stop = () => this.tell({ type: 'stop' });
    this.signal?.addEventListener('abort', stop);
    try {
      let failure: unknown;
      // The first failure ends the other lanes too.
      const lanes = Array.from({ length: this.processes }, () =>
        this.lane(events).catch((error) => {
          failure ??= error;
          this.queue.length = 0;
          stop();
        }),
      );
      yield* events.during(Promise.all(lanes));
      if (failure) throw failure;
      this.signal?.throwIfAborted();
    } catch (error) {
      throw this.signal?.aborted ? new InterruptedError('interrupted; the same command goes on') : error;
    } finally {
      this.signal?.removeEventListener('abort', stop);
      // They heed no signal, since Ctrl-C reaches them too, but end with the channel.
      for (const worker of this.workers) if (worker.connected) worker.disconnect();
    }
  }

  private tell(message: ToWorker): void {
    for (const worker of this.workers) if (worker.connected) worker.send(message);
  }

  /** The next trial: of the same data; else of data that no process has opened; else any. */
  private take(last: string | undefined): number | undefined {
    const data = (i: number) => this.trials[i]!.data;
    const same = this.queue.findIndex((i) => data(i) === last);
    const fresh = this.queue.findIndex((i) => !this.opened.has(data(i)));
    const [index] = this.queue.splice(same >= 0 ? same : Math.max(0, fresh), 1);
    if (index !== undefined) this.opened.add(data(index));
    return index;
  }

  private async lane(events: EventQueue<PoolEvent>): Promise<void> {
    const worker = startWorker();
    this.workers.push(worker);
    let last: string | undefined;
    for (let i = this.take(last); i !== undefined && !this.signal?.aborted; i = this.take(last)) {
      const trial = this.trials[i]!;
      last = trial.data;
      const result = await ask(worker, { type: 'run', trial, out: this.out }, events.push);
      events.push({ type: 'result', index: i, result });
    }
    worker.disconnect();
  }
}

/** The worker as this process runs: built, or from TypeScript through tsx. */
function startWorker(): ChildProcess {
  const extension = extname(import.meta.filename);
  const loader =
    extension === '.ts'
      ? ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href]
      : [];
  return fork(join(import.meta.dirname, `worker${extension}`), {
    execArgv: loader,
    env: { ...process.env, ATTUNE_THREADS: '1' },
  });
}

function ask(worker: ChildProcess, message: ToWorker, onEvent: (event: RunEvent) => void): Promise<Result> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      worker.off('message', listen).off('exit', died).off('error', died);
      settle();
    };
    const died = (cause: unknown) =>
      end(() => reject(new Error(`a worker process ended before its trial was done (${cause})`)));
    const listen = (answer: FromWorker) => {
      if (answer.type === 'event') onEvent(answer.event);
      else if (answer.type === 'result') end(() => resolve(answer.result));
      else end(() => reject(new Error(answer.message)));
    };
    worker.on('message', listen).on('exit', died).on('error', died);
    worker.send(message);
  });
}
