import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Device, toFloat32 } from '../src/graph/index.ts';
import { readSafetensors, writeSafetensors } from '../src/hub/index.ts';
import type { Benchmark } from './benchmark.ts';
import { countFlops } from './flops.ts';
import { type Peer, startAttune, startTorch } from './peer.ts';

export interface Measurement {
  readonly name: string;
  /** Median milliseconds of a step. */
  readonly attuneMs: number;
  readonly torchMs: number | null;
  /** torchMs / attuneMs by medians: above 1, Attune is faster. */
  readonly ratio: number | null;
  /** Peak resident memory of the steps, ours by theirs, each beyond what its process took before the model was loaded. */
  readonly peakMemoryRatio: number | null;
  readonly attunePeakMb: number;
  readonly torchPeakMb: number | null;
  /** From the weights' file to the end of the first step: trace, gradients, encoding and session here. */
  readonly attuneReadyMs: number;
  /** The same in PyTorch eager: the model is built and runs once. */
  readonly torchReadyMs: number | null;
  /** With torch.compile: a step, and all until the end of the first one. Null where not asked for or not possible. */
  readonly torchCompiledMs: number | null;
  readonly torchCompiledReadyMs: number | null;
  /** Floating-point operations of a step's matrix products and convolutions, 10⁹. */
  readonly gflop: number;
  /** Relative difference between both sides, of losses and gradients. */
  readonly difference: number | null;
  readonly torchVersion: string | null;
}

export interface MeasureOptions {
  readonly threads: number;
  /** Where Attune's side runs; PyTorch's runs on the CPU beside the CPU, else on CUDA. */
  readonly device: Device;
  /** Fewest rounds, and how long to go on beyond. */
  readonly rounds: number;
  readonly seconds: number;
  readonly compile: boolean;
}

export const median = (xs: readonly number[]) => xs.toSorted((a, b) => a - b)[xs.length >> 1]!;

export async function measure(b: Benchmark, options: MeasureOptions): Promise<Measurement> {
  const dir = await mkdtemp(join(tmpdir(), 'attune-bench-'));
  const peers: Peer[] = [];
  const { threads, device } = options;
  const torchSettings = {
    script: b.torch.script,
    settings: b.torch.settings ?? {},
    dir,
    threads,
    cuda: device !== 'cpu',
  };
  try {
    const gflop = await prepare(b, dir);
    const attune = await startAttune({ name: b.name, dir, threads, device });
    peers.push(attune);
    const eager = await startTorch({ ...torchSettings, compile: false });
    const torch = typeof eager === 'string' ? undefined : eager;
    if (torch) peers.push(torch);
    else process.stderr.write(`PyTorch is left out: ${eager}\n`);

    // The first step warms both up.
    const first = { attune: await attune.step(), torch: await torch?.step() };
    for (const peer of peers) {
      await peer.results();
      await peer.reset();
    }
    const times = { attune: [] as number[], torch: [] as number[] };
    const losses = [[first.attune.loss, first.torch?.loss]];
    const end = performance.now() + options.seconds * 1000;
    for (let round = 0; round < options.rounds || performance.now() < end; round++) {
      // Threads of the one may spin for a while before they sleep, at the expense of the other.
      await setTimeout(20);
      const ours = await attune.step();
      await setTimeout(20);
      const theirs = await torch?.step();
      losses.push([ours.loss, theirs?.loss]);
      times.attune.push(ours.ms);
      if (theirs) times.torch.push(theirs.ms);
    }
    const difference = torch ? await compare(dir, losses as [number, number][], b.tolerance ?? 1e-3) : null;
    const ours = (await attune.memory()).bytes;
    const theirs = (await torch?.memory())?.bytes ?? null;
    for (const peer of peers.splice(0)) await peer.close();
    const compiled = torch && options.compile ? await timeCompiled(torchSettings, options) : undefined;

    const [attuneMs, torchMs] = [median(times.attune), times.torch.length ? median(times.torch) : null];
    return {
      name: b.name,
      attuneMs,
      torchMs,
      ratio: torchMs && torchMs / attuneMs,
      peakMemoryRatio: theirs && ours / theirs,
      attunePeakMb: ours / 1e6,
      torchPeakMb: theirs && theirs / 1e6,
      attuneReadyMs: attune.buildMs + first.attune.ms,
      torchReadyMs: torch && first.torch ? torch.buildMs + first.torch.ms : null,
      torchCompiledMs: compiled?.ms ?? null,
      torchCompiledReadyMs: compiled?.readyMs ?? null,
      gflop,
      difference,
      torchVersion: torch?.version ?? null,
    };
  } finally {
    for (const peer of peers) await peer.close();
    await rm(dir, { recursive: true });
  }
}

/** Writes the weights and the data that both sides read; returns the step's products in 10⁹ operations. */
async function prepare(b: Benchmark, dir: string): Promise<number> {
  const { weights, batch } = await b.prepare();
  await writeSafetensors(`${dir}/weights.safetensors`, weights);
  await writeSafetensors(`${dir}/batch.safetensors`, batch);
  return countFlops(b.graph(await readSafetensors(`${dir}/weights.safetensors`), batch)) / 1e9;
}

async function timeCompiled(settings: object, { rounds }: MeasureOptions) {
  const peer = await startTorch({ ...settings, compile: true });
  if (typeof peer === 'string') throw new Error(peer);
  try {
    const first = await peer.step();
    await peer.step();
    const times: number[] = [];
    for (let i = 0; i < rounds; i++) times.push((await peer.step()).ms);
    return { ms: median(times), readyMs: peer.buildMs + first.ms };
  } catch (error) {
    process.stderr.write(`torch.compile is left out: ${String(error).trim().split('\n').at(-1)}\n`);
    return undefined;
  } finally {
    await peer.close();
  }
}

/**
 * The relative difference of both sides: the largest of the first two losses' (the forward pass, and the whole step) and
 * that of all arrays together. Throws where they do not compute the same.
 */
async function compare(
  dir: string,
  losses: readonly (readonly [number, number])[],
  tolerance: number,
): Promise<number> {
  const byLoss = losses
    .slice(0, 2)
    .map(([ours, theirs]) => Math.abs(ours - theirs) / Math.max(Math.abs(theirs), 1e-6));
  const [ours, theirs] = await Promise.all(
    ['attune', 'torch'].map((side) => readSafetensors(`${dir}/${side}.safetensors`)),
  );
  const arrays: { name: string; gap: number; norm: number }[] = [];
  for (const name of theirs!.names()) {
    const found = ours!.get(name);
    if (!found)
      throw new Error(`PyTorch's "${name}" has no counterpart; there are ${ours!.names().join(', ')}`);
    const a = toFloat32(await found.load()).data;
    const b = toFloat32(await theirs!.get(name)!.load()).data;
    if (a.length !== b.length) throw new Error(`"${name}" has ${a.length} elements, in PyTorch ${b.length}`);
    const norm = (f: (x: number, i: number) => number) =>
      Math.sqrt(b.reduce((sum, x, i) => sum + f(x, i) ** 2, 0));
    arrays.push({ name, gap: norm((x, i) => a[i]! - x), norm: norm((x) => x) });
  }
  const all = (key: 'gap' | 'norm') => Math.hypot(...arrays.map((x) => x[key]));
  const difference = Math.max(...byLoss, all('gap') / all('norm'));
  if (!(difference <= tolerance)) {
    throw new Error(
      `Attune and PyTorch do not compute the same: they differ by ${difference.toExponential(1)}`,
    );
  }
  // In one array a few ReLUs that rounding turned may show; gradients that ought to vanish (a key's bias) are all rounding.
  const typical = median(arrays.map((x) => x.norm));
  for (const { name, gap, norm } of arrays) {
    if (!(gap <= 20 * tolerance * Math.max(norm, 0.01 * typical))) {
      throw new Error(`Attune and PyTorch do not compute the same: "${name}" differs by ${gap} of ${norm}`);
    }
  }
  return difference;
}
