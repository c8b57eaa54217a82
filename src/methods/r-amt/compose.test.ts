/** A mask on the vision tower, under prompts of the text tower, under RS2's sampler, which draws a new subset every round. */
import { expect, test } from 'vitest';
import { toFloat32 } from '../../graph/index.ts';
import { visionTower } from '../../models/clip/index.ts';
import { adam } from '../../nn/index.ts';
import { rs2Sampler, TrainStep, train } from '../../train/index.ts';
import { coopPrompting } from '../baselines/coop.ts';
import { classNames, tinyClip, tinyTask } from '../testing/tiny-clip.ts';
import { labelsOf, pixelsOf } from '../vlm/loop.ts';
import { promptLoss } from '../vlm/prompting.ts';
import { maskedWeights, SCORE, scoring } from './masks.ts';

test('masks, prompts and random subsets are three things that do not know each other', async () => {
  const model = await tinyClip();
  const { train: data, template } = tinyTask(model);
  const labels = labelsOf(data);
  const source = pixelsOf(model, [data]);
  const names = maskedWeights(model.config, { layers: 'attention', patches: true });

  const context = coopPrompting({ contextLength: 4, contextInit: '', unified: true });
  const { text } = await context.prompts({ model, classes: classNames, template });
  const prompts = {
    text,
    image: (s: Parameters<typeof text>[0], pixels: Parameters<typeof text>[1]) =>
      visionTower(s.intercept(scoring(names)), pixels, model.config).features,
  };

  const [size, epochs] = [10, 8];
  const sampler = rs2Sampler(labels.length, size, 1);
  const seen: Set<number>[] = [];
  const batch = async (epoch: number) => {
    const images = sampler.round(epoch);
    seen[epoch] = new Set(images);
    return {
      pixels: await source.of(Array.from(images, (image) => ({ image, view: 0 }))),
      labels: {
        dtype: 'int64' as const,
        shape: [size],
        data: BigInt64Array.from(images, (i) => BigInt(labels[i]!)),
      },
    };
  };
  const step = await TrainStep.compile({
    source: model.weights,
    batch: {
      pixels: { dtype: 'float32', shape: [size, ...source.shape] },
      labels: { dtype: 'int64', shape: [size] },
    },
    build: (s, fed) => promptLoss(s, model, prompts, {}, fed),
    optimizer: adam({ lr: 3e-3 }),
  });
  const losses: number[] = [];
  const events = train({
    step,
    seed: 1,
    totalSteps: epochs,
    stepsPerEpoch: 1,
    batch: ({ epoch }) => batch(epoch),
  });
  let next = await events.next();
  for (; !next.done; next = await events.next()) {
    if (next.value.type === 'step') losses.push(next.value.metrics.loss!);
  }
  await step.release();

  const { params } = next.value;
  expect(Object.keys(params).sort()).toEqual(['context', ...names.map((name) => `mask.${name}`)].sort());
  for (const name of names) {
    const moved = toFloat32(params[`mask.${name}`]!).data.filter((m) => m !== Math.fround(SCORE));
    expect(moved.length).toBeGreaterThan(0);
  }
  expect(Math.min(...losses.slice(-3))).toBeLessThan(losses[0]!);
  expect(seen.every((images) => images.size === size)).toBe(true);
  // Two rounds see every image.
  expect(new Set([...seen[0]!, ...seen[1]!]).size).toBe(labels.length);
});
