/**
 * Times Attune and PyTorch in turn, step by step in one run, so that a noisy machine slows both.
 *
 *   npm run bench -- [--json] [--quick] [--compile] [--only NAME]
 *
 * PyTorch runs where `$PYTHON` (default python3) has torch and transformers; otherwise its columns are empty.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { matmulRate } from './flops.ts';
import { benchmarks } from './list.ts';
import { type Measurement, measure } from './measure.ts';

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean' },
    quick: { type: 'boolean', default: false },
    compile: { type: 'boolean', default: false },
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

const threads = cpus().length;
const { quick, compile } = flags;
const rate = await matmulRate(threads);
process.stderr.write(`matrix products: ${rate.toFixed(0)} GFLOP/s in ONNX Runtime on ${threads} threads\n`);
const show = (ms: number | null) => (ms === null ? '–' : `${ms.toFixed(0)} ms`);
type Result = Measurement & { readonly rateShare: number };
const results: Result[] = [];
for (const b of benchmarks) {
  if (flags.only && !flags.only.includes(b.name)) continue;
  try {
    const m = await measure(b, { threads, compile, rounds: quick ? 2 : 7, seconds: quick ? 1 : 10 });
    results.push({ ...m, rateShare: m.gflop / (m.attuneMs / 1000) / rate });
    process.stderr.write(`${describe(results.at(-1)!)}\n`);
  } catch (error) {
    process.stderr.write(`${b.name} failed: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  }
}
if (flags.json) process.stdout.write(`${JSON.stringify(results)}\n`);

function describe(m: Result): string {
  const parts = [
    `${m.name}: Attune ${show(m.attuneMs)}, PyTorch ${show(m.torchMs)}, ratio ${m.ratio?.toFixed(2) ?? '–'}`,
    `memory ${m.attunePeakMb.toFixed(0)} MB, ${m.torchPeakMb?.toFixed(0) ?? '–'} MB, ratio ${m.peakMemoryRatio?.toFixed(2) ?? '–'}`,
    `ready in ${show(m.attuneReadyMs)}, ${show(m.torchReadyMs)}`,
    ...(compile
      ? [`torch.compile ${show(m.torchCompiledMs)}, ready in ${show(m.torchCompiledReadyMs)}`]
      : []),
    `${(100 * m.rateShare).toFixed(0)} % of the product rate`,
    `difference ${m.difference?.toExponential(0) ?? '–'}`,
  ];
  return parts.join('; ');
}
