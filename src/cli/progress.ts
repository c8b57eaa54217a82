import type { RunEvent, StudyEvent } from '../methods/index.ts';
import type { TrainEvent } from '../train/index.ts';
import { type Io, percent } from './io.ts';

/** Milliseconds between two messages about the same work. */
const often = 100;
const rarely = 10_000;

/** Progress on standard error: one line that changes on a terminal, a line now and then elsewhere. */
export class Progress {
  private work = { text: '', since: 0 };
  private last = 0;
  private open = false;

  constructor(private readonly io: Io) {}

  /** A line that stays. */
  say(text: string): void {
    this.clear();
    this.io.err(`${text}\n`);
  }

  update(text: string, done: number, total: number, secondsLeft?: number, details = ''): void {
    const now = performance.now();
    if (this.work.text !== text) {
      this.work = { text, since: now };
      this.last = this.io.tty ? 0 : now;
    }
    if (now - this.last < (this.io.tty ? often : rarely)) return;
    this.last = now;
    const left = secondsLeft ?? ((now - this.work.since) / 1000 / Math.max(1, done)) * (total - done);
    const line = `  ${text} ${done}/${total} (${Math.floor((100 * done) / Math.max(1, total))} %)${details}, ${duration(left)} left`;
    this.clear();
    this.io.err(this.io.tty ? line.slice(0, 110) : `${line}\n`);
    this.open = this.io.tty;
  }

  /** Takes the changing line away. */
  clear(): void {
    if (this.open) this.io.err('\r\x1b[K');
    this.open = false;
  }

  run = (event: RunEvent): void => {
    if (event.type === 'stage') this.say(event.text);
    else if (event.type === 'warning') this.say(`warning: ${event.text}`);
    else if (event.type === 'progress') this.update(event.text, event.done, event.total);
    else if (event.type === 'run') this.say(`run folder ${event.dir} (seed ${event.seed})`);
    else if (event.type === 'zero-shot') this.say(`  zero-shot ${percent(event.accuracy)}`);
    else this.train(event.event);
  };

  /** Of several processes at once, only whole trials make sense on one line. */
  study = (event: StudyEvent): void => {
    if (event.type === 'progress') this.run(event);
    if (event.type !== 'trial' || event.reused) return;
    const { label, data, shots, seed } = event.trial;
    const details = `, ${label} on ${data}, ${shots} shots, seed ${seed}`;
    this.update('trial', event.done, event.total, undefined, details);
  };

  train = (event: TrainEvent): void => {
    if (event.type === 'start' && event.step > 0) this.say(`  resumed at step ${event.step}`);
    if (event.type === 'evaluation') this.say(`  step ${event.step}: ${figures(event.metrics)}`);
    if (event.type !== 'step') return;
    this.update('step', event.step, event.totalSteps, event.secondsLeft, `, ${figures(event.metrics)}`);
  };
}

const figures = (metrics: Readonly<Record<string, number>>): string =>
  Object.entries(metrics)
    .map(([name, value]) => `${name} ${value.toPrecision(3)}`)
    .join(', ');

export function duration(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 100) return `${s} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
}

/** Runs a generator of events to its end. */
export async function drain<E, T>(events: AsyncGenerator<E, T>, onEvent: (event: E) => void): Promise<T> {
  let next = await events.next();
  for (; !next.done; next = await events.next()) onEvent(next.value);
  return next.value;
}
