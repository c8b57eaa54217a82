import { mkdtemp, readFile, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { f32 } from '../graph/index.ts';
import { mse, normalInit, onesInit, type Progress, sgd, stepDecay } from '../nn/index.ts';
import { Random } from '../runtime/index.ts';
import {
  batchOf,
  DivergedError,
  type StepOptions,
  type TrainEvent,
  type TrainOptions,
  TrainStep,
  train,
} from './index.ts';

/** Regression with momentum, a schedule and a buffer: all that is kept, the step and the batch decide the result. */
const regression: StepOptions = {
  source: 'scratch',
  batch: { x: batchOf([4, 3]), y: batchOf([4]) },
  build: (s, { x, y }) => {
    const w = s.param('w', [3], normalInit(1));
    const scale = s.buffer('scale', [], onesInit);
    s.update('scale', scale.mul(0.9).add(y!.square().mean().mul(0.1)));
    const error = mse(x!.matmul(w.reshape([3, 1])).reshape([4]), y!);
    return { loss: error.div(scale), norm: w.square().sum() };
  },
  optimizer: sgd({ lr: stepDecay(0.05, 2, 0.9), momentum: 0.9 }),
};
let step: TrainStep;
beforeAll(async () => {
  step = await TrainStep.compile(regression);
});
afterAll(() => step.release());

const batch = ({ step }: Progress) => {
  const random = new Random(3, 'batch', step);
  const draw = (n: number) => random.fill(n, (r) => r.normal());
  return { x: f32(draw(12), [4, 3]), y: f32(draw(4)) };
};
const folder = () => mkdtemp(join(tmpdir(), 'attune-loop-'));

type Settings = Partial<TrainOptions> & { onEvent?: (event: TrainEvent) => void };
async function run({ onEvent, ...settings }: Settings = {}) {
  const loop = train({
    step,
    seed: 1,
    totalSteps: 30,
    stepsPerEpoch: 5,
    batch,
    checkpointEvery: 10,
    ...settings,
  });
  const events: TrainEvent[] = [];
  for (;;) {
    const { done, value } = await loop.next();
    if (done) return { ...value, events };
    events.push(value);
    onEvent?.(value);
  }
}
/** What an unbroken run leaves behind. */
async function unbroken(settings: Settings = {}) {
  const dir = await folder();
  return { ...(await run({ ...settings, dir })), ...(await filesOf(dir)) };
}
const filesOf = async (dir: string) => ({
  metrics: await readFile(join(dir, 'metrics.jsonl'), 'utf8'),
  checkpoint: await readFile(join(dir, 'checkpoint.safetensors')),
});
async function expectSame(
  dir: string,
  got: Awaited<ReturnType<typeof run>>,
  want: Awaited<ReturnType<typeof unbroken>>,
) {
  expect(got.params).toEqual(want.params);
  expect([got.step, got.stopped]).toEqual([want.step, want.stopped]);
  expect(await filesOf(dir)).toEqual({ metrics: want.metrics, checkpoint: want.checkpoint });
}

test('events: the start, every step with its epoch and time left, evaluations, checkpoints', async () => {
  const dir = await folder();
  const evaluation = { every: 20, run: async () => ({ accuracy: 0.5 }) };
  const { events, stopped } = await run({ dir, evaluation });
  expect(stopped).toBe('end');
  expect(events[0]).toEqual({ type: 'start', step: 0, totalSteps: 30, parameters: 3 });
  const steps = events.filter((e) => e.type === 'step');
  expect(steps.map((e) => [e.step, e.epoch])).toEqual(
    Array.from({ length: 30 }, (_, i) => [i + 1, Math.floor(i / 5)]),
  );
  expect(steps.every((e) => e.secondsLeft >= 0 && e.totalSteps === 30)).toBe(true);
  expect(steps.at(-1)!.secondsLeft).toBe(0);
  expect(Object.keys(steps[0]!.metrics)).toEqual(['loss', 'norm']);
  const path = join(dir, 'checkpoint.safetensors');
  expect(events.filter((e) => e.type !== 'step').slice(1)).toEqual([
    { type: 'checkpoint', step: 10, path },
    { type: 'evaluation', step: 20, metrics: { accuracy: 0.5 } },
    { type: 'checkpoint', step: 20, path },
    { type: 'evaluation', step: 30, metrics: { accuracy: 0.5 } },
    { type: 'checkpoint', step: 30, path },
  ]);
  const lines = (await filesOf(dir)).metrics
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toHaveLength(32);
  expect(lines[0]).toEqual({ step: 1, epoch: 0, ...steps[0]!.metrics });
  expect(lines.at(-1)).toEqual({ step: 30, evaluation: { accuracy: 0.5 } });
});

describe('a resumed run ends bit for bit as an unbroken one', () => {
  test('after Ctrl-C, at every kind of moment', async () => {
    const want = await unbroken();
    for (const last of [1, 10, 19]) {
      const dir = await folder();
      const stop = new AbortController();
      const broken = await run({
        dir,
        signal: stop.signal,
        onEvent: (e) => e.type === 'step' && e.step === last && stop.abort(),
      });
      expect([broken.stopped, broken.step]).toEqual(['interrupted', last]);
      expect(broken.events.at(-1)).toMatchObject({ type: 'checkpoint', step: last });
      const resumed = await run({ dir, resume: true });
      expect(resumed.events[0]).toMatchObject({ type: 'start', step: last });
      await expectSame(dir, resumed, want);
    }
  });

  test('in a worker, where a step under way is given up', async () => {
    const want = await unbroken();
    const dir = await folder();
    const inWorker = await TrainStep.compile({ ...regression, compile: { worker: true } });
    const stop = new AbortController();
    const stopping = (t: Progress) => {
      if (t.step === 17) setImmediate(() => stop.abort());
      return batch(t);
    };
    const broken = await run({ dir, step: inWorker, batch: stopping, signal: stop.signal });
    expect(broken.stopped).toBe('interrupted');
    expect(broken.step).toBeGreaterThanOrEqual(17);
    await expectSame(dir, await run({ dir, step: inWorker, resume: true }), want);
    await inWorker.release();
  });

  test('after a failure midway, which loses the steps since the last checkpoint alone', async () => {
    const want = await unbroken();
    const dir = await folder();
    const failing = (t: Progress) => {
      if (t.step === 17) throw new Error('the disk with the images is gone');
      return batch(t);
    };
    await expect(run({ dir, batch: failing })).rejects.toThrow('the images is gone');
    const resumed = await run({ dir, resume: true });
    expect(resumed.events[0]).toMatchObject({ type: 'start', step: 10 });
    await expectSame(dir, resumed, want);
  });

  test('killed between the two files of a checkpoint', async () => {
    const want = await unbroken();
    const dir = await folder();
    await run({ dir, totalSteps: 20, fingerprint: '' });
    const { metrics } = await filesOf(dir);
    const earlier = await folder();
    const stop = new AbortController();
    await run({
      dir: earlier,
      signal: stop.signal,
      onEvent: (e) => e.type === 'checkpoint' && stop.abort(),
    });
    // The metrics of step 20 are written, the checkpoint is that of step 10.
    await writeFile(join(earlier, 'metrics.jsonl'), metrics);
    await expectSame(earlier, await run({ dir: earlier, resume: true }), want);
  });

  test('once finished: nothing is done again', async () => {
    const dir = await folder();
    const want = { ...(await run({ dir })), ...(await filesOf(dir)) };
    const again = await run({ dir, resume: true });
    expect(again.events.map((e) => e.type)).toEqual(['start']);
    await expectSame(dir, again, want);
  });

  test('where there is no checkpoint yet, from the start', async () => {
    const dir = await folder();
    await expectSame(dir, await run({ dir, resume: true }), await unbroken());
  });
});

describe('early stop', () => {
  /** Best at the second evaluation; a pure function of the parameters' step through `scores`. */
  const scores = [0.2, 0.8, 0.5, 0.7, 0.6, 0.1];
  const evaluation = (higherIsBetter = true) => {
    let at = 0;
    return {
      every: 5,
      run: async () => ({ score: (higherIsBetter ? 1 : -1) * scores[at++]! }),
      earlyStop: { metric: 'score', patience: 2, higherIsBetter },
    };
  };

  test.each([true, false])('returns the best parameters (higher is better: %s)', async (higherIsBetter) => {
    const at10 = await run({ totalSteps: 10 });
    const { params, step, stopped, events } = await run({ evaluation: evaluation(higherIsBetter) });
    expect([step, stopped]).toEqual([10, 'early']);
    expect(params).toEqual(at10.params);
    expect(events.filter((e) => e.type === 'step')).toHaveLength(20);
  });

  test('resumes with the best parameters and the patience that is left, and after the stop', async () => {
    const want = await unbroken({ evaluation: evaluation() });
    const dir = await folder();
    const stop = new AbortController();
    const rule = evaluation();
    await run({
      dir,
      evaluation: rule,
      signal: stop.signal,
      onEvent: (e) => e.type === 'step' && e.step === 17 && stop.abort(),
    });
    await expectSame(dir, await run({ dir, resume: true, evaluation: rule }), want);
    await expectSame(dir, await run({ dir, resume: true, evaluation: rule }), want);
  });

  test('names the metrics that there are, and one that is not a number', async () => {
    const watch = (score: number, metric: string) => ({
      every: 5,
      run: async () => ({ score }),
      earlyStop: { metric, patience: 1, higherIsBetter: true },
    });
    await expect(run({ evaluation: watch(1, 'accuracy') })).rejects.toThrow(
      'Early stop watches "accuracy", but evaluation reports score',
    );
    await expect(run({ evaluation: watch(Number.NaN, 'score') })).rejects.toThrow(
      'Step 5: score of the evaluation is NaN. Training diverged',
    );
  });
});

describe('checkpoints that do not fit', () => {
  test('of other settings are refused with the setting, and kept', async () => {
    const dir = await folder();
    await run({ dir, fingerprint: '{"method":"coop","shots":16,"seed":1}' });
    const before = await filesOf(dir);
    await expect(
      run({ dir, resume: true, fingerprint: '{"method":"coop","shots":4,"seed":1}' }),
    ).rejects.toThrow(
      /belongs to a run with other settings: ".*"shots":16,"seed":1}" there, ".*"shots":4,"seed":1}" here/,
    );
    expect(await filesOf(dir)).toEqual(before);
  });

  test('truncated ones are refused with what to do, and nothing is lost', async () => {
    const dir = await folder();
    await run({ dir });
    const path = join(dir, 'checkpoint.safetensors');
    const { checkpoint, metrics } = await filesOf(dir);
    for (const size of [0, 40, checkpoint.length - 1]) {
      await writeFile(path, checkpoint);
      await truncate(path, size);
      await expect(run({ dir, resume: true })).rejects.toThrow(
        /The checkpoint cannot be resumed: .*checkpoint.safetensors: truncated.*Remove it to start again/,
      );
      expect(await filesOf(dir)).toEqual({ checkpoint: checkpoint.subarray(0, size), metrics });
    }
    await writeFile(
      path,
      await readFile(join(import.meta.dirname, '../hub/testdata/safetensors/python.safetensors')),
    );
    await expect(run({ dir, resume: true })).rejects.toThrow('is not a checkpoint of this program');
  });
});

describe('training that goes wrong', () => {
  test('NaN: the step and the metric; the metrics are written, the checkpoint before it is kept', async () => {
    const dir = await folder();
    const poisoned = (t: Progress) =>
      t.step === 14 ? { ...batch(t), y: f32([Number.NaN, 0, 0, 0]) } : batch(t);
    const failed = run({ dir, batch: poisoned });
    await expect(failed).rejects.toThrow(DivergedError);
    await expect(failed).rejects.toThrow('Step 15: loss is NaN. Training diverged: lower the learning rate');
    expect((await filesOf(dir)).metrics.trim().split('\n')).toHaveLength(15);
    const mended = await run({ dir, resume: true });
    expect(mended.events[0]).toMatchObject({ type: 'start', step: 10 });
    await expectSame(dir, mended, await unbroken());
  });

  test('a last step that leaves no finite parameters gives no result', async () => {
    const leap = await TrainStep.compile({
      ...regression,
      optimizer: sgd({ lr: (t) => (t.step === t.totalSteps - 1 ? 1e39 : 0.05) }),
    });
    await expect(run({ step: leap })).rejects.toThrow('Step 30: "w" is not finite. Training diverged');
    await leap.release();
  });

  test('a loss that rises for good, with where it was and is; also when resumed midway', async () => {
    const rising = (t: Progress) => ({
      ...batch(t),
      y: f32(new Float32Array(4).fill(t.step < 25 ? 0.1 : 100)),
    });
    const settings = { batch: rising, totalSteps: 60 };
    const message = await run(settings).catch((error: Error) => error.message);
    expect(message).toMatch(/^Step 2\d: the loss rose to \S+ from \S+\. Training diverged/);
    const dir = await folder();
    const stop = new AbortController();
    const onEvent = (e: TrainEvent) => e.type === 'step' && e.step === 24 && stop.abort();
    await run({ ...settings, dir, signal: stop.signal, onEvent });
    await expect(run({ ...settings, dir, resume: true })).rejects.toThrow(message as string);
  });

  test('but not single steps far above the others, as batches of one image have them', async () => {
    const x = f32(new Float32Array(12), [4, 3]);
    const uneven = (t: Progress) => ({ x, y: f32(new Float32Array(4).fill(t.step % 7 === 6 ? 4 : 0.03)) });
    const { step: last } = await run({ batch: uneven, stepsPerEpoch: 35, totalSteps: 105 });
    expect(last).toBe(105);
  });
});
