/**
 * What a run costs beside its computation: training steps of next to no work with few and many parameters, in
 * milliseconds. What K steps in one program would save of each.
 *
 *   npx tsx bench/overhead.ts [--device webgpu|cuda]
 */
import { parseArgs } from 'node:util';
import type { Device } from '../src/graph/index.ts';
import { adam, normalInit } from '../src/nn/index.ts';
import { TrainStep } from '../src/train/index.ts';

const { values: flags } = parseArgs({ options: { device: { type: 'string', default: 'cpu' } } });
const device = flags.device as Device;

for (const count of [1, 20, 100, 300]) {
  const step = await TrainStep.compile({
    source: 'scratch',
    batch: {},
    build: (s) => ({
      loss: Array.from({ length: count }, (_, i) =>
        s.param(`p${i}`, [16, 16], normalInit(1)).square().sum(),
      ).reduce((a, b) => a.add(b)),
    }),
    optimizer: adam({ lr: 1e-3 }),
    compile: { device },
  });
  let state = await step.init(1);
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    const start = performance.now();
    const progress = { step: i, epoch: 0, stepsPerEpoch: 50, totalSteps: 50 };
    state = (await step.run(state, {}, progress)).state;
    times.push(performance.now() - start);
  }
  await step.release();
  const median = times.sort((a, b) => a - b)[25]!;
  process.stdout.write(`${device}, ${count} parameters of 16×16, Adam: ${median.toFixed(2)} ms a step\n`);
}
