import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Benchmark } from './benchmark.ts';
import type { Measurement } from './measure.ts';

/** A benchmark's figures beside the machine's rate of matrix products. */
export interface Result extends Measurement {
  /** The share of the machine's matrix-product rate that the step reaches. */
  readonly rateShare: number;
}

/** What is committed: `bench/results.json`. */
export interface Results {
  readonly machine: string;
  readonly benchmarks: readonly Result[];
}

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The machine and the versions that figures belong to. */
export function describeMachine(rate: number, torch: string | undefined): string {
  const ort = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  const avx512 = existsSync('/proc/cpuinfo') && readFileSync('/proc/cpuinfo', 'utf8').includes(' avx512f');
  return [
    `${cpus().length} cores of ${cpus()[0]!.model.trim()}${avx512 ? ' (AVX-512)' : ''}`,
    `${(totalmem() / 2 ** 30).toFixed(0)} GB of memory`,
    `${rate.toFixed(0)} GFLOP/s in matrix products of ONNX Runtime`,
    `Node ${process.versions.node}`,
    `ONNX Runtime ${ort.version}`,
    ...(torch ? [`PyTorch ${torch}`] : []),
  ].join(', ');
}

const ms = (x: number | null) =>
  x === null ? '–' : `${x.toLocaleString('en', { maximumFractionDigits: 0 })} ms`;
const seconds = (x: number | null) => (x === null ? '–' : `${(x / 1000).toFixed(1)} s`);
const ratio = (x: number | null) => (x === null ? '–' : x.toFixed(2));
const mb = (x: number | null) => (x === null ? '–' : `${x.toFixed(0)} MB`);

/** One line for people. */
export const line = (m: Result): string =>
  [
    `${m.name}: Attune ${ms(m.attuneMs)}, PyTorch ${ms(m.torchMs)}, ratio ${ratio(m.ratio)}`,
    `memory ${mb(m.attunePeakMb)}, ${mb(m.torchPeakMb)}, ratio ${ratio(m.peakMemoryRatio)}`,
    `ready in ${seconds(m.attuneReadyMs)}, ${seconds(m.torchReadyMs)}`,
    ...(m.torchCompiledMs === null
      ? []
      : [`torch.compile ${ms(m.torchCompiledMs)}, ready in ${seconds(m.torchCompiledReadyMs)}`]),
    `${(100 * m.rateShare).toFixed(0)} % of the product rate`,
    ...(m.difference === null ? [] : [`difference ${m.difference.toExponential(0)}`]),
  ].join('; ');

export const table = (rows: readonly (readonly string[])[]): string => {
  const [head, ...body] = rows;
  const text = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [text(head!), `|${'---|'.repeat(head!.length)}`, ...body.map(text)].join('\n');
};

const speed = (results: readonly Result[]) =>
  table([
    [
      'name',
      'Attune',
      'PyTorch',
      'ratio',
      'torch.compile',
      'peak memory',
      'PyTorch',
      'ratio',
      'product rate',
    ],
    ...results.map((m) => [
      `\`${m.name}\``,
      ms(m.attuneMs),
      ms(m.torchMs),
      `**${ratio(m.ratio)}**`,
      ms(m.torchCompiledMs),
      mb(m.attunePeakMb),
      mb(m.torchPeakMb),
      ratio(m.peakMemoryRatio),
      `${(100 * m.rateShare).toFixed(0)} %`,
    ]),
  ]);

const readiness = (results: readonly Result[]) =>
  table([
    ['name', 'Attune', 'PyTorch', 'torch.compile'],
    ...results.map((m) => [
      `\`${m.name}\``,
      seconds(m.attuneReadyMs),
      seconds(m.torchReadyMs),
      seconds(m.torchCompiledReadyMs),
    ]),
  ]);

/** Replaces what stands between the markers of `name` in bench/README.md. */
export function fill(name: string, content: string): void {
  const readme = path('README.md');
  const now = readFileSync(readme, 'utf8');
  const [begin, end] = [`<!-- ${name} -->\n`, `\n<!-- /${name} -->`];
  const [from, to] = [now.indexOf(begin), now.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${readme} has no place for ${name}: ${begin}…${end}`);
  writeFileSync(readme, now.slice(0, from + begin.length) + content + now.slice(to));
}

/** Commits figures to bench/results.json and the tables of bench/README.md; what was not measured now stays. */
export function write(fresh: Results, all: readonly Benchmark[]): void {
  const file = path('results.json');
  const known: readonly Result[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).benchmarks : [];
  const benchmarks = all.flatMap(
    ({ name }) => (fresh.benchmarks.find((m) => m.name === name) ?? known.find((m) => m.name === name)) || [],
  );
  const rounded = (_key: string, x: unknown) => (typeof x === 'number' ? Number(x.toPrecision(4)) : x);
  writeFileSync(file, `${JSON.stringify({ machine: fresh.machine, benchmarks }, rounded, 2)}\n`);
  fill('machine', fresh.machine);
  fill('speed', speed(benchmarks));
  fill('ready', readiness(benchmarks));
  fill('steps', table([['name', 'one step'], ...all.map((b) => [`\`${b.name}\``, b.about])]));
}
