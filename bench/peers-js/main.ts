/**
 * Times small training steps in TensorFlow.js and jax-js against Attune, in Node and in headless Chromium, step by step
 * in turn.
 *
 *   npm ci --prefix bench/peers-js && npm run bench:js -- [--node] [--json] [--write]
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fill, table } from '../report.ts';
import { inChromium } from './browser.ts';
import { type Comparison, compare, type Library, type Row } from './compare.ts';
import { smallSteps } from './steps.ts';

const { values: flags } = parseArgs({
  options: {
    /** Leaves the browser out. */
    node: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const ROUNDS = 7;
const files: Record<string, string> = { 'TensorFlow.js': './tensorflow.js', 'jax-js': './jax.js' };
const binaries = 'node_modules/@tensorflow/tfjs-backend-wasm/dist/';

const comparisons = smallSteps.flatMap(({ name }): Comparison[] => {
  const node = { step: name, where: 'Node', device: 'cpu', rounds: ROUNDS } as const;
  const wasmPath = fileURLToPath(new URL(binaries, import.meta.url));
  const page = {
    step: name,
    where: 'Chromium',
    rounds: ROUNDS,
    wasmPath: `/${binaries}`,
  } as const;
  return [
    { ...node, wasmPath, label: 'TensorFlow.js', backend: 'cpu' },
    { ...node, wasmPath, label: 'TensorFlow.js', backend: 'wasm' },
    { ...node, wasmPath, label: 'jax-js', backend: 'wasm' },
    ...(['wasm', 'webgpu'] as const).flatMap((device) =>
      Object.keys(files).map((label) => ({ ...page, label, backend: device, device })),
    ),
  ];
});

const rows: Row[] = [];
function report(row: Row): void {
  rows.push(row);
  const figures = `Attune ${row.attuneMs?.toFixed(1)} ms, peer ${row.peerMs?.toFixed(1)} ms, ratio ${row.ratio?.toFixed(1)}`;
  process.stderr.write(`${row.step}, ${row.where}, ${row.peer}: ${row.why ?? figures}\n`);
}
for (const c of comparisons.filter(({ where }) => where === 'Node')) {
  report(await compare(c, (await import(files[c.label]!)) as Library));
}
if (!flags.node) {
  await inChromium(
    comparisons.filter(({ where }) => where === 'Chromium'),
    report,
  );
}
if (flags.write) {
  const cells = ({ attuneMs, peerMs, ratio, why }: Row) =>
    ratio === null
      ? ['–', '–', why!]
      : [`${attuneMs!.toFixed(1)} ms`, `${peerMs!.toFixed(1)} ms`, `**${ratio.toFixed(1)}**`];
  const body = rows.map((r) => [`\`${r.step}\``, r.where, r.peer, ...cells(r)]);
  fill('peers', table([['step', 'in', 'peer', 'Attune', 'peer’s', 'ratio'], ...body]));
  fill('peers-steps', table([['step', 'what'], ...smallSteps.map((s) => [`\`${s.name}\``, s.about])]));
}
if (flags.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
// TensorFlow.js and jax-js keep Node alive.
process.exit();
