/** The run around the method: resuming, files, schedules, batch norm, evaluation, the tangent kernel. */
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { normalisationOf } from '../../data/index.ts';
import { f32, sizeOf } from '../../graph/index.ts';
import { writeSafetensors } from '../../hub/index.ts';
import { convNet, type ImageClassifier, mlp } from '../../models/classifiers/index.ts';
import { linear } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { drained, patches } from '../testing/patches.ts';
import { type Condensation, condense } from './condense.ts';
import { Judge } from './evaluate.ts';
import { imagesOf, labelsByClass, normalised, subsetOf } from './images.ts';
import { Matching } from './matching.ts';
import { Network } from './network.ts';
import { condensationOptions, dsaOpsOf, imageLearningRateOf, loopsOf } from './options.ts';
import { readSynthetic, syntheticImages, writeGrid, writeSynthetic } from './synthetic.ts';
import { kernelVelocity, tangentKernels } from './velocity.ts';

const pictures = patches(60, 1);
const normalisation = normalisationOf(pictures);
const real = normalised(pictures, normalisation);
const small: ImageClassifier = (s, x) => mlp(s, x, { classes: 3, widths: [16] });
const folder = () => mkdtemp(join(tmpdir(), 'attune-dcc-'));
const optionsOf = (given: object = {}) =>
  condensationOptions.parse({
    imagesPerClass: 2,
    outerSteps: 4,
    innerSteps: 3,
    networkEpochs: 2,
    warmUpOuter: 1,
    warmUpInner: 2,
    ...given,
  });
const runOf = (given: object = {}, more: Partial<Condensation> = {}) =>
  condense({ images: real, network: small, options: optionsOf(given), ...more });

describe('a condensation', () => {
  test.each([false, true])('stopped and resumed ends with the same bits (augmented: %s)', async (dsa) => {
    const more = dsa ? { dsa: ['crop', 'color'] as const } : {};
    const dir = await folder();
    const want = await drained(runOf({}, { ...more, dir }));
    const broken = await folder();
    const stop = new AbortController();
    for await (const event of runOf({}, { ...more, dir: broken, signal: stop.signal })) {
      if (event.type === 'step' && event.step === 8) stop.abort();
    }
    const events = runOf({}, { ...more, dir: broken, resume: true });
    // Two networks are done; the third begins anew.
    expect((await events.next()).value).toMatchObject({ type: 'start', step: 6, totalSteps: 12 });
    expect(await drained(events)).toEqual(want);
    for (const file of ['checkpoint.safetensors', 'metrics.jsonl'])
      expect(await readFile(join(broken, file))).toEqual(await readFile(join(dir, file)));
    await expect(drained(runOf({}, { ...more, dir, resume: true, fingerprint: 'other' }))).rejects.toThrow(
      'belongs to a run with other settings',
    );
  });

  test('another seed, noise to begin with, or augmentation lead elsewhere', async () => {
    const want = await drained(runOf());
    expect(await drained(runOf())).toEqual(want);
    expect(await drained(runOf({ seed: 2 }))).not.toEqual(want);
    expect(await drained(runOf({ init: 'noise' }))).not.toEqual(want);
    expect(await drained(runOf({}, { dsa: ['crop'] }))).not.toEqual(want);
  });

  test('batch norm takes statistics of real images before each step', async () => {
    const network: ImageClassifier = (s, x, norm) =>
      convNet(s, x, { classes: 3, width: 4, depth: 1, norm: 'batchnorm' }, norm);
    const images = await drained(runOf({ outerSteps: 2, innerSteps: 2 }, { network }));
    expect(images!.data.every(Number.isFinite)).toBe(true);
    const room = new Network(network, real.shape, { learningRate: 0.1 });
    const values = await room.fresh(1);
    const batch = real.tensor([0, 1, 2]);
    const after = await room.statistics(values, batch);
    const name = room.buffers.find((b) => b.name.endsWith('running_mean'))!.name;
    expect(after[name]!.data.every((v) => Number(v) !== 0)).toBe(true);
    expect(values[name]!.data.every((v) => Number(v) === 0)).toBe(true);
    await room.release();
  });

  test('a class with fewer images than the batch has the gradient of those it has', async () => {
    const network = new Network(small, real.shape, { learningRate: 0.1 });
    const of = (realBatch: number) =>
      new Matching(network, {
        classes: 3,
        imagesPerClass: 1,
        realBatch,
        distance: 'rows',
        learningRate: 0.1,
        momentum: 0.5,
        dsa: false,
      });
    const [exact, wide] = [of(4), of(9)];
    const values = await network.fresh(1);
    const images = real.tensor([0, 3, 6, 9]);
    const want = await exact.realGradients(values, 0, { images });
    const got = await wide.realGradients(values, 0, { images });
    for (const [name, { data }] of Object.entries(want))
      data.forEach((v, i) => {
        expect(Number(got[name]!.data[i])).toBeCloseTo(Number(v), 5);
      });
    await expect(exact.realGradients(values, 0, { images: real.tensor([0, 1, 2, 3, 4]) })).rejects.toThrow(
      '1 to 4 real images, not 5',
    );
    await exact.release();
    await wide.release();
  });

  test('too few images of a class, a warm-up beyond the run, loops that the paper lacks', async () => {
    await expect(drained(runOf({ imagesPerClass: 21 }))).rejects.toThrow(
      'class "columns" has 20 images, fewer than the 21 that are needed: begin with --init noise',
    );
    await expect(drained(runOf({ warmUpOuter: 5 }))).rejects.toThrow(
      '--warm-up-outer 5 exceeds --outer-steps 4',
    );
    await expect(drained(runOf({ warmUpInner: 4 }))).rejects.toThrow(
      '--warm-up-inner 4 exceeds --inner-steps 3',
    );
    expect(() => loopsOf(condensationOptions.parse({ imagesPerClass: 5 }))).toThrow(
      'no loops for 5 images per class (it has 1, 10, 20, 30, 40, 50): give --inner-steps and --network-epochs',
    );
  });

  test('loops and learning rates by the paper', () => {
    const at = (given: object) => loopsOf(condensationOptions.parse(given));
    expect(at({})).toEqual({ innerSteps: 10, networkEpochs: 5 });
    expect(at({ method: 'dc' })).toEqual({ innerSteps: 1, networkEpochs: 1 });
    expect(at({ method: 'dc', imagesPerClass: 50 })).toEqual({ innerSteps: 50, networkEpochs: 10 });
    expect(at({ innerSteps: 20 })).toEqual({ innerSteps: 20, networkEpochs: 5 });
    const rate = (given: object) => imageLearningRateOf(condensationOptions.parse(given));
    expect([rate({}), rate({ network: 'mlp' }), rate({ imageLearningRate: 1 })]).toEqual([0.1, 0.01, 1]);
    expect(at({ imagesPerClass: 7, innerSteps: 10, networkEpochs: 3 }).networkEpochs).toBe(3);
  });

  test('digits are not mirrored', () => {
    const o = condensationOptions.parse({ dsa: true });
    expect(dsaOpsOf(o, 'mnist')).not.toContain('flip');
    expect(dsaOpsOf(o, 'weather')).toContain('flip');
    expect(dsaOpsOf({ ...o, dsaOps: ['flip'] }, 'mnist')).toEqual(['flip']);
    expect(dsaOpsOf({ ...o, dsa: false }, 'mnist')).toBeUndefined();
  });
});

describe('evaluation', () => {
  test('networks learn from a few images; the learning rate falls once, after half of the epochs', async () => {
    const judge = new Judge(small, real.shape, { epochs: 40, learningRate: 0.05, seed: 1 });
    const few = subsetOf(real, [0, 1, 2, 3, 4, 5]);
    expect(await judge.judge(few, real, 0)).toBeGreaterThan(0.8);
    expect(await judge.judge(few, real, 0)).toBe(await judge.judge(few, real, 0));
    await judge.release();
  });

  test('E + 1 epochs: ⌊E/2⌋ + 2 of them at the full rate', async () => {
    // A logit per class and no input: with weight decay left out of account, biases move by lr · momentum sums.
    const bias: ImageClassifier = (s, x) => {
      const features = x.reshape([x.dim(0), -1]).mul(0);
      return { features, logits: linear(s.at('out'), features, 2) };
    };
    const images = imagesOf(f32([1, 1], [2, 1, 1, 1]), [0, 0], ['a', 'b']);
    const judge = new Judge(bias, [1, 1, 1], { epochs: 4, learningRate: 1e-4, seed: 1 });
    const start = f32([0, 0]);
    const weight = f32([0, 0], [2, 1]);
    const { 'out.bias': after } = await judge.train(images, 0, undefined, {
      'out.bias': start,
      'out.weight': weight,
    });
    // Gradients stay at −½; 4 steps at the full rate and 1 at a tenth with new momentum.
    const sums = [1, 1.9, 2.71, 3.439].reduce((a, b) => a + b) + 0.1;
    expect(Number(after!.data[0]) / (0.5 * 1e-4)).toBeCloseTo(sums, 2);
    await judge.release();
  });
});

describe('files', () => {
  const set = () => ({
    images: f32(
      new Random(1, 'set').fill(6 * 64, (r) => 3 * r.normal()),
      [6, 1, 8, 8],
    ),
    labels: labelsByClass(3, 2),
    classes: pictures.classes,
    normalisation,
  });

  test('a set comes back as it was', async () => {
    const file = join(await folder(), 'synthetic.safetensors');
    await writeSynthetic(file, set());
    const back = await readSynthetic(file);
    expect([back.images, back.labels, back.classes]).toEqual([set().images, set().labels, set().classes]);
    expect(back.normalisation.std[0]).toBeCloseTo(normalisation.std[0]!, 6);
    expect(syntheticImages(back).tensor([5]).data).toEqual(set().images.data.slice(5 * 64));
    await writeSafetensors(file, { images: set().images }, {});
    await expect(readSynthetic(file)).rejects.toThrow('was not written by attune distill');
  });

  test('the picture shows a row for each class, clipped', async () => {
    const file = join(await folder(), 'synthetic.png');
    await writeGrid(file, set());
    const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([8 * (2 * 10 + 2), 8 * (3 * 10 + 2)]);
    const { images } = set();
    const level = (n: number) =>
      Math.max(
        0,
        Math.min(255, Math.round(255 * (images.data[n]! * normalisation.std[0]! + normalisation.mean[0]!))),
      );
    // The first pixel of the second image of the third class.
    const at = (8 * (2 + 2 * 10) * info.width + 8 * (2 + 10)) * info.channels;
    expect(Math.abs(data[at]! - level(5 * 64))).toBeLessThanOrEqual(1);
  });
});

describe('kernel velocity', () => {
  const images = f32(
    new Random(1, 'kernel').fill(3 * 4, (r) => r.normal()),
    [3, 1, 2, 2],
  );
  test('a linear classifier has J Jᵀ = (x·x′ + 1) on equal logits, and velocity 0', async () => {
    const network = new Network(
      (s, x) => {
        const features = x.reshape([x.dim(0), -1]);
        return { features, logits: linear(s.at('out'), features, 2) };
      },
      [1, 2, 2],
      { learningRate: 1 },
    );
    const [k, l] = await tangentKernels(network, [await network.fresh(1), await network.fresh(2)], images);
    for (let a = 0; a < 6; a++) {
      for (let b = 0; b < 6; b++) {
        let wanted = 1;
        for (let i = 0; i < 4; i++) wanted += images.data[(a >> 1) * 4 + i]! * images.data[(b >> 1) * 4 + i]!;
        expect(Number(k!.data[a * 6 + b])).toBeCloseTo(a % 2 === b % 2 ? wanted : 0, 5);
      }
    }
    expect(kernelVelocity(k!, l!, 1)).toBeCloseTo(0, 6);
    const other = f32(
      new Float32Array(36).fill(0).map((_, i) => (i % 7 === 0 ? 1 : 0)),
      [6, 6],
    );
    expect(
      kernelVelocity(
        other,
        f32(
          other.data.map((v, i) => (i === 0 ? 0 : v)),
          [6, 6],
        ),
        2,
      ),
    ).toBeCloseTo((1 - Math.sqrt(5 / 6)) / 2, 6);
  });

  test('that of an MLP turns', async () => {
    const network = new Network((s, x) => mlp(s, x, { classes: 2, widths: [8] }), [1, 2, 2], {
      learningRate: 1,
    });
    const [k, l] = await tangentKernels(network, [await network.fresh(1), await network.fresh(2)], images);
    expect(kernelVelocity(k!, l!, 10)).toBeGreaterThan(1e-4);
    expect(sizeOf(k!.shape)).toBe(36);
  });
});
