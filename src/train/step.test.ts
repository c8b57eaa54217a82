import { describe, expect, test } from 'vitest';
import { f32, memoryWeights } from '../graph/index.ts';
import { constantInit, onesInit, type Scope, sgd, type Tree, zerosInit } from '../nn/index.ts';
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

describe('buffers', () => {
  const none = memoryWeights({}, 'none');
  const two = constantInit(2);
  const compiled = (build: StepOptions['build'], more: Partial<StepOptions> = {}) =>
    TrainStep.compile({
      source: none,
      batch: { x: batchOf([]) },
      optimizer: sgd({ lr: 1, momentum: 0.9, weightDecay: 0.5 }),
      build,
      ...more,
    });
  /** w·b·x: the gradient of w is b·x, that of b would be w·x. */
  const loss = (s: Scope, { x }: Tree) =>
    s
      .param('w', [], onesInit)
      .mul(s.at('norm').buffer('b', [], two))
      .mul(x!);

  test('are kept from step to step, moved by `update` alone, and no parameters', async () => {
    const step = await compiled((s, batch) => {
      const out = { loss: loss(s, batch), seen: s.at('norm').buffer('b', [], two).mul(1) };
      s.at('norm').update('b', out.seen.add(batch.x!));
      return { ...out, later: s.buffer('norm.b', [], two).mul(1) };
    });
    expect([step.params.map((p) => p.name), step.buffers.map((b) => b.name)]).toEqual([['w'], ['norm.b']]);
    expect(step.parameterCount).toBe(1);
    let state = await step.init(1);
    expect(Object.keys(state.optimizer).filter((name) => name.includes('b'))).toEqual([]);
    for (const [x, seen] of [
      [3, 2],
      [-1, 5],
    ] as const) {
      const ran = await step.run(state, { x: f32([x], []) }, start);
      expect(ran.metrics).toMatchObject({ seen, later: seen + x });
      state = ran.state;
    }
    expect(state.params['norm.b']).toEqual(f32([4], []));
    await step.release();
  });

  test('without an update they stay; `after` sees the parameters behind the step', async () => {
    const step = await compiled((s, batch) => ({ loss: loss(s, batch).add(s.buffer('still', [], two)) }), {
      after: (s, { x }) => s.update('norm.b', s.param('w', [], onesInit).mul(x!)),
    });
    const { state } = await step.run(await step.init(1), { x: f32([3], []) }, start);
    const w = 1 - (2 * 3 + 0.5);
    expect(state.params).toEqual({ w: f32([w], []), 'norm.b': f32([3 * w], []), still: f32([2], []) });
    await step.release();
  });

  test('what is declared, updated or read otherwise than it can be is an error', async () => {
    const fails = (build: (s: Scope) => void) =>
      expect(
        compiled((s, batch) => {
          build(s);
          return { loss: loss(s, batch) };
        }),
      ).rejects;
    await fails((s) => s.param('norm.b', [], two)).toThrow('"norm.b" is declared both as a parameter and');
    await fails((s) => s.buffer('w', [], two)).toThrow('"w" is declared both as a parameter and as a buffer');
    await fails((s) => s.buffer('norm.b', [2], two)).toThrow('"norm.b" is declared as [2] and again as []');
    await fails((s) => s.update('b', s.buffer('norm.b', [], two))).toThrow(
      '"b" is updated, but no buffer of that name is declared',
    );
    await fails((s) => s.update('norm.b', s.buffer('norm.b', [], two).reshape([1]))).toThrow(
      'Buffer "norm.b" is declared as [], but updated with [1]',
    );
    await fails((s) => {
      s.buffer('last', [], two);
      s.update('last', s.param('w', [], onesInit));
    }).toThrow('Buffer "last" is updated, but never read');
  });
});
