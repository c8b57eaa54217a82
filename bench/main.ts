/**
 * Times Attune and PyTorch in turn, step by step in one run, so that a noisy machine slows both.
 *
 *   npm run bench -- [--json] [--quick] [--compile] [--write] [--device webgpu|cuda] [--only NAME]...
 *
 * --compile times torch.compile too, which takes minutes to warm up. --write means --compile, and commits the figures to
 * bench/results.json and bench/README.md.
 * --device runs Attune on a GPU, and PyTorch on CUDA.
 * PyTorch runs where `$PYTHON` (default python3) has torch and transformers; otherwise its columns are empty.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { Device } from '../src/graph/index.ts';
import { matmulRate } from './flops.ts';
import { benchmarks } from './list.ts';
import { measure } from './measure.ts';
import { describeMachine, line, type Result, write } from './report.ts';

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean' },
    quick: { type: 'boolean', default: false },
    compile: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    device: { type: 'string', default: 'cpu' },
    only: { type: 'string', multiple: true },
  },
});
const unknown = (flags.only ?? []).filter((name) => benchmarks.every((b) => b.name !== name));
if (unknown.length > 0) {
  process.stderr.write(
    `no benchmark "${unknown[0]}"; there are ${benchmarks.map((b) => b.name).join(', ')}\n`,
  );
  process.exit(2);
}

if (flags.write && flags.device !== 'cpu') {
  process.stderr.write('--write is for the CPU, whose figures the page shows\n');
  process.exit(2);
}

const threads = cpus().length;
const { quick } = flags;
const device = flags.device as Device;
const compile = flags.compile || flags.write;
const rate = await matmulRate(threads);
process.stderr.write(`matrix products: ${rate.toFixed(0)} GFLOP/s in ONNX Runtime on ${threads} threads\n`);
const results: Result[] = [];
for (const b of benchmarks) {
  if (flags.only && !flags.only.includes(b.name)) continue;
  try {
    const m = await measure(b, { threads, device, compile, rounds: quick ? 2 : 7, seconds: quick ? 1 : 10 });
    results.push({ ...m, rateShare: m.gflop / (m.attuneMs / 1000) / rate });
    process.stderr.write(`${line(results.at(-1)!)}\n`);
  } catch (error) {
    process.stderr.write(`${b.name} failed: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  }
}
if (flags.write) {
  const machine = describeMachine(rate, results.find((m) => m.torchVersion)?.torchVersion ?? undefined);
  write({ machine, benchmarks: results }, benchmarks);
}
if (flags.json) process.stdout.write(`${JSON.stringify(results)}\n`);
