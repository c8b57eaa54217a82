/** The process that `TrialPool` starts: runs one trial after another and reports by messages. */
import type { FromWorker, ToWorker } from './pool.ts';
import { TrialRunner } from './trial.ts';

const interrupt = new AbortController();
// Ctrl-C reaches every process of the terminal; the parent says when to stop.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit());

const runners = new Map<string, Promise<TrialRunner>>();
const send = (message: FromWorker) => process.send?.(message);

async function run({ trial, out }: Extract<ToWorker, { type: 'run' }>): Promise<void> {
  const runner = runners.get(trial.model) ?? TrialRunner.open(trial.model, interrupt.signal);
  runners.set(trial.model, runner);
  const events = (await runner).run(trial, out);
  let next = await events.next();
  for (; !next.done; next = await events.next()) {
    if (next.value.type !== 'train') send({ type: 'event', event: next.value });
  }
  send({ type: 'result', result: next.value });
}

process.on('message', (message: ToWorker) => {
  if (message.type === 'stop') return interrupt.abort();
  run(message).catch((error: Error) => send({ type: 'failed', message: error.message }));
});
