import { constant, type HostTensor, i64, type Tensor, zeros } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { adam, chain, clipByGlobalNorm, mapTree, type Tree } from '../../nn/index.ts';
import { batchOf, type StepOptions, type Values } from '../../train/index.ts';
import type { BatchSource } from '../vlm/loop.ts';
import { type PromptMethod, promptLoss } from '../vlm/prompting.ts';
import { adapt, type InnerOptions } from './adapt.ts';
import { namedRows } from './hosts.ts';
import { type RegulatorForm, regulator } from './regulator.ts';
import type { MetaTask } from './tasks.ts';

export interface MetaStepOptions extends InnerOptions {
  /** Tasks of a step (T), each of N concepts with K support and Q query images. */
  readonly tasks: number;
  readonly ways: number;
  readonly shots: number;
  readonly queries: number;
  readonly regulator: RegulatorForm;
  /** Whether θ is learned, or keeps its first values. */
  readonly learnInit: boolean;
  readonly learningRate: number;
}

export interface MetaStep {
  /** For `TrainStep.compile`. */
  readonly step: StepOptions;
  batch(tasks: readonly MetaTask[]): Promise<Values>;
  /** θ and φ apart. */
  split(params: Values): { theta: Values; phi: Values };
}

const scopeOfPhi = 'regulator';

/**
 * A meta-training step, one program: for each task the inner steps on its support images, then the loss of its query
 * images at the adapted prompts; Adam on the gradients of the mean for θ and φ. CLIP's weights are constants.
 *
 * @param names of all concepts that tasks may have.
 * @param images of the pairs: features, or pixels where the host has a vision tower of its own.
 */
export async function metaStep(
  model: ClipModel,
  host: PromptMethod,
  names: readonly string[],
  images: (pixels: boolean) => BatchSource,
  o: MetaStepOptions,
): Promise<MetaStep> {
  const named = await namedRows(model, host, names, o.ways);
  const source = images(named.pixels);
  const types = {
    names: batchOf([o.tasks, o.ways, named.rows.shape[1]!], named.rows.dtype),
    support: batchOf([o.tasks, o.ways * o.shots, ...source.shape]),
    query: batchOf([o.tasks, o.ways * o.queries, ...source.shape]),
  };
  const labels = { support: labelsOf(o.ways, o.shots), query: labelsOf(o.ways, o.queries) };
  const step: StepOptions = {
    source: model.weights,
    batch: types,
    build(s, batch) {
      const theta = Object.fromEntries(
        named.trained.map(({ name, shape, init }) => [name, s.param(name, shape, init)]),
      );
      const regulate = regulator(s.at(scopeOfPhi), o.regulator);
      const outcomes = Array.from({ length: o.tasks }, (_, t) => {
        const of = (name: string) => part(batch[name]!, t);
        const prompts = named.prompts(of('names'));
        const outcome = (set: 'support' | 'query', values: Tree) =>
          promptLoss(
            s.bind(values),
            model,
            prompts,
            {},
            {
              labels: labels[set],
              [named.pixels ? 'pixels' : 'features']: of(set),
            },
          );
        return outcome(
          'query',
          adapt(theta, (values) => outcome('support', values).loss, regulate, o),
        );
      });
      return { loss: mean(outcomes.map((x) => x.loss)), accuracy: mean(outcomes.map((x) => x.accuracy!)) };
    },
    optimizer: chain(clipByGlobalNorm(1), adam({ lr: () => o.learningRate })),
    gradients: (raw) =>
      mapTree(raw, (g, name) => (o.learnInit || isPhi(name) ? g : constant(zeros(g.shape)))),
  };
  const rowOf = new Map(names.map((name, i) => [name, i]));
  return {
    step,
    async batch(tasks) {
      const imagesOf = (set: 'support' | 'query') =>
        source.of(tasks.flatMap((task) => task[set]).map((image) => ({ image, view: 0 })));
      const fed = {
        names: rowsAt(
          named.rows,
          tasks.flatMap((task) => task.names).map((name) => rowOf.get(name)!),
        ),
        support: await imagesOf('support'),
        query: await imagesOf('query'),
      };
      return Object.fromEntries(
        Object.entries(fed).map(([name, value]) => [
          name,
          { ...value, shape: types[name as keyof typeof types].shape },
        ]),
      );
    },
    split(params) {
      const some = (wanted: boolean) =>
        Object.fromEntries(Object.entries(params).filter(([name]) => isPhi(name) === wanted));
      const phi = Object.entries(some(true)).map(([name, v]) => [name.slice(scopeOfPhi.length + 1), v]);
      return { theta: some(false), phi: Object.fromEntries(phi) };
    },
  };
}

const isPhi = (name: string): boolean => name.startsWith(`${scopeOfPhi}.`);

/** Task `t` of what is stacked by tasks. */
const part = (x: Tensor, t: number): Tensor => x.slice(0, t, t + 1).reshape(x.shape.slice(1));

/** 0 … N−1, each as often as a concept has images. */
const labelsOf = (ways: number, each: number): Tensor =>
  constant(i64(Array.from({ length: ways * each }, (_, i) => Math.floor(i / each))));

const mean = (values: readonly Tensor[]): Tensor => values.reduce((a, b) => a.add(b)).div(values.length);

function rowsAt({ dtype, shape, data }: HostTensor, rows: readonly number[]): HostTensor {
  const width = shape[1]!;
  const out = data.slice(0, 0).constructor as new (n: number) => typeof data;
  const picked = new out(rows.length * width);
  rows.forEach((r, i) => {
    (picked as Float32Array).set((data as Float32Array).subarray(r * width, (r + 1) * width), i * width);
  });
  return { dtype, shape: [rows.length, width], data: picked } as HostTensor;
}
