/**
 * Where the time of a benchmark's step goes, by ONNX Runtime's profiler: the least milliseconds of each node over some steps,
 * summed by kind, then the largest nodes with the shapes of their inputs.
 *
 *   npx tsx bench/profile.ts NAME [--rounds N] [--threads N]
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readSafetensors, writeSafetensors } from '../src/hub/index.ts';
import { benchmarks } from './list.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '10' },
    threads: { type: 'string', default: String(cpus().length) },
  },
});
const benchmark = benchmarks.find((b) => b.name === positionals[0]);
if (!benchmark) {
  process.stderr.write(`name a benchmark: ${benchmarks.map((b) => b.name).join(', ')}\n`);
  process.exit(2);
}

interface Event {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args: { readonly op_name: string; readonly input_type_shape: readonly Record<string, number[]>[] };
}

const dir = await mkdtemp(join(tmpdir(), 'attune-profile-'));
try {
  const { weights, batch } = await benchmark.prepare();
  await writeSafetensors(join(dir, 'weights.safetensors'), weights);
  const source = await readSafetensors(join(dir, 'weights.safetensors'));
  const running = await benchmark.start(source, batch, {
    threads: Number(flags.threads),
    profile: join(dir, 'ort'),
  });
  for (let i = 0; i < Number(flags.rounds); i++) await running.step();
  await running.release();

  const nodes = new Map<string, { kind: string; shapes: string; ms: number }>();
  for (const file of (await readdir(dir)).filter((f) => f.startsWith('ort'))) {
    const events = JSON.parse(await readFile(join(dir, file), 'utf8')) as Event[];
    for (const { cat, name, dur, args } of events) {
      if (cat !== 'Node' || !name.endsWith('_kernel_time')) continue;
      const shapes = args.input_type_shape.map((s) => `[${Object.values(s)[0]}]`).join(' ');
      const ms = Math.min(nodes.get(name)?.ms ?? Number.POSITIVE_INFINITY, dur / 1000);
      nodes.set(name, { kind: args.op_name, shapes, ms });
    }
  }
  const kinds = new Map<string, { count: number; ms: number }>();
  for (const { kind, ms } of nodes.values()) {
    const sum = kinds.get(kind) ?? { count: 0, ms: 0 };
    kinds.set(kind, { count: sum.count + 1, ms: sum.ms + ms });
  }
  const total = [...kinds.values()].reduce((sum, { ms }) => sum + ms, 0);
  const print = (text: string) => process.stdout.write(`${text}\n`);
  print(`${total.toFixed(1)} ms in ${nodes.size} nodes`);
  for (const [kind, { count, ms }] of [...kinds].sort((a, b) => b[1].ms - a[1].ms))
    print(`${ms.toFixed(1).padStart(8)} ms  ${kind} × ${count}`);
  print('');
  const groups = new Map<string, { count: number; ms: number }>();
  for (const { kind, shapes, ms } of nodes.values()) {
    const key = `${kind} ${shapes}`;
    const sum = groups.get(key) ?? { count: 0, ms: 0 };
    groups.set(key, { count: sum.count + 1, ms: sum.ms + ms });
  }
  for (const [key, { count, ms }] of [...groups].sort((a, b) => b[1].ms - a[1].ms).slice(0, 40))
    print(`${ms.toFixed(1).padStart(8)} ms  ${count} × ${key}`);
} finally {
  await rm(dir, { recursive: true, force: true });
}
