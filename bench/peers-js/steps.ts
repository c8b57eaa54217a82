import { avgPool, type Device, type HostTensor, input, relu, type Tensor } from '../../src/graph/index.ts';
import {
  conv,
  crossEntropy,
  dotProductAttention,
  groupNorm,
  joinHeads,
  layerNorm,
  linear,
  type Scope,
  sgd,
  splitHeads,
} from '../../src/nn/index.ts';
import { type TrainState, TrainStep, type Values } from '../../src/train/step.ts';
import { freshWeights } from '../benchmark.ts';
import { noise } from '../data.ts';

/** A small step, written alike in each library: `model` gives the logits of `x`. */
export interface SmallStep {
  readonly name: 'transformer' | 'convnet';
  readonly about: string;
  readonly x: HostTensor<'float32'>;
  model(s: Scope, x: Tensor): Tensor;
}

export const CLASSES = 10;
export const RATE = 0.01;

export const smallSteps: readonly SmallStep[] = [
  {
    name: 'transformer',
    about:
      '2 transformer blocks (128 wide, 4 heads, ReLU) on 8 sequences of 32 vectors, mean, classifier; SGD',
    x: noise('x', [8, 32, 128]),
    model(s, input) {
      let x = input;
      for (let i = 0; i < 2; i++) {
        const block = s.at(`l${i}`);
        const y = layerNorm(block.at('ln1'), x);
        const heads = (name: string) => splitHeads(linear(block.at(name), y, 128), 4);
        const mixed = joinHeads(dotProductAttention(heads('q'), heads('k'), heads('v')));
        x = x.add(linear(block.at('o'), mixed, 128));
        const z = layerNorm(block.at('ln2'), x);
        x = x.add(linear(block.at('fc2'), relu(linear(block.at('fc1'), z, 512)), 128));
      }
      return linear(s.at('head'), x.mean(1), CLASSES);
    },
  },
  {
    name: 'convnet',
    about:
      '2 blocks of convolution (32 channels), instance norm, ReLU and average pooling on 16 images of 32×32; SGD',
    x: noise('x', [16, 3, 32, 32]),
    model(s, input) {
      let x = input;
      for (let i = 0; i < 2; i++) {
        const y = conv(s.at(`conv${i}`), x, 32, [3, 3], { padding: 1 });
        x = avgPool(relu(groupNorm(s.at(`norm${i}`), y, 32)), 2);
      }
      return linear(s.at('head'), x.reshape([x.dim(0), -1]), CLASSES);
    },
  },
];

/** One-hot labels. */
export function labelsOf({ x }: SmallStep): HostTensor<'float32'> {
  const count = x.shape[0]!;
  const data = new Float32Array(count * CLASSES);
  for (let i = 0; i < count; i++) data[i * CLASSES + (i % CLASSES)] = 1;
  return { dtype: 'float32', shape: [count, CLASSES], data };
}

export const weightsOf = (step: SmallStep): Promise<Values> =>
  freshWeights((s) => step.model(s, input('x', step.x.shape)));

/** Attune's side: a function that takes a step and returns its loss. */
export async function startAttune(
  step: SmallStep,
  weights: Values,
  device: Device,
): Promise<() => Promise<number>> {
  const y = labelsOf(step);
  const train = await TrainStep.compile({
    source: 'scratch',
    batch: { x: { shape: step.x.shape, dtype: 'float32' }, y: { shape: y.shape, dtype: 'float32' } },
    build: (s, batch) => ({ loss: crossEntropy(step.model(s, batch.x!), batch.y!) }),
    optimizer: sgd({ lr: RATE }),
    compile: { device },
  });
  let state: TrainState = { params: weights, optimizer: {} };
  return async () => {
    const progress = { step: 0, epoch: 0, stepsPerEpoch: 1, totalSteps: 1 };
    const next = await train.run(state, { x: step.x, y }, progress);
    state = next.state;
    return next.metrics.loss!;
  };
}
