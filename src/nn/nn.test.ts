import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  constant,
  f32,
  grad,
  type HostTensor,
  i64,
  input,
  type Shape,
  sizeOf,
  type Tensor,
} from '../graph/index.ts';
import { compile, Random } from '../runtime/index.ts';
import type { Initializer, Progress, Transform } from './index.ts';
import * as nn from './index.ts';

interface Moments {
  shape: number[];
  mean: number;
  std: number;
  min: number;
  max: number;
}
const golden = JSON.parse(readFileSync(new URL('./testdata/golden.json', import.meta.url), 'utf8')) as {
  optimizers: { w: number[]; b: number[]; x: number[]; y: number[]; steps: Record<string, number[][][]> };
  schedules: Record<string, number[]>;
  initialisers: Record<string, Moments>;
  losses: {
    logits: number[];
    hard: number[];
    soft: number[];
    other: number[];
    mse: number[];
    accuracy: number;
    cases: Record<string, { loss: number[]; grad: number[] }>;
  };
  attention: Record<'q' | 'k' | 'v' | 'full' | 'causal', number[]>;
  layers: Record<'x' | 'weight' | 'bias' | 'w' | 'b' | 'norm' | 'linear' | 'far' | 'farNorm', number[]>;
};

function expectClose(
  got: ArrayLike<number | bigint>,
  want: readonly number[],
  tolerance: number,
  what = '',
): void {
  expect(got.length).toBe(want.length);
  const scale = Math.max(1, ...want.map(Math.abs));
  for (const [i, x] of want.entries()) {
    const error = Math.abs(Number(got[i]) - x) / scale;
    expect(error, `${what}[${i}] is ${got[i]}, not ${x}`).toBeLessThan(tolerance);
  }
}

async function evaluate(outputs: Record<string, Tensor>, feeds: Record<string, HostTensor> = {}) {
  const program = await compile(outputs);
  const out = await program.run(feeds);
  await program.release();
  return out;
}

/** Runs the reference's regression with an optimizer and gives both parameters after every step. */
async function optimise(
  transform: Transform,
  watch?: (state: Record<string, HostTensor>) => void,
): Promise<number[][][]> {
  const { w, b, x, y } = golden.optimizers;
  const shapes: Record<string, Shape> = { w: [3, 2], b: [2] };
  const params = { w: input('w', shapes.w!), b: input('b', shapes.b!) };
  const batch = { x: input('x', [5, 3]), y: input('y', [5, 2]), t: input('t', []) };
  const loss = batch.x.matmul(params.w).add(params.b).sub(batch.y).square().mean().mul(batch.t);
  const [dw, db] = grad(loss, [params.w, params.b]);
  const stateShapes = transform.init(shapes);
  const state = Object.fromEntries(
    Object.entries(stateShapes).map(([name, shape]) => [name, input(`state/${name}`, shape)]),
  );
  const hypers = new Map<string, (t: Progress) => number>();
  const result = transform.update({ w: dw!, b: db! }, state, {
    params,
    hyper(name, value) {
      const unique = `${name}.${hypers.size}`;
      hypers.set(unique, value);
      return input(`hyper/${unique}`, []);
    },
  });
  expect(Object.keys(result.state).sort()).toEqual(Object.keys(stateShapes).sort());
  const program = await compile({
    'next/w': params.w.sub(result.updates.w!),
    'next/b': params.b.sub(result.updates.b!),
    ...Object.fromEntries(Object.entries(result.state).map(([name, t]) => [`next/state/${name}`, t])),
  });
  const values: Record<string, HostTensor> = { w: f32(w, [3, 2]), b: f32(b) };
  for (const [name, shape] of Object.entries(stateShapes)) {
    values[`state/${name}`] = f32(new Float32Array(sizeOf(shape)), shape);
  }
  const track: number[][][] = [];
  for (let step = 0; step < 6; step++) {
    const progress = { step, epoch: step, stepsPerEpoch: 1, totalSteps: 6 };
    const out = await program.run({
      ...values,
      x: f32(x.slice(step * 15, step * 15 + 15), [5, 3]),
      y: f32(y.slice(step * 10, step * 10 + 10), [5, 2]),
      t: f32([(step + 1) / 3], []),
      ...Object.fromEntries([...hypers].map(([name, f]) => [`hyper/${name}`, f32([f(progress)], [])])),
    });
    for (const name of Object.keys(values)) values[name] = out[`next/${name}` as 'next/w'];
    watch?.(Object.fromEntries(Object.keys(stateShapes).map((name) => [name, values[`state/${name}`]!])));
    track.push([Array.from(values.w!.data, Number), Array.from(values.b!.data, Number)]);
  }
  await program.release();
  return track;
}

describe('optimizers equal torch.optim over six steps', () => {
  const { sgd, adam, adamw, nadam, radam, adamax, rmsprop, adagrad, adadelta, adafactor } = nn;
  const cases: Record<string, Transform> = {
    sgd: sgd({ lr: 0.1 }),
    'sgd momentum': sgd({ lr: 0.1, momentum: 0.9 }),
    'sgd nesterov decay': sgd({ lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.05 }),
    'sgd dampening decay': sgd({ lr: 0.1, momentum: 0.8, dampening: 0.3, weightDecay: 0.1 }),
    'sgd decay': sgd({ lr: 0.1, weightDecay: 0.2 }),
    adam: adam({ lr: 0.05 }),
    'adam decay': adam({ lr: 0.05, beta1: 0.8, beta2: 0.99, eps: 1e-3, weightDecay: 0.1 }),
    adamw: adamw({ lr: 0.05 }),
    'adamw decay': adamw({ lr: 0.05, beta2: 0.98, eps: 1e-6, weightDecay: 0.3 }),
    'sgd clipped': nn.chain(nn.clipByGlobalNorm(1), sgd({ lr: 0.1, momentum: 0.9 })),
    'adamw groups': nn.perGroup({
      w: adamw({ lr: 0.05, weightDecay: 0.3 }),
      '*': adamw({ lr: 0.2, weightDecay: 0 }),
    }),
    'sgd maximize': sgd({ lr: 0.001, momentum: 0.9, weightDecay: 0.1, maximize: true }),
    'adamw amsgrad': adamw({ lr: 0.05, amsgrad: true, beta2: 0.5, maximize: true }),
    'adam amsgrad': adam({ lr: 0.05, amsgrad: true, beta2: 0.5 }),
    nadam: nadam({ lr: 0.05, weightDecay: 0.1 }),
    radam: radam({ lr: 0.05, beta2: 0.99 }),
    'radam early': radam({ lr: 0.05, beta1: 0.8, beta2: 0.7, weightDecay: 0.1 }),
    adamax: adamax({ lr: 0.05, weightDecay: 0.1 }),
    rmsprop: rmsprop({ lr: 0.05 }),
    'rmsprop centered': rmsprop({
      lr: 0.01,
      alpha: 0.8,
      eps: 1e-6,
      momentum: 0.7,
      centered: true,
      weightDecay: 0.1,
    }),
    adagrad: adagrad({ lr: 0.1, lrDecay: 0.1, initial: 0.2, weightDecay: 0.1 }),
    adadelta: adadelta({ lr: 1, rho: 0.8, weightDecay: 0.1 }),
    adafactor: adafactor(),
    'adafactor fixed': adafactor({ lr: 0.05, scaleParameter: false, beta1: 0.9, weightDecay: 0.1 }),
    'adafactor warm': adafactor({ warmupInit: true, clipThreshold: 0.5 }),
    accumulated: nn.accumulate(2, adamw({ lr: 0.05 })),
    'sgd cosine': sgd({ lr: nn.cosine(0.1), momentum: 0.9 }),
  };
  test('every case is covered', () => {
    expect(Object.keys(cases).sort()).toEqual(Object.keys(golden.optimizers.steps).sort());
  });
  test.each(Object.entries(cases))('%s', async (name, transform) => {
    const track = await optimise(transform);
    for (const [step, [w, b]] of golden.optimizers.steps[name]!.entries()) {
      expectClose(track[step]![0]!, w!, 1e-5, `w after step ${step}`);
      expectClose(track[step]![1]!, b!, 1e-5, `b after step ${step}`);
    }
  });

  test('an average of parameters starts as the first and follows them', async () => {
    const plain = await optimise(sgd({ lr: 0.1 }));
    const averages: number[][] = [];
    const averaged = await optimise(nn.chain(sgd({ lr: 0.1 }), nn.averageParameters(0.9)), (state) => {
      averages.push(Array.from(state['1.ema/w']!.data, Number));
    });
    expect(averaged).toEqual(plain);
    let want = plain[0]![0]!;
    plain.forEach(([w], step) => {
      want = want.map((old, i) => 0.9 * old + 0.1 * w![i]!);
      expectClose(averages[step]!, want, 1e-6, `average after step ${step}`);
    });
  });

  test('Lion moves by the sign of its look ahead, LAMB by the length of the parameter', async () => {
    const [first] = await optimise(nn.lion({ lr: 0.01 }));
    const { w } = golden.optimizers;
    first![0]!.forEach((x, i) => {
      expect(Math.abs(x - w[i]!)).toBeCloseTo(0.01, 6);
    });
    const [lamb] = await optimise(nn.lamb({ lr: 0.01 }));
    const length = (v: readonly number[]) => Math.hypot(...v);
    expect(length(lamb![0]!.map((x, i) => x - w[i]!))).toBeCloseTo(0.01 * length(w), 6);
  });

  test('a weight-decay mask is the same as groups with and without decay', async () => {
    const grouped = (decayMask: nn.Mask) => optimise(adamw({ lr: 0.05, weightDecay: 0.3, decayMask }));
    const want = await optimise(
      nn.perGroup({ w: adamw({ lr: 0.05, weightDecay: 0.3 }), b: adamw({ lr: 0.05, weightDecay: 0 }) }),
    );
    expect(await grouped(['w'])).toEqual(want);
    expect(await grouped((name) => name !== 'b')).toEqual(want);
  });

  test('transforms between gradient and update: values clipped, updates dropped', async () => {
    const [first] = await optimise(nn.chain(nn.clipByValue(0), sgd({ lr: 1 })));
    expectClose(first![0]!, golden.optimizers.w, 1e-7);
    const frozen = nn.chain(
      nn.mapUpdates((u, name) => (name === 'w' ? u.mul(0) : u)),
      sgd({ lr: 0.1 }),
    );
    const last = (await optimise(frozen)).at(-1)!;
    expectClose(last[0]!, golden.optimizers.w, 1e-7);
    expect(Math.abs(last[1]![0]! - golden.optimizers.b[0]!)).toBeGreaterThan(0.01);
  });

  test('a parameter in no group is an error', () => {
    expect(() => nn.perGroup({ 'text.**': sgd({ lr: 1 }) }).init({ 'vision.w': [1] })).toThrow(
      'Parameter "vision.w" is in no group (text.**)',
    );
  });
});

describe('schedules', () => {
  const rates = (schedule: nn.Schedule, epochs: number, stepsPerEpoch = 1) =>
    Array.from({ length: epochs * stepsPerEpoch }, (_, step) =>
      schedule({
        step,
        epoch: Math.floor(step / stepsPerEpoch),
        stepsPerEpoch,
        totalSteps: epochs * stepsPerEpoch,
      }),
    );

  test.each([1, 5, 50])("coopCosine equals Dassl's scheduler over %i epochs", (epochs) => {
    expectClose(rates(nn.coopCosine(0.002), epochs), golden.schedules[`dassl ${epochs}`]!, 1e-9);
    const perStep = rates(nn.coopCosine(0.002), epochs, 3);
    expect(perStep.filter((_, i) => i % 3 === 2)).toEqual(rates(nn.coopCosine(0.002), epochs));
  });
  test('cosine equals CosineAnnealingLR, after a linear warm-up', () => {
    const plain = rates(nn.cosine(0.5, { end: 0.05 }), 20);
    expectClose(plain, golden.schedules.cosine!.slice(0, 20), 1e-9);
    const schedule = nn.cosine(0.5, { end: 0.05, warmupSteps: 4 });
    const warm = rates(schedule, 24);
    expect(warm.slice(0, 4)).toEqual([0.125, 0.25, 0.375, 0.5]);
    expectClose(warm.slice(4), golden.schedules.cosine!.slice(0, 20), 1e-9);
    expect(schedule({ step: 99, epoch: 99, stepsPerEpoch: 1, totalSteps: 24 })).toBeCloseTo(0.05, 12);
    expect(rates(nn.cosine(1, { warmupSteps: 10 }), 2)).toEqual([0.1, 0.2]);
  });
  test('stepDecay equals StepLR', () => {
    expectClose(rates(nn.stepDecay(0.5, 3), 10), golden.schedules.step!, 1e-9);
  });
  test.each<[string, nn.Schedule, totalSteps: number]>([
    ['multiStep', nn.multiStep(0.5, [2, 3, 7], 0.3), 10],
    ['exponential', nn.exponential(0.5, 0.8), 6],
    ['constantWithWarmup', nn.constantWithWarmup(0.5, 3), 6],
    ['linearWithWarmup', nn.linearWithWarmup(0.5, 3), 10],
    ['cosineWithWarmup', nn.cosineWithWarmup(0.5, 3), 10],
    ['cosineWithWarmup, waves', nn.cosineWithWarmup(0.5, 0, 1.25), 10],
    ['cosineWithRestarts', nn.cosineWithRestarts(0.5, 2, 2), 12],
    ['polynomial', nn.polynomial(0.5, { warmupSteps: 2, end: 0.01, power: 2 }), 10],
    ['inverseSqrt', nn.inverseSqrt(0.5, 3), 8],
    ['inverseSqrt, no warm-up', nn.inverseSqrt(0.5), 4],
    ['oneCycle', nn.oneCycle(0.5), 12],
    ['oneCycle, linear', nn.oneCycle(0.5, { rise: 0.4, anneal: 'linear', divide: 5, finalDivide: 10 }), 11],
  ])('%s equals that of PyTorch or transformers', (name, schedule, totalSteps) => {
    const want = golden.schedules[name]!;
    const got = want.map((_, step) => schedule({ step, epoch: step, stepsPerEpoch: 1, totalSteps }));
    expectClose(got, want, 1e-9);
  });
});

describe('initialisers have the moments and bounds of torch.nn.init', () => {
  const cases: Record<string, Initializer> = {
    linear: nn.linearInit,
    'linear conv': nn.linearInit,
    linearBias: nn.linearBiasInit(300),
    xavierUniform: nn.xavierUniformInit,
    'xavierUniform conv': nn.xavierUniformInit,
    kaimingNormal: nn.kaimingNormalInit(),
    'kaimingNormal fanOut': nn.kaimingNormalInit('fanOut'),
    normal: nn.normalInit(0.02, 0.5),
    uniform: nn.uniformInit(-0.3, 0.7),
    'truncatedNormal wide': nn.truncatedNormalInit(1.5),
    truncatedNormal: nn.truncatedNormalInit(0.02),
  };
  test.each(Object.entries(golden.initialisers))('%s', async (name, want) => {
    const values = await cases[name]!(want.shape, new Random(5, name));
    expect(values).toHaveLength(sizeOf(want.shape));
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
    expect(Math.abs(mean - want.mean)).toBeLessThan(0.03 * want.std);
    expect(std / want.std).toBeGreaterThan(0.97);
    expect(std / want.std).toBeLessThan(1.03);
    const uniform = /linear|niform/.test(name);
    for (const [got, edge] of [
      [Math.min(...values), want.min],
      [Math.max(...values), want.max],
    ] as const) {
      // The tails of a normal are short of no bound; those of the others end where torch's do.
      const slack = uniform ? 0.002 : name.endsWith('wide') ? 0.001 : 1;
      expect(Math.abs(got - edge)).toBeLessThan(slack * want.std * (uniform ? 3 : 1));
    }
  });
  test('streams are named: the same name gives the same values', async () => {
    const draw = (seed: number, name: string) => nn.normalInit(1)([4], new Random(seed, 'init', name));
    expect(await draw(1, 'a')).toEqual(await draw(1, 'a'));
    expect(await draw(1, 'a')).not.toEqual(await draw(1, 'b'));
    expect(await draw(1, 'a')).not.toEqual(await draw(2, 'a'));
    expect(() => nn.linearInit([3], new Random(1))).toThrow('Fans need at least two axes, not [3]');
  });
});

describe('losses equal torch.nn.functional', () => {
  const { logits, hard, soft, other, mse, cases } = golden.losses;
  const x = input('x', [4, 5]);
  const feeds = { x: f32(logits, [4, 5]) };
  const targets = { hard: constant(i64(hard)), soft: constant(f32(soft, [4, 5])) };

  test.each([
    ['hard', 0],
    ['soft', 0],
    ['hard', 0.1],
    ['soft', 0.3],
  ] as const)('cross-entropy, %s targets, smoothing %d', async (kind, labelSmoothing) => {
    const loss = nn.crossEntropy(x, targets[kind], { labelSmoothing });
    const [dx] = grad(loss, [x]);
    const out = await evaluate({ loss, dx: dx! }, feeds);
    const want = cases[`${kind} ${labelSmoothing}`]!;
    expectClose(out.loss!.data, want.loss, 1e-6);
    expectClose(out.dx!.data, want.grad, 1e-6);
  });

  test('cross-entropy takes int32 classes and any leading axes, and refuses what does not fit', async () => {
    const narrow = constant({ dtype: 'int32', shape: [2, 2], data: Int32Array.from(hard) });
    const loss = nn.crossEntropy(x.reshape([2, 2, 5]), narrow);
    expectClose((await evaluate({ loss }, feeds)).loss!.data, cases['hard 0']!.loss, 1e-6);
    expect(() => nn.crossEntropy(x, constant(i64([0, 1])))).toThrow(
      'crossEntropy: targets do not fit logits (got int64[2] and float32[4, 5])',
    );
  });

  test('of logits in the thousands is finite', async () => {
    const loss = nn.crossEntropy(x.mul(1e4), targets.hard);
    const [dx] = grad(loss, [x]);
    const out = await evaluate({ loss, dx: dx! }, feeds);
    expect([...out.loss!.data, ...out.dx!.data].every((v) => Number.isFinite(Number(v)))).toBe(true);
  });

  test('mean squares, accuracy', async () => {
    const out = await evaluate(
      { mse: nn.mse(x, constant(f32(other, [4, 5]))), accuracy: nn.accuracy(x, targets.hard) },
      feeds,
    );
    expectClose(out.mse!.data, mse, 1e-6);
    expectClose(out.accuracy!.data, [golden.losses.accuracy], 1e-6);
  });
});

describe('layers equal torch.nn.functional', () => {
  test('attention, with and without a causal mask', async () => {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => input(name, [2, 3, 4, 8])) as [Tensor, Tensor, Tensor];
    const at = (name: 'q' | 'k' | 'v') => f32(golden.attention[name], [2, 3, 4, 8]);
    const out = await evaluate(
      {
        full: nn.dotProductAttention(q, k, v),
        causal: nn.dotProductAttention(q, k, v, nn.causalMask(4)),
        heads: nn.joinHeads(nn.splitHeads(nn.joinHeads(q), 3)),
      },
      { q: at('q'), k: at('k'), v: at('v') },
    );
    expectClose(out.full!.data, golden.attention.full, 1e-6);
    expectClose(out.causal!.data, golden.attention.causal, 1e-6);
    expect(out.heads!.shape).toEqual([2, 4, 24]);
  });

  test('linear, LayerNorm and embedding, under the names and layouts of PyTorch', async () => {
    const g = golden.layers;
    const source = (await import('../graph/host.ts')).memoryWeights({
      'norm.weight': f32(g.weight),
      'norm.bias': f32(g.bias),
      'fc.weight': f32(g.w, [4, 6]),
      'fc.bias': f32(g.b),
      'far.weight': f32(new Float32Array(768).fill(1)),
      'far.bias': f32(new Float32Array(768)),
    });
    const x = input('x', [2, 3, 6]);
    const { result } = nn.trace(source, (s) => ({
      norm: nn.layerNorm(s.at('norm'), x, 1e-3),
      linear: nn.linear(s.at('fc'), x, 4),
      unbiased: nn.linear(s.at('fc'), x, 4, { bias: false }),
      rows: nn.embedding(s.at('fc'), constant(i64([3, 0], [1, 2])), 4, 6),
      far: nn.layerNorm(s.at('far'), input('row', [2, 768])),
    }));
    const out = await evaluate(result, { x: f32(g.x, [2, 3, 6]), row: f32(g.far, [2, 768]) });
    expectClose(out.norm!.data, g.norm, 1e-6);
    expectClose(out.linear!.data, g.linear, 1e-6);
    expect(Number(out.linear!.data[1]) - Number(out.unbiased!.data[1])).toBeCloseTo(g.b[1]!, 4);
    expect(out.rows!.shape).toEqual([1, 2, 6]);
    expect([...out.rows!.data].slice(0, 6)).toEqual([...f32(g.w.slice(18)).data]);
    expectClose(out.far!.data, g.farNorm, 1e-4);
  });
});
