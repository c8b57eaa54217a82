import { z } from 'zod';
import { constant, f32, type HostTensor, i64 } from '../../graph/index.ts';
import { adam, cosine, crossEntropy, zerosInit } from '../../nn/index.ts';
import { batchOf, TrainStep, train, type Values } from '../../train/index.ts';
import { defineMethod } from '../method.ts';
import { score, scoreFeatures } from '../vlm/classify.ts';
import { labelsOf } from '../vlm/loop.ts';
import type { Adapter } from '../vlm/task.ts';

const options = z.strictObject({
  steps: z.int().positive().default(1000).describe('full-batch steps towards the optimum of the convex loss'),
  decays: z
    .array(z.number().nonnegative())
    .nonempty()
    .default([1e-4, 1e-3, 1e-2, 1e-1])
    .describe('L2 strengths to choose from on the validation images'),
});

function adapterOf(tensors: Values): Adapter {
  const { weight, bias } = tensors;
  if (!weight || !bias) throw new Error('The adapter must hold the tensors "weight" and "bias"');
  return {
    tensors,
    parameters: weight.data.length + bias.data.length,
    fixedClasses: true,
    async classifier(model, classes) {
      const wanted = [classes.length, model.config.projection];
      if (String(weight.shape) !== String(wanted)) {
        throw new Error(
          `The linear probe is [${weight.shape}], but this model and ${classes.length} classes need [${wanted}]; ` +
            'a probe holds only for the classes it was trained on',
        );
      }
      return { head: (_s, x) => x.matmul(constant(weight), { transB: true }).add(constant(bias)) };
    },
  };
}

/** Radford et al. 2021: logistic regression on the frozen image features, its L2 strength chosen on validation. */
export const linearProbe = defineMethod({
  name: 'linear-probe',
  summary: 'logistic regression on frozen image features',
  paper: 'Radford et al., ICML 2021, arXiv 2103.00020',
  kind: 'tune',
  options,
  async *fit(task, o) {
    const { model, train: data } = task;
    const features = standardised(await task.features.of(data));
    const labels = i64(labelsOf(data));
    const judge = task.val.examples.length ? task.val : data;
    const judged = await task.features.of(judge);
    const step = await TrainStep.compile({
      source: model.weights,
      batch: {
        features: batchOf(features.x.shape),
        labels: batchOf(labels.shape, 'int64'),
        decay: batchOf([]),
      },
      build: (s, { features, labels, decay }) => {
        const classes = data.classes.length;
        const weight = s.param('weight', [classes, model.config.projection], zerosInit);
        const bias = s.param('bias', [classes], zerosInit);
        const logits = features!.matmul(weight, { transB: true }).add(bias);
        return { loss: crossEntropy(logits, labels!).add(weight.square().sum().mul(decay!).mul(0.5)) };
      },
      optimizer: adam({ lr: cosine(0.05) }),
    });
    try {
      let best: { adapter: Adapter; accuracy: number } | undefined;
      for (const decay of o.decays) {
        const { params, stopped } = yield* train({
          step,
          seed: task.seed,
          totalSteps: o.steps,
          stepsPerEpoch: 1,
          batch: () => ({ features: features.x, labels, decay: f32([decay], []) }),
          signal: task.signal,
        });
        const adapter = adapterOf(features.fold(params));
        if (stopped === 'interrupted') return { adapter: best?.adapter ?? adapter, stopped };
        const classifier = await adapter.classifier(model, data.classes, task.template);
        const { accuracy } = score(await scoreFeatures(model, classifier, judged), labelsOf(judge));
        if (!best || accuracy > best.accuracy) best = { adapter, accuracy };
      }
      return { adapter: best!.adapter, stopped: 'end' };
    } finally {
      await step.release();
    }
  },
  restore: ({ tensors }) => adapterOf(tensors),
});

/** Centres the features and scales them by one number, so that one learning rate suits every model; `fold` undoes it. */
function standardised({ data, shape }: HostTensor<'float32'>) {
  const [n, width] = shape as [number, number];
  const mean = new Float64Array(width);
  for (let i = 0; i < data.length; i++) mean[i % width]! += data[i]! / n;
  let power = 0;
  for (let i = 0; i < data.length; i++) power += (data[i]! - mean[i % width]!) ** 2;
  const scale = 1 / Math.sqrt(power / data.length + 1e-12);
  const x: HostTensor<'float32'> = {
    dtype: 'float32',
    shape,
    data: data.map((v, i) => (v - mean[i % width]!) * scale),
  };
  const fold = ({ weight, bias }: Values): Values => {
    const w = (weight!.data as Float32Array).map((v) => v * scale);
    const b = (bias!.data as Float32Array).map((v, c) => {
      let shift = 0;
      for (let j = 0; j < width; j++) shift += w[c * width + j]! * mean[j]!;
      return v - shift;
    });
    return {
      weight: { dtype: 'float32', shape: weight!.shape, data: w },
      bias: { dtype: 'float32', shape: bias!.shape, data: b },
    };
  };
  return { x, fold };
}
