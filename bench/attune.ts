/** The process that runs Attune's side of a benchmark. The protocol is that of `bench/torch/peer.py`. */

import { createInterface } from 'node:readline';
import { constant, type Device, f32 } from '../src/graph/index.ts';
import { readSafetensors, writeSafetensors } from '../src/hub/index.ts';
import { runOnce } from '../src/runtime/index.ts';
import { benchmarks } from './list.ts';
import { peakMemory, resetPeak, residentMemory } from './memory.ts';

interface Settings {
  name: string;
  dir: string;
  threads: number;
  device: Device;
}

const { name, dir, threads, device } = JSON.parse(process.argv[2]!) as Settings;
const say = (answer: object) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const since = (start: number) => performance.now() - start;

const benchmark = benchmarks.find((b) => b.name === name)!;
const file = await readSafetensors(`${dir}/batch.safetensors`);
const batch = Object.fromEntries(
  await Promise.all(file.names().map(async (key) => [key, await file.get(key)!.load()] as const)),
);
// ONNX Runtime itself is loaded before the clock starts and memory is counted, as torch is.
await runOnce({ one: constant(f32([1])) }, {}, { threads, device });
const baseline = residentMemory();
const start = performance.now();
const running = await benchmark.start(await readSafetensors(`${dir}/weights.safetensors`), batch, {
  threads,
  device,
  name,
});
say({ buildMs: since(start) });

for await (const command of createInterface({ input: process.stdin })) {
  if (command === 'step') {
    const begin = performance.now();
    const loss = await running.step();
    say({ ms: since(begin), loss });
  } else if (command === 'results') {
    await writeSafetensors(`${dir}/attune.safetensors`, running.results());
    say({});
  } else if (command === 'reset') {
    resetPeak();
    say({});
  } else if (command === 'memory') {
    say({ bytes: peakMemory() - baseline });
  }
}
