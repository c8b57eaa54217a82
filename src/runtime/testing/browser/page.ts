/** The script of the page that the browser tests drive. */
import type { CompileOptions } from '../../index.ts';
import { type JobName, type Trained, trainSteps } from './steps.ts';

export interface InPage extends Trained {
  /** Milliseconds that the steps took, and the longest time among them in which the page could not react. */
  duration: number;
  longestPause: number;
}

async function train(name: JobName, options: CompileOptions, steps?: number): Promise<InPage> {
  let started = 0;
  let last = 0;
  let longestPause = 0;
  const tick = () => {
    const now = performance.now();
    longestPause = Math.max(longestPause, now - last);
    last = now;
  };
  const timer = setInterval(tick, 5);
  const trained = await trainSteps(name, options, steps, () => {
    started = last = performance.now();
    longestPause = 0;
  });
  tick();
  clearInterval(timer);
  return { ...trained, duration: last - started, longestPause };
}

Object.assign(globalThis, { train });
