/**
 * Times small steps in TensorFlow.js and jax-js against Attune, in Node, step by step in turn.
 *
 *   npm ci --prefix bench/peers-js && npm run bench:js -- [--json] [--write]
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fill, table } from '../report.ts';
import { CLASSES, labelsOf, RATE, smallSteps, startAttune, weightsOf } from './steps.ts';

interface Told {
  step: string;
  backend: string;
  weights: object;
  x: object;
  y: object;
  rate: number;
  wasmPath: string;
}
interface Library {
  start(told: Told): Promise<() => Promise<number>>;
}
interface Row {
  readonly step: string;
  readonly peer: string;
  readonly attuneMs: number;
  /** Null where the peer cannot run the step; `why` says so. */
  readonly peerMs: number | null;
  /** peerMs / attuneMs: above 1, Attune is faster. */
  readonly ratio: number | null;
  readonly why?: string;
}

const peers = [
  { file: 'tensorflow.js', label: 'TensorFlow.js', backend: 'cpu' },
  { file: 'tensorflow.js', label: 'TensorFlow.js', backend: 'wasm' },
  { file: 'jax.js', label: 'jax-js', backend: 'wasm' },
];
const { values: flags } = parseArgs({ options: { json: { type: 'boolean' }, write: { type: 'boolean' } } });
const wasmPath = fileURLToPath(new URL('node_modules/@tensorflow/tfjs-backend-wasm/dist/', import.meta.url));
const median = (xs: readonly number[]) => xs.toSorted((a, b) => a - b)[xs.length >> 1]!;
const ROUNDS = 7;

const rows: Row[] = [];
for (const step of smallSteps) {
  for (const { file, label, backend } of peers) {
    const weights = await weightsOf(step);
    const ours = await startAttune(step, weights);
    const told = { step: step.name, backend, weights, x: step.x, y: labelsOf(step), rate: RATE, wasmPath };
    const times = { ours: [] as number[], theirs: [] as number[] };
    let why: string | undefined;
    try {
      const library = (await import(`./${file}`)) as Library;
      const theirs = await library.start(told);
      for (let round = -2; round < ROUNDS; round++) {
        const start = performance.now();
        const a = await ours();
        const middle = performance.now();
        const b = await theirs();
        const end = performance.now();
        if (!(Math.abs(a - b) <= 1e-3 * Math.abs(a))) {
          throw new Error(`its loss is ${b} at step ${round + 2}, Attune's ${a}, of ${CLASSES} classes`);
        }
        if (round < 0) continue;
        times.ours.push(middle - start);
        times.theirs.push(end - middle);
      }
    } catch (error) {
      why = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
    }
    const done = times.theirs.length === ROUNDS;
    const [attuneMs, peerMs] = [median(times.ours) ?? Number.NaN, done ? median(times.theirs) : null];
    const row = {
      step: step.name,
      peer: `${label} ${backend}`,
      attuneMs,
      peerMs,
      ratio: peerMs && peerMs / attuneMs,
    };
    rows.push(why === undefined ? row : { ...row, why });
    process.stderr.write(
      `${row.step}, ${row.peer}: ${why ?? `Attune ${attuneMs.toFixed(2)} ms, ${label} ${peerMs!.toFixed(2)} ms, ratio ${row.ratio!.toFixed(1)}`}\n`,
    );
  }
}
if (flags.write) {
  const body = rows.map((r) => [
    `\`${r.step}\``,
    r.peer,
    ...(r.peerMs === null
      ? ['–', '–', r.why!]
      : [`${r.attuneMs.toFixed(1)} ms`, `${r.peerMs.toFixed(1)} ms`, `**${r.ratio!.toFixed(1)}**`]),
  ]);
  fill('peers', table([['step', 'peer', 'Attune', 'peer’s', 'ratio'], ...body]));
  fill('peers-steps', table([['step', 'what'], ...smallSteps.map((s) => [`\`${s.name}\``, s.about])]));
}
if (flags.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
process.exit();
