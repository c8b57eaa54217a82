/**
 * Does a process that compiles and releases programs all day keep its size?
 *
 *   npm run bench:leaks -- [--compiles 10000] [--worker] [--json]
 *
 * Every program is new: its widths and constants differ from the last one's, so that no cache can help and the
 * allocator sees changing sizes. Each is compiled, run twice and released. Growth is that of resident memory after a
 * warm-up of a twentieth of the compiles, in which the engine, ONNX Runtime and the allocator reach their working
 * size. The exit code is 1 when it exceeds 10 %.
 */
import { parseArgs } from 'node:util';
import { f32, grad, input, softmax, type Tensor, zeros } from '../src/graph/index.ts';
import { compile } from '../src/runtime/index.ts';

const { values: flags } = parseArgs({
  options: {
    compiles: { type: 'string', default: '10000' },
    worker: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const compiles = Number(flags.compiles);
const warmUp = Math.ceil(compiles / 20);
const limit = 0.1;

/** Loss and gradient of a small network with an attention-like layer. */
function program(i: number): { outputs: Record<string, Tensor>; width: number } {
  const width = 8 + (i % 57);
  const [x, w] = [input('x', [16, width]), input('w', [width, width])];
  let y = x;
  for (let layer = 0; layer < 3; layer++) {
    const scores = softmax(y.matmul(y, { transB: true }).mul(1 / (1 + i)));
    y = y.add(scores.matmul(y.matmul(w)));
  }
  const loss = y.square().mean();
  return { outputs: { loss, gradient: grad(loss, [w])[0]! }, width };
}

const megabytes = () => process.memoryUsage.rss() / 2 ** 20;
let settled = 0;
const started = performance.now();
for (let i = 1; i <= compiles; i++) {
  const { outputs, width } = program(i);
  const compiled = await compile(outputs, { threads: 1, worker: flags.worker });
  const feeds = { x: f32(new Float32Array(16 * width).fill(0.1), [16, width]), w: zeros([width, width]) };
  for (let run = 0; run < 2; run++) await compiled.run(feeds);
  await compiled.release();
  if (i === warmUp) settled = megabytes();
  if (i % Math.ceil(compiles / 20) === 0) {
    const seconds = (performance.now() - started) / 1000;
    process.stderr.write(`${i} compiles, ${seconds.toFixed(0)} s: ${megabytes().toFixed(1)} MB resident\n`);
  }
}
const growth = megabytes() / settled - 1;
process.stderr.write(`grew by ${(100 * growth).toFixed(1)} % after the first ${warmUp} compiles\n`);
if (flags.json) process.stdout.write(`${JSON.stringify({ compiles, settledMB: settled, growth })}\n`);
process.exitCode = growth > limit ? 1 : 0;
