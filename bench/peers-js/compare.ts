import type { Device } from '../../src/graph/index.ts';
import { labelsOf, RATE, smallSteps, startAttune, weightsOf } from './steps.ts';

/** What a library's module exports: a function that takes a step and returns its loss. */
export interface Library {
  start(told: object): Promise<() => Promise<number>>;
}

export interface Row {
  readonly step: string;
  readonly where: 'Node' | 'Chromium';
  readonly peer: string;
  /** Medians; null where the peer cannot run the step: `why` says so. */
  readonly attuneMs: number | null;
  readonly peerMs: number | null;
  /** peerMs / attuneMs: above 1, Attune is faster. */
  readonly ratio: number | null;
  readonly why?: string;
}

export interface Comparison {
  /** Of `smallSteps`. */
  readonly step: string;
  readonly where: Row['where'];
  readonly label: string;
  readonly backend: string;
  readonly device: Device;
  readonly rounds: number;
  /** Where TensorFlow.js finds its binaries. */
  readonly wasmPath: string;
}

const median = (xs: readonly number[]) => xs.toSorted((a, b) => a - b)[xs.length >> 1]!;

/** Takes steps here and there in turn, in Node or in a page; losses must agree to 1e-3. */
export async function compare(c: Comparison, library: Library): Promise<Row> {
  const row = { step: c.step, where: c.where, peer: `${c.label} ${c.backend}` };
  const step = smallSteps.find(({ name }) => name === c.step)!;
  const weights = await weightsOf(step);
  const ours = await startAttune(step, weights, c.device);
  const [mine, other]: [number[], number[]] = [[], []];
  try {
    const { x } = step;
    const told = { ...c, weights, x, y: labelsOf(step), rate: RATE };
    const theirs = await library.start(told);
    // Two rounds warm up.
    for (let round = -2; round < c.rounds; round++) {
      const start = performance.now();
      const a = await ours();
      const middle = performance.now();
      const b = await theirs();
      const end = performance.now();
      if (!(Math.abs(a - b) <= 1e-3 * Math.abs(a))) throw new Error(`its loss is ${b}, Attune's ${a}`);
      if (round < 0) continue;
      mine.push(middle - start);
      other.push(end - middle);
    }
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
    return { ...row, attuneMs: null, peerMs: null, ratio: null, why };
  }
  const [attuneMs, peerMs] = [median(mine), median(other)];
  return { ...row, attuneMs, peerMs, ratio: peerMs / attuneMs };
}
