/** CoTTA (Wang et al., CVPR 2022, arXiv 2203.13591), the baseline that learns from a teacher. */
import type { Pixels } from '../../data/index.ts';
import { type HostTensor, memoryWeights, softmax, zeros } from '../../graph/index.ts';
import { adam, batchNormByBatch, crossEntropy, type Param, weightInit } from '../../nn/index.ts';
import { Random } from '../../runtime/index.ts';
import { batchOf, DivergedError, type TrainState, TrainStep, type Values } from '../../train/index.ts';
import type { Adaptation, Adapted } from './adaptation.ts';
import { teacherView } from './augment.ts';
import { training } from './entropy.ts';
import { rowsOf, softmaxOf } from './metrics.ts';
import { BySize, Forward, type SourceModel, tensorOf } from './model.ts';
import type { AdaptationOptions } from './options.ts';

/** Where the teacher's weights lie among the buffers of a step. */
const TEACHER = 'teacher.';

/**
 * The student learns all parameters from the teacher's predictions; the teacher is the moving average of the student and gives
 * the predictions that are returned. All three, student, teacher and source model, normalise by the batch.
 */
export class CottaAdaptation implements Adaptation {
  state: TrainState | undefined;
  steps = 0;
  private readonly students: BySize<TrainStep>;
  private readonly teacher: Forward;

  constructor(
    private readonly model: SourceModel,
    params: readonly Param[],
    private readonly options: AdaptationOptions,
  ) {
    const source = memoryWeights(model.weights);
    this.teacher = new Forward(model, 'batch');
    this.students = new BySize((size) =>
      TrainStep.compile({
        source,
        batch: { images: batchOf([size, ...model.shape]), target: batchOf([size, model.classes]) },
        build: (s, { images, target }) => {
          const logits = model.network(training(s, params), images!, batchNormByBatch);
          return { loss: crossEntropy(logits, softmax(target!)) };
        },
        after(s) {
          for (const { name, shape } of params) {
            const init = weightInit(source.get(name)!);
            const average = s.buffer(TEACHER + name, shape, init).mul(options.momentum);
            s.update(TEACHER + name, average.add(s.param(name, shape, init).mul(1 - options.momentum)));
          }
        },
        optimizer: adam({ lr: options.learningRate }),
        compile: { name: `CoTTA on ${size} images` },
      }),
    );
  }

  async step(images: readonly Pixels[]): Promise<Adapted> {
    const { restore, seed } = this.options;
    const logits = await this.predict(images);
    const program = await this.students.get(images.length);
    const progress = { step: this.steps, epoch: 0, stepsPerEpoch: 1, totalSteps: this.steps + 1 };
    const batch = { images: tensorOf(this.model, images), target: logits };
    const before = this.state ?? (await program.init(seed));
    const { state, metrics } = await program.run(before, batch, progress);
    if (!Number.isFinite(metrics.loss))
      throw new DivergedError(
        `Step ${this.steps + 1} of CoTTA: the loss is ${metrics.loss}. Lower the learning rate.`,
      );
    for (const [name, { data }] of Object.entries(state.params)) {
      if (name.startsWith(TEACHER)) continue;
      const source = this.model.weights[name]!.data;
      for (const i of drawnPositions(data.length, restore, new Random(seed, 'restore', this.steps, name)))
        data[i] = source[i]!;
    }
    this.state = state;
    this.steps++;
    return { logits };
  }

  /** The teacher's logits; their mean over augmented images where the source model is unsure of the batch. */
  private async predict(images: readonly Pixels[]): Promise<HostTensor<'float32'>> {
    const { views, viewsBelow, seed } = this.options;
    const weights = this.teacherWeights();
    const anchor = rowsOf(await this.teacher.run(images));
    const confidence = anchor.reduce((sum, row) => sum + Math.max(...softmaxOf(row)), 0) / anchor.length;
    if (confidence >= viewsBelow) return this.teacher.run(images, weights);
    const mean = zeros([images.length, this.model.classes]);
    for (let v = 0; v < views; v++) {
      const view = images.map((image, i) => teacherView(image, new Random(seed, 'view', this.steps, v, i)));
      const { data } = await this.teacher.run(view, weights);
      for (let i = 0; i < data.length; i++) mean.data[i]! += Number(data[i]) / views;
    }
    return mean;
  }

  private teacherWeights(): Values {
    const averaged = Object.entries(this.state?.params ?? {}).flatMap(([name, value]) =>
      name.startsWith(TEACHER) ? [[name.slice(TEACHER.length), value] as const] : [],
    );
    return { ...this.model.weights, ...Object.fromEntries(averaged) };
  }

  reset(): void {
    this.resume(undefined, 0);
  }
  resume(state: TrainState | undefined, steps: number): void {
    this.state = state;
    this.steps = steps;
  }
  /** Those of the teacher, which is what predicts. */
  weights = (): Values => this.teacherWeights();

  async release(): Promise<void> {
    await this.students.release();
    await this.teacher.release();
  }
}

/** The positions of n that independent draws of this probability hit, by the lengths of the gaps between them. */
function* drawnPositions(n: number, probability: number, random: Random): Generator<number> {
  if (probability === 0) return;
  const scale = Math.log1p(-probability);
  for (let i = -1; ; ) {
    // At probability 1 every gap is 1.
    i += 1 + (scale === Number.NEGATIVE_INFINITY ? 0 : Math.floor(Math.log1p(-random.next()) / scale));
    if (i >= n) return;
    yield i;
  }
}
