import { type HostTensor, importOnnx } from 'attune/graph';
import { adam, crossEntropy, linearInit, zerosInit } from 'attune/nn';
import { TrainStep } from 'attune/train';

/** Trains LoRA on a classifier that was exported to ONNX: input `x`, output `logits`. Returns the losses. */
export async function tuneImported(path: string, x: HostTensor, labels: HostTensor): Promise<number[]> {
  const model = await importOnnx(path);
  const rank = 4;
  const step = await TrainStep.compile({
    source: model.weights,
    batch: { x, labels },
    build(scope, batch) {
      // w + a·b for every matrix (Hu et al. 2022); b is zero at first, so that training starts from the model.
      const adapted = scope.intercept({
        weight: {
          '**': (w, { name, param }) => {
            if (w.rank !== 2) return w;
            const a = param(`${name}.lora_A`, [w.dim(0), rank], linearInit);
            const b = param(`${name}.lora_B`, [rank, w.dim(1)], zerosInit);
            return w.add(a.matmul(b));
          },
        },
      });
      const { logits } = model.call({ x: batch.x! }, (name, shape) => adapted.weight(name, shape));
      return { loss: crossEntropy(logits!, batch.labels!) };
    },
    optimizer: adam({ lr: 0.01 }),
  });
  const losses: number[] = [];
  let state = await step.init(1);
  for (let i = 0; i < 30; i++) {
    const progress = { step: i, epoch: i, stepsPerEpoch: 1, totalSteps: 30 };
    const next = await step.run(state, { x, labels }, progress);
    losses.push(next.metrics.loss!);
    state = next.state;
  }
  await step.release();
  return losses;
}
