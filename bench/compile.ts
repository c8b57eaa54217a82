/**
 * Milliseconds of processor time to compile training steps, by part.
 *
 *   npx tsx bench/compile.ts [--rounds N]
 */
import { parseArgs } from 'node:util';
import { encodeOnnx, nodesOf, simplify } from '../src/graph/index.ts';
import { decoder, type Graph, loraEncoder, resNet } from '../src/graph/testing/models.ts';
import { openSession } from '../src/runtime/session.ts';

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });

// Narrow models: what is measured goes by the number of nodes.
const sizes = { layers: 12, width: 64, heads: 4, batch: 2, length: 16, vocabulary: 100 };
const graphs: Record<string, () => Graph> = {
  'decoder, 12 layers, all trained': () => decoder(sizes),
  'encoder, 12 layers, LoRA': () => loraEncoder(sizes, 4),
  'ResNet-50': () => resNet({ batch: 2, size: 16, width: 8 }, [3, 4, 6, 3], true),
};

const median = (xs: readonly number[]): number => xs.toSorted((a, b) => a - b)[xs.length >> 1]!;
/** Processor time of this process, all threads: others on the machine do not count. */
const clock = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

process.stdout.write(
  '| graph | nodes | simplified | trace and grad | simplify | encode | session | ours |\n',
);
process.stdout.write('|---|---|---|---|---|---|---|---|\n');
for (const [name, build] of Object.entries(graphs)) {
  const rounds: number[][] = [];
  let counts: number[] = [];
  for (let round = 0; round <= Number(flags.rounds); round++) {
    const times = [clock()];
    const graph = build();
    times.push(clock());
    const simple = simplify(graph);
    times.push(clock());
    const model = await encodeOnnx(simple, { simplify: false });
    times.push(clock());
    const session = await openSession({ ...model, prepack: true }, { threads: 1 });
    times.push(clock());
    await session.release();
    counts = [graph, simple].map((g) => nodesOf(Object.values(g)).length);
    // The first round warms up.
    if (round > 0) rounds.push(times.slice(1).map((t, i) => t - times[i]!));
  }
  const parts = [0, 1, 2, 3].map((i) => median(rounds.map((r) => r[i]!)));
  const total = parts.reduce((a, b) => a + b);
  const ours = `${Math.round((100 * (total - parts[3]!)) / total)} %`;
  process.stdout.write(
    `| ${[name, ...counts, ...parts.map((ms) => `${ms.toFixed(0)} ms`), ours].join(' | ')} |\n`,
  );
}
