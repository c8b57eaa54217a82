/** What the card calls exact, item by item. */
import { afterAll, describe, expect, test } from 'vitest';
import { type DsaChanges, drawDsa, noDsa } from '../../data/index.ts';
import { constant, f32, floats, grad, type HostTensor, i64, input, sizeOf } from '../../graph/index.ts';
import { convNet, type ImageClassifier, leNet, mlp } from '../../models/classifiers/index.ts';
import { linear, mapTree, type Tree } from '../../nn/index.ts';
import { compile, Random, runOnce } from '../../runtime/index.ts';
import type { TrainState, Values } from '../../train/index.ts';
import { difference } from '../testing/compare.ts';
import { drained } from '../testing/patches.ts';
import { condense } from './condense.ts';
import { distances, gradientDistance } from './distance.ts';
import { imagesOf, labelsByClass } from './images.ts';
import { Matching, type MatchingOptions } from './matching.ts';
import { Network, netFeeds } from './network.ts';
import { condensationOptions } from './options.ts';

const noise = (name: string, shape: readonly number[], scale = 1, shift = 0): HostTensor<'float32'> =>
  f32(
    new Random('dcc', name).fill(sizeOf(shape), (r) => shift + scale * r.normal()),
    shape,
  );
const shape = [1, 4, 4] as const;
const small: ImageClassifier = (s, x) => mlp(s, x, { classes: 3, widths: [8] });
const flat =
  (classes: number): ImageClassifier =>
  (s, x) => {
    const features = x.reshape([x.dim(0), -1]);
    return { features, logits: linear(s.at('out'), features, classes) };
  };
const rooms: { release(): Promise<void> }[] = [];
afterAll(async () => {
  for (const room of rooms) await room.release();
});
function matching(options: Partial<MatchingOptions> = {}, build = small) {
  const network = new Network(build, shape, { learningRate: 0.01 });
  const made = new Matching(network, {
    classes: 3,
    imagesPerClass: 2,
    realBatch: 5,
    distance: 'rows',
    learningRate: 1,
    momentum: 0,
    dsa: false,
    ...options,
  });
  rooms.push(network, made);
  return { network, matching: made };
}
type Room = ReturnType<typeof matching>;

/** One step: the loss, and its gradient by the images, which at learning rate 1 is how they move. */
async function gradientOf(
  { matching }: Room,
  how: 'classwise' | 'contrastive',
  values: Values,
  synthetic: HostTensor<'float32'>,
  real: readonly HostTensor<'float32'>[],
  changes: readonly (DsaChanges<HostTensor> | undefined)[] = real.map(() => undefined),
) {
  const wanted: Values[] = [];
  for (const [c, images] of real.entries()) {
    const change = changes[c];
    wanted.push(await matching.realGradients(values, c, { images, ...(change && { changes: change }) }));
  }
  const { state, loss } = await matching[how](matching.start(synthetic), values, wanted, changes);
  const after = imagesIn(state);
  const gradient = f32(
    synthetic.data.map((v, i) => v - after.data[i]!),
    synthetic.shape,
  );
  return { loss, gradient };
}
const imagesIn = (state: TrainState) => state.params.images as HostTensor<'float32'>;
const reals = (name: string, count = 3, shift = 0) =>
  Array.from({ length: count }, (_, c) => noise(`${name} ${c}`, [5, ...shape], 1, shift));

describe('1. joint and class-wise gradients', () => {
  test('with one class DC and DCC have the same loss and gradient', async () => {
    const room = matching({ classes: 1 }, (s, x) => mlp(s, x, { classes: 3, widths: [8] }));
    const values = await room.network.fresh(1);
    const [synthetic, real] = [noise('s', [2, ...shape]), reals('r', 1)];
    const dc = await gradientOf(room, 'classwise', values, synthetic, real);
    const dcc = await gradientOf(room, 'contrastive', values, synthetic, real);
    expect(dcc.loss).toBe(dc.loss);
    expect(dcc.gradient).toEqual(dc.gradient);
    expect(dc.loss).toBeGreaterThan(0.1);
  });

  test('the gradient of all images is the mean of those of the classes', async () => {
    const { network } = matching();
    const names = network.params.map((p) => p.name);
    const net = network.inputs();
    const images = input('images', [6, ...shape]);
    const labels = labelsByClass(3, 2);
    const of = (from: number, to: number) =>
      network.gradients(net, names, images.slice(0, from, to), constant(i64(labels.slice(from, to))));
    const classes = [0, 2, 4].map((from) => of(from, from + 2));
    const differences = mapTree(of(0, 6), (joint, name) =>
      classes
        .reduce((rest, g) => rest.sub(g[name]!.div(3)), joint)
        .abs()
        .max()
        .div(joint.abs().max()),
    );
    const out = await runOnce(differences, {
      ...netFeeds(await network.fresh(2)),
      images: noise('images', [6, ...shape]),
    });
    for (const [name, { data }] of Object.entries(out)) expect(data[0], name).toBeLessThan(1e-6);
  });
});

describe('2. the distance', () => {
  const gradients: Tree = {
    'conv.weight': constant(noise('conv', [4, 3, 3, 3])),
    'fc.weight': constant(noise('fc', [5, 7])),
    'norm.weight': constant(noise('norm', [3, 2, 2])),
    'fc.bias': constant(noise('bias', [5])),
  };
  const at = async (distance: (typeof distances)[number], other: Tree) =>
    Number((await runOnce({ d: gradientDistance(distance, gradients, other) }, {})).d.data[0]);

  test('rows: 0 for g and αg, twice the rows for g and −αg, biases do not count', async () => {
    const rows = 4 + 5 + 3;
    for (const alpha of [0.5, 3]) {
      expect(
        await at(
          'rows',
          mapTree(gradients, (g) => g.mul(alpha)),
        ),
      ).toBeCloseTo(0, 4);
      expect(
        await at(
          'rows',
          mapTree(gradients, (g) => g.mul(-alpha)),
        ),
      ).toBeCloseTo(2 * rows, 4);
    }
    const other = mapTree(gradients, (_, name) => constant(noise(`other ${name}`, gradients[name]!.shape)));
    const bias = constant(noise('another', [5]));
    expect(await at('rows', { ...other, 'fc.bias': bias })).toBe(await at('rows', other));
    expect(await at('cosine', { ...other, 'fc.bias': bias })).not.toBe(await at('cosine', other));
  });

  test('the ConvNet has 394 rows', () => {
    const { params } = new Network((s, x) => convNet(s, x, { classes: 10 }), [3, 32, 32], {
      learningRate: 1,
    });
    const rows = params.filter((p) => p.shape.length > 1).map((p) => p.shape[0]!);
    expect(rows.reduce((a, b) => a + b)).toBe(3 * 128 + 10);
    expect(params.map((p) => sizeOf(p.shape)).reduce((a, b) => a + b)).toBe(320_010);
  });

  test('squared error and one cosine of everything', async () => {
    const [a, b] = [noise('a', [2, 2]), noise('b', [3])];
    const [u, v] = [noise('u', [2, 2]), noise('v', [3])];
    const all = { x: [...a.data, ...b.data], y: [...u.data, ...v.data] };
    const dot = (p: number[], q: number[]) => p.reduce((sum, value, i) => sum + value * q[i]!, 0);
    const tree = (w: HostTensor, bias: HostTensor) => ({ w: constant(w), b: constant(bias) });
    const out = await runOnce(
      {
        squares: gradientDistance('squared-error', tree(a, b), tree(u, v)),
        cosine: gradientDistance('cosine', tree(a, b), tree(u, v)),
      },
      {},
    );
    const apart = all.x.map((value, i) => value - all.y[i]!);
    expect(out.squares.data[0]).toBeCloseTo(dot(apart, apart), 4);
    const cosine = dot(all.x, all.y) / Math.sqrt(dot(all.x, all.x) * dot(all.y, all.y));
    expect(out.cosine.data[0]).toBeCloseTo(1 - cosine, 5);
  });

  test('a row of zeros counts 1 and has gradients of 0, first and second', async () => {
    const x = input('x', [2, 3]);
    const row = x.mul(constant(f32([0, 0, 0, 1, 1, 1], [2, 3])));
    const wanted = constant(noise('wanted', [2, 3]));
    const d = gradientDistance('rows', { w: row }, { w: wanted });
    const [first] = grad(d, [x]);
    const [second] = grad(first!.square().sum(), [x]);
    const out = await runOnce({ d, first: first!, second: second! }, { x: noise('x', [2, 3]) });
    const alone = await runOnce(
      { d: gradientDistance('rows', { w: x.slice(0, 1, 2) }, { w: wanted.slice(0, 1, 2) }) },
      { x: noise('x', [2, 3]) },
    );
    for (const { data } of [out.first, out.second]) {
      const slopes = Array.from(data, Number);
      expect(slopes.every(Number.isFinite)).toBe(true);
      expect(slopes.slice(0, 3).map(Math.abs)).toEqual([0, 0, 0]);
      expect(slopes.slice(3).some((v) => v !== 0)).toBe(true);
    }
    expect(Number(out.d.data[0])).toBeCloseTo(1 + Number(alone.d.data[0]), 5);
  });
});

test('3. other classes’ real images move the images of a class in DCC alone', async () => {
  const room = matching();
  const values = await room.network.fresh(3);
  const synthetic = noise('s', [6, ...shape]);
  const real = reals('r');
  const other = [real[0]!, noise('replaced', [5, ...shape]), real[2]!];
  const own = (g: HostTensor) => Array.from(g.data, Number).slice(0, 2 * sizeOf(shape));
  const [dc, dcOther] = [
    await gradientOf(room, 'classwise', values, synthetic, real),
    await gradientOf(room, 'classwise', values, synthetic, other),
  ];
  expect(own(dcOther.gradient)).toEqual(own(dc.gradient));
  expect(dcOther.loss).not.toBe(dc.loss);
  const [dcc, dccOther] = [
    await gradientOf(room, 'contrastive', values, synthetic, real),
    await gradientOf(room, 'contrastive', values, synthetic, other),
  ];
  expect(difference(f32(own(dccOther.gradient)), f32(own(dcc.gradient)))).toBeGreaterThan(0.01);
});

describe('4. a linear classifier of zero weights', () => {
  const room = matching({}, flat(3));
  const zero = mapTree(Object.fromEntries(room.network.params.map((p) => [p.name, p.shape])), (s) =>
    f32(new Float32Array(sizeOf(s)), s),
  );
  const size = sizeOf(shape);
  const meanOf = (t: HostTensor, from: number, count: number) =>
    Array.from({ length: size }, (_, i) => {
      let sum = 0;
      for (let n = from; n < from + count; n++) sum += Number(t.data[n * size + i]);
      return sum / count;
    });
  const cosine = (a: number[], b: number[]) => {
    const dot = (p: number[], q: number[]) => p.reduce((sum, v, i) => sum + v * q[i]!, 0);
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  };
  const synthetic = noise('s', [6, ...shape]);
  const real = reals('r');
  const own = [0, 1, 2].map((c) => meanOf(synthetic, 2 * c, 2));
  const theirs = real.map((r) => meanOf(r, 0, 5));

  test('DC: C Σ_c (1 − cos of the class means)', async () => {
    const { loss } = await gradientOf(room, 'classwise', zero, synthetic, real);
    const wanted = 3 * own.map((mean, c) => 1 - cosine(mean, theirs[c]!)).reduce((a, b) => a + b);
    expect(Math.abs(loss - wanted)).toBeLessThan(1e-3);
  });

  test('DCC: Σ_k (1 − cos of the class means’ distances from the mean of all)', async () => {
    const { loss } = await gradientOf(room, 'contrastive', zero, synthetic, real);
    const apart = (means: number[][]) =>
      means.map((mean) => mean.map((v, i) => (means[0]![i]! + means[1]![i]! + means[2]![i]!) / 3 - v));
    const wanted = apart(own).map((v, k) => 1 - cosine(v, apart(theirs)[k]!));
    expect(Math.abs(loss - wanted.reduce((a, b) => a + b))).toBeLessThan(1e-3);
  });

  test('the same vector added to all images leaves DCC as it is and takes DC to 0', async () => {
    const pattern = noise('pattern', shape);
    const shifted = (t: HostTensor<'float32'>, by: number) =>
      f32(
        t.data.map((v, i) => v + by * pattern.data[i % size]!),
        t.shape,
      );
    const at = (how: 'classwise' | 'contrastive', by: number) =>
      gradientOf(
        room,
        how,
        zero,
        shifted(synthetic, by),
        real.map((r) => shifted(r, by)),
      );
    const [plain, far] = [await at('contrastive', 0), await at('contrastive', 30)];
    expect(Math.abs(far.loss - plain.loss)).toBeLessThan(1e-4);
    expect(difference(far.gradient, plain.gradient)).toBeLessThan(1e-3);
    const losses = [];
    for (const by of [0, 3, 30]) losses.push((await at('classwise', by)).loss);
    expect(losses[0]).toBeGreaterThan(1);
    expect(losses[1]).toBeLessThan(losses[0]! / 3);
    expect(losses[2]).toBeLessThan(losses[0]! / 300);
  });
});

describe('5. warm-up and siamese augmentation', () => {
  const images = imagesOf(
    noise('all', [30, ...shape]),
    Array.from({ length: 30 }, (_, i) => i % 3),
    ['a', 'b', 'c'],
  );
  const run = (given: object) =>
    drained(
      condense({
        images,
        network: small,
        options: condensationOptions.parse({
          imagesPerClass: 2,
          outerSteps: 3,
          innerSteps: 2,
          networkEpochs: 1,
          realBatch: 8,
          ...given,
        }),
      }),
    );

  test('a warm-up as long as the run makes DCC the same as DC', async () => {
    const dc = await run({ method: 'dc' });
    const dcc = (outer: number, inner: number) =>
      run({ method: 'dcc', warmUpOuter: outer, warmUpInner: inner });
    expect(await dcc(3, 2)).toEqual(dc);
    expect(await dcc(3, 1)).not.toEqual(dc);
    expect(await dcc(2, 2)).not.toEqual(dc);
    expect(await dcc(0, 2)).toEqual(await dcc(3, 0));
  });

  // Without ReLUs there are no dead rows, which would count 1 however alike both sides are.
  const [room, plain] = [matching({ dsa: true }, flat(3)), matching({}, flat(3))];
  const [synthetic, real] = [noise('s', [6, ...shape]), reals('r')];
  test.each(['classwise', 'contrastive'] as const)('%s: the change that changes nothing', async (how) => {
    const values = await room.network.fresh(5);
    const none = real.map(() => noDsa([4, 4]));
    const got = await gradientOf(room, how, values, synthetic, real, none);
    const want = await gradientOf(plain, how, values, synthetic, real);
    expect(Math.abs(got.loss - want.loss)).toBeLessThan(1e-5);
    expect(difference(got.gradient, want.gradient)).toBeLessThan(1e-5);
  });

  test.each(['classwise', 'contrastive'] as const)(
    '%s: each class has one change, of real and synthetic images alike',
    async (how) => {
      const values = await room.network.fresh(5);
      const copies = real.map((r) => f32(r.data.slice(0, 2 * sizeOf(shape)), [2, ...shape]));
      const all = f32(
        copies.flatMap((c) => [...c.data]),
        [6, ...shape],
      );
      const changes = real.map((_, c) =>
        drawDsa(new Random(8, 'change', c), [4, 4], { ops: ['rotate', 'color'] }),
      );
      const alike = await gradientOf(room, how, values, all, copies, changes);
      expect(alike.loss).toBeLessThan(1e-3);
      // Images that only the real side changes have other gradients.
      const moved = await Promise.all(
        copies.map(async (images, c) =>
          room.matching.realGradients(values, c, { images, changes: changes[c]! }),
        ),
      );
      const none = real.map(() => noDsa([4, 4]));
      const { loss } = await room.matching[how](room.matching.start(all), values, moved, none);
      expect(loss).toBeGreaterThan(0.05);
    },
  );
});

describe('6. finite differences of L by single pixels', () => {
  const check = async (
    network: Network,
    values: Values,
    dtype: 'float64' | 'float32',
    [h, tolerance]: readonly [number, number],
    distance: (typeof distances)[number] = 'rows',
  ) => {
    const cast = (t: HostTensor) => floats(Array.from(t.data, Number), t.shape, dtype);
    const names = network.params.filter((p) => distance !== 'rows' || p.shape.length > 1).map((p) => p.name);
    const net = mapTree(values, (v) => constant(cast(v)));
    const at = (count: number, name: string) => ({
      x: input(name, [count, ...network.shape], dtype),
      value: cast(noise(name, [count, ...network.shape])),
    });
    const [real, own] = [at(4, 'real'), at(3, 'synthetic')];
    const of = ({ x }: typeof real, count: number) =>
      network.gradients(net, names, x, constant(i64(Array.from({ length: count }, (_, i) => i % 3))));
    const loss = gradientDistance(distance, of(own, 3), of(real, 4));
    const program = await compile({ loss, gradient: grad(loss, [own.x])[0]! });
    const run = (synthetic: HostTensor) => program.run({ real: real.value, synthetic });
    const { gradient } = await run(own.value);
    const numbers = Array.from(own.value.data, Number);
    const largest = Math.max(...Array.from(gradient.data as Float64Array, Math.abs));
    for (const i of [0, 7, numbers.length - 1]) {
      const shifted = async (by: number) =>
        Number((await run(floats(numbers.with(i, numbers[i]! + by), own.value.shape, dtype))).loss.data[0]);
      const wanted = ((await shifted(h)) - (await shifted(-h))) / (2 * h);
      expect(Math.abs(Number(gradient.data[i]) - wanted) / largest).toBeLessThan(tolerance);
    }
    await program.release();
  };

  test.each(distances)('%s on an MLP, float64', async (distance) => {
    const { network } = matching();
    await check(network, await network.fresh(4), 'float64', [1e-6, 1e-4], distance);
  });

  // ONNX Runtime's convolutions are float32 alone.
  test.each([
    ['ConvNet with instance norm', (s, x) => convNet(s, x, { classes: 3, width: 4, depth: 2 }), [1, 8, 8]],
    [
      'ConvNet with batch norm',
      (s, x, norm) => convNet(s, x, { classes: 3, width: 4, depth: 2, norm: 'batchnorm' }, norm),
      [1, 8, 8],
    ],
    ['LeNet with max pooling', (s, x) => leNet(s, x, { classes: 3 }), [1, 28, 28]],
  ] as [string, ImageClassifier, [number, number, number]][])('%s, float32', async (_, build, size) => {
    const network = new Network(build, size, { learningRate: 1 });
    await check(network, await network.fresh(4), 'float32', [3e-3, 3e-2]);
  });
});
