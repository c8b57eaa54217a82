import { applyDsa, type DsaChanges } from '../../data/index.ts';
import { f32, type HostTensor, i64, input, memoryWeights, zeros } from '../../graph/index.ts';
import { mapTree, sgd, type Tree, zerosInit } from '../../nn/index.ts';
import { type CompileOptions, compile, type Program } from '../../runtime/index.ts';
import { batchOf, type TrainState, TrainStep, type Values } from '../../train/index.ts';
import { changesOf, changeTypes, eachOf, joinedChanges } from './changes.ts';
import { type Distance, gradientDistance, isCompared } from './distance.ts';
import { labelsByClass } from './images.ts';
import { type Network, netFeeds } from './network.ts';

export interface MatchingOptions {
  readonly classes: number;
  /** Synthetic images of each class. */
  readonly imagesPerClass: number;
  /** Real images of a class that a step looks at, at most. */
  readonly realBatch: number;
  readonly distance: Distance;
  readonly learningRate: number;
  readonly momentum: number;
  /** Whether both sides are changed by what is fed (differentiable siamese augmentation). */
  readonly dsa: boolean;
  readonly compile?: CompileOptions;
}

/** What one class looks at in a step. */
export interface RealBatch {
  /** At most `realBatch` images. */
  readonly images: HostTensor<'float32'>;
  /** One change for all images of the class, real and synthetic, where there is `dsa`. */
  readonly changes?: DsaChanges<HostTensor>;
}

/**
 * Gradient matching (Zhao et al., ICLR 2021) and its contrastive form (Lee et al., ICML 2022). Three programs, each compiled
 * once: the gradient of real images of one class, and a step of the synthetic images, of one class or of all together. A
 * step differentiates the gradients of a network by the images.
 */
export class Matching {
  private real: Promise<Program> | undefined;
  private readonly steps = new Map<boolean, Promise<TrainStep>>();
  private readonly compared: readonly string[];

  constructor(
    private readonly network: Network,
    private readonly options: MatchingOptions,
  ) {
    this.compared = network.params
      .filter((p) => isCompared(options.distance, p.shape.length))
      .map((p) => p.name);
  }

  /** Images [C·n, channels, height, width], class by class, and an optimizer that has not begun. */
  start(images: HostTensor<'float32'>): TrainState {
    const { classes, imagesPerClass } = this.options;
    const shape = [classes * imagesPerClass, ...this.network.shape];
    if (String(images.shape) !== String(shape))
      throw new Error(`synthetic images must be [${shape}], not [${images.shape}]`);
    const state = this.optimizer.init({ images: shape });
    return { params: { images }, optimizer: mapTree(state, (s) => zeros(s)) };
  }

  private get optimizer() {
    const { learningRate: lr, momentum } = this.options;
    return sgd({ lr, momentum });
  }

  /** g_c: the gradients of the mean cross-entropy on real images of class `label`. */
  async realGradients(values: Values, label: number, { images, changes }: RealBatch): Promise<Values> {
    const { realBatch, dsa } = this.options;
    this.real ??= this.compileReal();
    const program = await this.real;
    const count = images.shape[0]!;
    if (count === 0 || count > realBatch)
      throw new Error(`a class needs 1 to ${realBatch} real images, not ${count}`);
    // A class with fewer images leaves the rest of the batch empty: weight 0.
    const data = new Float32Array(realBatch * (images.data.length / count));
    data.set(images.data);
    const out = await program.run({
      ...netFeeds(values),
      images: f32(data, [realBatch, ...this.network.shape]),
      labels: i64(new Array<number>(realBatch).fill(label)),
      weights: f32(Float32Array.from({ length: realBatch }, (_, i) => (i < count ? 1 : 0))),
      ...(dsa && changes),
    });
    return Object.fromEntries(this.compared.map((name) => [name, out[`gradient/${name}`]!]));
  }

  private compileReal(): Promise<Program> {
    const { realBatch, dsa } = this.options;
    const { network } = this;
    const images = input('images', [realBatch, ...network.shape]);
    const changes = mapTree(dsa ? changeTypes(network.size, 1) : {}, ({ shape, dtype }, name) =>
      input(name, shape, dtype),
    );
    const gradients = network.gradients(
      network.inputs(),
      this.compared,
      dsa ? applyDsa(images, changesOf(changes)) : images,
      input('labels', [realBatch], 'int64'),
      input('weights', [realBatch]),
    );
    return compile(
      Object.fromEntries(Object.entries(gradients).map(([name, g]) => [`gradient/${name}`, g])),
      { name: 'gradients of real images', ...this.options.compile },
    );
  }

  /** The step of the images of one class, or (`joint`) of all classes by the mean of their gradients. */
  private step(joint: boolean): Promise<TrainStep> {
    const known = this.steps.get(joint);
    if (known) return known;
    const { imagesPerClass, classes, distance, dsa, compile } = this.options;
    const { network } = this;
    const groups = joint ? classes : 1;
    const count = groups * imagesPerClass;
    const typed = (kind: string, tensors: readonly { name: string; shape: readonly number[] }[]) =>
      Object.fromEntries(tensors.map(({ name, shape }) => [`${kind}/${name}`, batchOf(shape)]));
    const compiled = TrainStep.compile({
      source: memoryWeights({}),
      batch: {
        ...typed('net', [...network.params, ...network.buffers]),
        ...typed(
          'wanted',
          network.params.filter((p) => this.compared.includes(p.name)),
        ),
        labels: batchOf([count], 'int64'),
        ...(dsa && changeTypes(network.size, groups)),
      },
      build: (s, fed) => {
        const own = (kind: string): Tree =>
          Object.fromEntries(
            Object.entries(fed).flatMap(([key, t]) =>
              key.startsWith(`${kind}/`) ? [[key.slice(kind.length + 1), t]] : [],
            ),
          );
        const images = s.param('images', [count, ...network.shape], zerosInit);
        const seen = dsa ? applyDsa(images, eachOf(changesOf(fed), imagesPerClass)) : images;
        const gradients = network.gradients(own('net'), this.compared, seen, fed.labels!);
        return { loss: gradientDistance(distance, gradients, own('wanted')) };
      },
      optimizer: this.optimizer,
      ...(compile && { compile }),
    });
    this.steps.set(joint, compiled);
    return compiled;
  }

  private async run(
    joint: boolean,
    state: TrainState,
    values: Values,
    wanted: Values,
    labels: number[],
    changes: Values,
  ) {
    const step = await this.step(joint);
    const named = Object.entries(wanted).map(([name, value]) => [`wanted/${name}`, value]);
    const fed = { ...netFeeds(values), ...Object.fromEntries(named), labels: i64(labels), ...changes };
    const { state: next, metrics } = await step.run(state, fed, onlyStep);
    return { state: next, loss: metrics.loss! };
  }

  /**
   * DC: L = Σ_c D(g_c of S, g_c of real images). A class's images see its own term alone, so that each is a step for itself.
   * `changes` as in the real batches.
   */
  async classwise(
    state: TrainState,
    values: Values,
    wanted: readonly Values[],
    changes: readonly (DsaChanges<HostTensor> | undefined)[],
  ): Promise<{ state: TrainState; loss: number }> {
    const { imagesPerClass, classes } = this.options;
    const next = { params: mapTree(state.params, copied), optimizer: mapTree(state.optimizer, copied) };
    let loss = 0;
    for (let c = 0; c < classes; c++) {
      const part = (v: HostTensor) => rowsOf(v, c * imagesPerClass, imagesPerClass);
      const own = { params: mapTree(state.params, part), optimizer: mapTree(state.optimizer, part) };
      const labels = new Array<number>(imagesPerClass).fill(c);
      const result = await this.run(false, own, values, wanted[c]!, labels, { ...changes[c] });
      loss += result.loss;
      for (const kind of ['params', 'optimizer'] as const) {
        for (const [name, value] of Object.entries(result.state[kind])) {
          const to = next[kind][name]!.data as Float32Array;
          to.set(value.data as Float32Array, c * value.data.length);
        }
      }
    }
    return { state: next, loss };
  }

  /** DCC: L = D(mean over classes of g_c of S, the same of real images). */
  async contrastive(
    state: TrainState,
    values: Values,
    wanted: readonly Values[],
    changes: readonly (DsaChanges<HostTensor> | undefined)[],
  ): Promise<{ state: TrainState; loss: number }> {
    const { classes, imagesPerClass } = this.options;
    const mean = mapTree(wanted[0]!, (first, name) =>
      meanOf(
        wanted.map((g) => g[name]!),
        first.shape,
      ),
    );
    const labels = labelsByClass(classes, imagesPerClass);
    return this.run(
      true,
      state,
      values,
      mean,
      labels,
      changes[0] ? joinedChanges(changes as DsaChanges<HostTensor>[]) : {},
    );
  }

  async release(): Promise<void> {
    await (await this.real)?.release();
    for (const step of this.steps.values()) await (await step).release();
    this.real = undefined;
    this.steps.clear();
  }
}

const onlyStep = { step: 0, epoch: 0, stepsPerEpoch: 1, totalSteps: 1 };

const copied = (v: HostTensor): HostTensor => ({ ...v, data: v.data.slice() }) as HostTensor;

/** Rows [from, from + count) without a copy. */
function rowsOf(v: HostTensor, from: number, count: number): HostTensor {
  const size = v.data.length / v.shape[0]!;
  const data = v.data.subarray(from * size, (from + count) * size);
  return { ...v, shape: [count, ...v.shape.slice(1)], data } as HostTensor;
}

function meanOf(values: readonly HostTensor[], shape: readonly number[]): HostTensor {
  const sum = new Float32Array(values[0]!.data.length);
  for (const { data } of values)
    for (let i = 0; i < sum.length; i++) sum[i]! += Number(data[i]) / values.length;
  return f32(sum, shape);
}
