import { f32, relu } from 'attune/graph';
import { adamw, linear, mse } from 'attune/nn';
import { batchOf, TrainStep } from 'attune/train';

// Forward, gradients and the optimizer in one program; parameters and optimizer state go in and come out.
const step = await TrainStep.compile({
  source: 'scratch',
  batch: { x: batchOf([16, 1]), y: batchOf([16, 1]) },
  build: (scope, { x, y }) => ({
    loss: mse(linear(scope.at('out'), relu(linear(scope.at('hidden'), x!, 32)), 1), y!),
  }),
  optimizer: adamw({ lr: 0.01 }),
});
console.log(step.params.map((p) => p.name).join(' ')); // → hidden.weight hidden.bias out.weight out.bias

const xs = Array.from({ length: 16 }, (_, i) => i / 8 - 1);
const batch = { x: f32(xs, [16, 1]), y: f32(xs.map(Math.abs), [16, 1]) };
let state = await step.init(1);
let loss = Number.POSITIVE_INFINITY;
for (let i = 0; i < 200; i++) {
  const progress = { step: i, epoch: 0, stepsPerEpoch: 200, totalSteps: 200 };
  const result = await step.run(state, batch, progress);
  state = result.state;
  loss = result.metrics.loss!;
}
console.log(loss < 0.001); // → true
await step.release();
