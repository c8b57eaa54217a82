import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HostTensor, i64, input, type Tensor } from '../src/graph/index.ts';
import { readSafetensors, writeSafetensors } from '../src/hub/index.ts';
import {
  cosineLogits,
  logitScale,
  parseClipConfig,
  placeTokens,
  textTower,
  visionTower,
} from '../src/models/clip/index.ts';
import { crossEntropy, normalInit, type Scope, sgd, trace } from '../src/nn/index.ts';
import { compile, Random } from '../src/runtime/index.ts';
import { batchOf, initParams, TrainStep } from '../src/train/index.ts';
import type { Benchmark } from './benchmark.ts';

const config = parseClipConfig({ vision_config: { patch_size: 16 } });
const noise = (shape: number[]): HostTensor<'float32'> => ({
  dtype: 'float32',
  shape,
  data: new Random(1).fill(
    shape.reduce((a, b) => a * b, 1),
    (r) => r.normal(),
  ),
});

/** A CoOp step at CLIP ViT-B/16 size, random weights: 77-token prompts of `classes` classes, M = 16, batch 32. */
function coopStep(name: string, classes: number, images: number): Benchmark {
  const settings = { classes, length: 77, tokens: 16, images };
  return {
    name,
    torch: { script: 'coop_step', settings },
    async start(threads) {
      const dir = await mkdtemp(join(tmpdir(), 'attune-bench-'));
      const all = (s: Scope) => {
        logitScale(s, config);
        textTower(s, input('ids', [1, 1], 'int64'), config);
        if (images) visionTower(s, input('pixels', [1, 3, 224, 224]), config);
      };
      const path = join(dir, 'model.safetensors');
      await writeSafetensors(path, await initParams(trace('scratch', all).params, 0));
      const source = await readSafetensors(path);

      const ids = new Random(2).fill(classes * 77, (r) => 1000 + r.int(39_000));
      for (let c = 0; c < classes; c++) [ids[c * 77], ids[c * 77 + 76]] = [49_406, 49_407];
      const slots = Array.from({ length: classes }, () => Array.from({ length: 16 }, (_, j) => 1 + j));
      const step = await TrainStep.compile({
        source,
        batch: {
          features: batchOf([32, 512]),
          ids: batchOf([classes, 77], 'int64'),
          labels: batchOf([32], 'int64'),
        },
        build: (s, b) => {
          const context = s.param('context', [16, 512], normalInit(0.02));
          const prompted = s.intercept({
            tap: { 'text_model.embeddings:tokens': (x: Tensor) => placeTokens(x, context, slots) },
          });
          const text = textTower(prompted, b.ids!, config).features;
          return { loss: crossEntropy(cosineLogits(b.features!, text, logitScale(s, config)), b.labels!) };
        },
        optimizer: sgd({ lr: 0.002, momentum: 0.9, weightDecay: 5e-4 }),
        compile: { threads },
      });
      const pixels = noise([images || 1, 3, 224, 224]);
      const encode = images
        ? await compile(
            {
              features: trace(source, (s) => visionTower(s, input('pixels', pixels.shape), config).features)
                .result,
            },
            { threads },
          )
        : undefined;
      let state = await step.init(1);
      const batch = {
        features: noise([32, 512]),
        ids: i64(ids, [classes, 77]),
        labels: i64(Array.from({ length: 32 }, (_, i) => i % classes)),
      };
      return {
        async step() {
          await encode?.run({ pixels });
          ({ state } = await step.run(state, batch, { step: 1, epoch: 0, stepsPerEpoch: 1, totalSteps: 9 }));
        },
        async close() {
          await step.release();
          await encode?.release();
          await rm(dir, { recursive: true });
        },
      };
    },
  };
}

export const coopBenchmarks = [coopStep('coop-step', 20, 0), coopStep('coop-step-with-images', 10, 8)];
