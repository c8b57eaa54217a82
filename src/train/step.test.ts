import { expect, test } from 'vitest';
import { f32, memoryWeights } from '../graph/index.ts';
import { sgd, type Tree, zerosInit } from '../nn/index.ts';
import { batchOf, gradTree, type StepOptions, TrainStep } from './index.ts';

const start = { step: 0, epoch: 0, stepsPerEpoch: 1, totalSteps: 1 };
/** The parameters after a step on a·x + b from a = b = 0: gradients x and 1. */
async function stepWith(gradients: StepOptions['gradients']) {
  const step = await TrainStep.compile({
    source: memoryWeights({}, 'none'),
    batch: { x: batchOf([]) },
    build: (s, { x }) => {
      const [a, b] = [s.param('a', [], zerosInit), s.param('b', [], zerosInit)];
      return { loss: a.mul(x!).add(b), other: a.square().sub(b.mul(3)) };
    },
    optimizer: sgd({ lr: 1, momentum: 0.9 }),
    gradients,
  });
  const { state } = await step.run(await step.init(1), { x: f32([2], []) }, start);
  await step.release();
  return [state.params.a!, state.params.b!].map((t) => Number(t.data[0]));
}

test('the optimizer gets what `gradients` makes of the raw ones; batch, parameters and metrics are at hand', async () => {
  expect(await stepWith(undefined)).toEqual([-2, -1]);
  const regulated: StepOptions['gradients'] = (raw, { batch, params, metrics }) => {
    const other = gradTree(metrics.other!, params);
    return { a: raw.a!.mul(batch.x!), b: raw.b!.add(other.b!) };
  };
  expect(await stepWith(regulated)).toEqual([-4, 2]);
});

test('a gradient that is lost or has another shape is refused', async () => {
  await expect(stepWith(({ a }): Tree => ({ a: a! }))).rejects.toThrow(
    'gradient of "b" [] that `gradients` returned is missing',
  );
  await expect(stepWith(({ a, b }) => ({ a: a!.reshape([1]), b: b! }))).rejects.toThrow(
    '"a" [] that `gradients` returned is [1]',
  );
});
