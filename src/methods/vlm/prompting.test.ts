/** Prompt methods compose: what wraps one only changes scopes, losses and gradients. */
import { expect, test } from 'vitest';
import type { HostTensor, Tensor } from '../../graph/index.ts';
import { visionTower } from '../../models/clip/index.ts';
import { onesInit, type Scope, valueInit } from '../../nn/index.ts';
import { coopPrompting } from '../baselines/coop.ts';
import { classNames, resultOf, tinyClip, tinyTask } from '../testing/tiny-clip.ts';
import { ImageFeatures } from './features.ts';
import { promptAdapter } from './prompt-adapter.ts';
import { fitPrompts } from './prompt-tuning.ts';
import { meanCrossEntropy, type PromptMethod, type Training } from './prompting.ts';

const model = await tinyClip();
const options = { epochs: 2, batch: 10, learningRate: 0.05, weightDecay: 0, views: 0 };
const coop = coopPrompting({ contextLength: 4, contextInit: 'a photo of a' });

/** A trained factor for every query weight of the vision tower, around what `method` does. */
const masked = (method: PromptMethod): PromptMethod => ({
  ...method,
  async prompts(names) {
    const inner = await method.prompts(names);
    const tower = (s: Scope, pixels: Tensor) =>
      inner.image?.(s, pixels) ?? visionTower(s, pixels, names.model.config).features;
    return {
      ...inner,
      image: (s, pixels) =>
        tower(
          s.intercept({
            weight: {
              'vision_model.**.q_proj.weight': (w, { name, param }) =>
                w.mul(param(`mask.${name}`, w.shape, onesInit)),
            },
          }),
          pixels,
        ),
    };
  },
});
const mask = 'mask.vision_model.encoder.layers.0.self_attn.q_proj.weight';

test('a mask on the vision tower under prompts in the text tower: both are trained, both act in the adapter', async () => {
  const task = tinyTask(model);
  const { adapter } = await resultOf(fitPrompts(task, masked(coop), options));
  expect(Object.keys(adapter.tensors).sort()).toEqual(['context', mask]);
  const values = [...adapter.tensors[mask]!.data];
  expect(values.filter((v) => v !== 1).length).toBeGreaterThan(200);

  const { imageFeatures } = await adapter.classifier(model, classNames, task.template);
  const own = new ImageFeatures(model, {}, imageFeatures);
  expect((await own.of(task.train)).data).not.toEqual((await task.features.of(task.train)).data);
  await own.release();

  await expect(promptAdapter(coop, adapter.tensors).classifier(model, classNames, '')).rejects.toThrow(
    `unknown "${mask}"`,
  );
  const { context } = adapter.tensors as { context: HostTensor };
  await expect(promptAdapter(masked(coop), { context }).classifier(model, classNames, '')).rejects.toThrow(
    `missing "${mask}"`,
  );
});

test('losses, gradients, initial values, inputs and cached frozen features are a method’s own to change', async () => {
  const start = await resultOf(fitPrompts(tinyTask(model), coop, options));
  const seen: string[] = [];
  const training: Training = {
    frozenFeatures: true,
    init: ({ name, init }) => (name === 'context' ? valueInit(start.adapter.tensors.context!) : init),
    inputs: { half: { type: { shape: [], dtype: 'float32' }, at: ({ step }) => scalar(step / 2) } },
    objective(s, out) {
      const { loss } = meanCrossEntropy(s, out);
      seen.push(...Object.keys(out.batch));
      const shift = out.image.sub(out.batch.features!).square().sum();
      return { loss: loss.add(shift), shift, half: out.batch.half! };
    },
    gradients: (raw) => ({ ...raw, context: raw.context!.mul(0) }),
  };
  const method: PromptMethod = { ...masked(coop), training: async () => training };
  const metrics: Record<string, number>[] = [];
  const events = fitPrompts(tinyTask(model), method, options);
  let next = await events.next();
  for (; !next.done; next = await events.next()) {
    if (next.value.type === 'step') metrics.push({ ...next.value.metrics });
  }
  expect(seen.sort()).toEqual(['features', 'half', 'labels', 'pixels']);
  expect(metrics.map((m) => m.half)).toEqual([0, 0.5, 1, 1.5]);
  // The mask starts at one: then the tower's features are the cached ones.
  expect(metrics[0]!.shift!).toBeLessThan(1e-6);
  expect(metrics.at(-1)!.shift!).toBeGreaterThan(1e-6);
  expect(next.value.adapter.tensors).toMatchObject({ context: start.adapter.tensors.context });
});

const scalar = (value: number): HostTensor => ({ dtype: 'float32', shape: [], data: Float32Array.of(value) });
