/**
 * Times Attune and PyTorch in turn, step by step in one run, so that a noisy machine slows both.
 *
 *   npm run bench -- [--json] [--quick] [--only NAME]
 *
 * PyTorch runs where `$PYTHON` (default python3) has torch and transformers; otherwise its columns are empty.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { Benchmark, Measurement } from './benchmark.ts';
import { coopBenchmarks } from './coop-step.ts';
import { startTorch } from './peer.ts';

const benchmarks: readonly Benchmark[] = [...coopBenchmarks];

const { values: flags } = parseArgs({
  options: { json: { type: 'boolean' }, quick: { type: 'boolean' }, only: { type: 'string' } },
});
const chosen = benchmarks.filter((b) => flags.only === undefined || b.name === flags.only);
if (chosen.length === 0) {
  process.stderr.write(
    `no benchmark "${flags.only}"; there are ${benchmarks.map((b) => b.name).join(', ')}\n`,
  );
  process.exit(2);
}

const median = (xs: readonly number[]) => xs.toSorted((a, b) => a - b)[xs.length >> 1]!;

async function measure(b: Benchmark, rounds: number): Promise<Measurement> {
  const threads = cpus().length;
  const torch = await startTorch(b.torch.script, { ...b.torch.settings, threads });
  const attune = await b.start(threads);
  const [ours, theirs]: [number[], number[]] = [[], []];
  // The first round warms both up.
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now();
    await attune.step();
    const ms = performance.now() - start;
    const peer = await torch?.step();
    if (round === 0) continue;
    ours.push(ms);
    if (peer !== undefined) theirs.push(peer);
  }
  torch?.close();
  await attune.close();
  const [attuneMs, torchMs] = [median(ours), theirs.length ? median(theirs) : null];
  return { name: b.name, attuneMs, torchMs, ratio: torchMs && torchMs / attuneMs };
}

const results: Measurement[] = [];
for (const b of chosen) {
  const result = await measure(b, flags.quick ? 2 : 7);
  results.push(result);
  const show = (ms: number | null) => (ms === null ? '–' : `${ms.toFixed(0)} ms`);
  process.stderr.write(
    `${b.name}: Attune ${show(result.attuneMs)}, PyTorch ${show(result.torchMs)}, ratio ${result.ratio?.toFixed(2) ?? '–'}\n`,
  );
}
if (flags.json) process.stdout.write(`${JSON.stringify(results)}\n`);
