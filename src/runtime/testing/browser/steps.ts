/** Training steps that the browser tests run on every device and in Node. They know nothing of where they are. */
import { gelu, type HostTensor, i64, maxPool, relu, sizeOf, type Tensor } from '../../../graph/index.ts';
import {
  adamw,
  causalMask,
  conv,
  crossEntropy,
  dotProductAttention,
  embedding,
  groupNorm,
  joinHeads,
  layerNorm,
  linear,
  type Scope,
  splitHeads,
} from '../../../nn/index.ts';
import { batchOf, type StepOptions, TrainStep, type Values } from '../../../train/step.ts';
import type { CompileOptions } from '../../index.ts';
import { Random } from '../../random.ts';

/** Numbers of a training run: the loss of each step, and a checksum of the trained parameters. */
export interface Trained {
  losses: number[];
  checksum: number;
}

interface Job {
  batch: StepOptions['batch'];
  build(s: Scope, batch: Record<string, Tensor>): Tensor;
  values(random: Random): Values;
}

function transformer(blocks: number, batch: number, length: number, width: number): Job {
  const [heads, words] = [2, 8];
  const block = (s: Scope, x: Tensor): Tensor => {
    const a = s.at('attention');
    const h = layerNorm(s.at('norm1'), x);
    const [q, k, v] = ['q', 'k', 'v'].map((name) => splitHeads(linear(a.at(name), h, width), heads));
    const mixed = joinHeads(dotProductAttention(q!, k!, v!, causalMask(length)));
    const y = x.add(linear(a.at('out'), mixed, width));
    const inner = gelu(linear(s.at('up'), layerNorm(s.at('norm2'), y), width));
    return y.add(linear(s.at('down'), inner, width));
  };
  return {
    batch: { ids: batchOf([batch, length], 'int64'), next: batchOf([batch, length], 'int64') },
    build(s, { ids, next }) {
      let x = embedding(s.at('words'), ids!, words, width);
      for (let i = 0; i < blocks; i++) x = block(s.at(String(i)), x);
      return crossEntropy(linear(s.at('head'), x, words), next!);
    },
    values: (random) => {
      const draw = () =>
        i64(
          Array.from({ length: batch * length }, () => random.int(words)),
          [batch, length],
        );
      return { ids: draw(), next: draw() };
    },
  };
}

const convNet: Job = {
  batch: { images: batchOf([2, 3, 8, 8]), labels: batchOf([2], 'int64') },
  build(s, { images, labels }) {
    const stage = (at: Scope, x: Tensor) =>
      maxPool(
        relu(groupNorm(at.at('norm'), conv(at.at('conv'), x, 6, [3, 3], { padding: 1, bias: false }), 2)),
        2,
      );
    const x = stage(s.at('1'), stage(s.at('0'), images!));
    return crossEntropy(linear(s.at('head'), x.reshape([2, -1]), 4), labels!);
  },
  values: (random) => ({
    images: { dtype: 'float32', shape: [2, 3, 8, 8], data: random.fill(384, (r) => r.normal()) },
    labels: i64([random.int(4), random.int(4)]),
  }),
};

/** The first two are small and odd, since a GPU in software takes long to compile the shaders of larger products. */
export const jobs = {
  transformer: transformer(1, 2, 4, 8),
  convNet,
  long: transformer(4, 8, 64, 128),
};
export type JobName = keyof typeof jobs;

/** Trains for some steps on one batch; `begin` is called when the program is compiled. */
export async function trainSteps(
  name: JobName,
  compile: CompileOptions,
  steps = 3,
  begin = () => {},
): Promise<Trained> {
  const { batch, build, values } = jobs[name];
  const optimizer = adamw({ lr: 3e-3 });
  const step = await TrainStep.compile({
    source: 'scratch',
    batch,
    build: (s, b) => ({ loss: build(s, b) }),
    optimizer,
    compile,
  });
  let state = await step.init(1);
  const feeds = values(new Random(2, name));
  const losses: number[] = [];
  begin();
  for (let i = 0; i < steps; i++) {
    const result = await step.run(state, feeds, {
      step: i,
      epoch: 0,
      stepsPerEpoch: steps,
      totalSteps: steps,
    });
    losses.push(result.metrics.loss!);
    state = result.state;
  }
  await step.release();
  return { losses, checksum: checksum(Object.values(state.params)) };
}

/** The root of the mean square of all values, which are weighted so that their order counts. */
function checksum(tensors: readonly HostTensor[]): number {
  let total = 0;
  let count = 0;
  for (const { data, shape } of tensors) {
    for (let i = 0; i < sizeOf(shape); i++) total += (Number(data[i]) * (1 + (i % 7))) ** 2;
    count += sizeOf(shape);
  }
  return Math.sqrt(total / count);
}
