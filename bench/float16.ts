/**
 * Six products with frozen weights of 4096×4096, stored as float32 and as float16: widened before the product, as
 * models do, or multiplied in float16. Median milliseconds.
 *
 *   npx tsx bench/float16.ts [--device webgpu|cuda]
 */
import { parseArgs } from 'node:util';
import {
  cast,
  type Device,
  input,
  memoryWeights,
  type Tensor,
  toFloat16,
  weight,
} from '../src/graph/index.ts';
import { compile } from '../src/runtime/index.ts';
import { noise } from './data.ts';

const { values: flags } = parseArgs({ options: { device: { type: 'string', default: 'cpu' } } });
const device = flags.device as Device;
const [width, layers] = [4096, 6];

const names = Array.from({ length: layers }, (_, i) => `w${i}`);
const wide = Object.fromEntries(
  names.map((name) => {
    const w = noise(name, [width, width]);
    return [name, { ...w, data: w.data.map((v) => v / 64) }];
  }),
);
const half = Object.fromEntries(names.map((name) => [name, toFloat16(wide[name]!)]));
const [float32, float16] = [memoryWeights(wide), memoryWeights(half)];
const of = (source: typeof float32) => names.map((name) => weight(source.get(name)!));
const through = (x: Tensor, weights: readonly Tensor[]) => weights.reduce((y, w) => y.matmul(w), x);

for (const rows of [1, 16, 256]) {
  const x = input('x', [rows, width]);
  const variants = {
    float32: through(x, of(float32)),
    'float16, widened': through(
      x,
      of(float16).map((w) => cast(w, 'float32')),
    ),
    'float16 products': cast(through(cast(x, 'float16'), of(float16)), 'float32'),
  };
  for (const [name, y] of Object.entries(variants)) {
    const program = await compile({ y: y.sum() }, { device });
    const times: number[] = [];
    for (let i = 0; i < 9; i++) {
      const start = performance.now();
      await program.run({ x: noise('x', [rows, width]) });
      times.push(performance.now() - start);
    }
    await program.release();
    const median = times.sort((a, b) => a - b)[4]!;
    process.stdout.write(`${device}, ${rows} rows, ${name}: ${median.toFixed(2)} ms\n`);
  }
}
