import { type ImageSet, imageTensor, type Normalisation, type Pixels } from '../../data/index.ts';
import { type HostTensor, input, type Tensor } from '../../graph/index.ts';
import type { Norm } from '../../models/classifiers/index.ts';
import { batchNorm, batchNormByBatch, onesInit, type Param, type Scope, trace } from '../../nn/index.ts';
import { compile, type Program } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';

/** Images [n, C, H, W] to logits [n, K], or [n, K, h, w] of pixels; `norm` takes the place of batch norm. */
export type Network = (s: Scope, images: Tensor, norm: Norm) => Tensor;

/** A trained classifier: where adaptation starts. */
export interface SourceModel {
  readonly network: Network;
  readonly weights: Values;
  /** [C, H, W] of an image. */
  readonly shape: ImageSet['shape'];
  readonly normalisation: Normalisation;
  readonly classes: number;
}

/** Normalised images [n, C, H, W]. */
export const tensorOf = (
  { shape, normalisation }: SourceModel,
  images: readonly Pixels[],
): HostTensor<'float32'> => imageTensor({ images, shape }, normalisation, [...images.keys()]);

/**
 * The weights that may be trained. `norm`: scale and shift of all batch, layer and group norms, which are told from other
 * weights by their initial value: a scale starts as 1.
 * @throws where the network has no normalisation layer.
 */
export function trainable(
  { network, shape }: Pick<SourceModel, 'network' | 'shape'>,
  which: 'norm' | 'all',
): readonly Param[] {
  const { params } = trace('scratch', (s) => network(s, input('images', [2, ...shape]), batchNormByBatch));
  if (which === 'all') return params;
  const layers = new Set(params.flatMap(({ name, init }) => (init === onesInit ? [parentOf(name)] : [])));
  if (layers.size === 0)
    throw new Error(
      'the network has no normalisation layer whose scale and shift could be adapted: train one that has (lenet-bn, resnet-20, …), or adapt all parameters with ent',
    );
  return params.filter(({ name }) => layers.has(parentOf(name)));
}
const parentOf = (name: string): string => name.slice(0, name.lastIndexOf('.'));

/** One program a batch size, compiled when it is first needed. */
export class BySize<T extends { release(): Promise<void> }> {
  private readonly made = new Map<number, Promise<T>>();
  constructor(private readonly make: (size: number) => Promise<T>) {}

  get(size: number): Promise<T> {
    const known = this.made.get(size) ?? this.make(size);
    this.made.set(size, known);
    return known;
  }
  async release(): Promise<void> {
    for (const made of this.made.values()) await (await made).release();
    this.made.clear();
  }
}

export type Statistics = 'batch' | 'running';
export const normBy = (statistics: Statistics): Norm =>
  statistics === 'batch' ? batchNormByBatch : batchNorm;

/** Logits by weights that are fed. */
export class Forward {
  private readonly programs: BySize<Program<'logits'>>;

  constructor(
    private readonly model: SourceModel,
    statistics: Statistics,
  ) {
    this.programs = new BySize((size) =>
      compile(
        trace('scratch', (s) => ({
          logits: model.network(s, input('images', [size, ...model.shape]), normBy(statistics)),
        })).result,
        { name: 'classifier' },
      ),
    );
  }

  async run(images: readonly Pixels[], weights: Values = this.model.weights): Promise<HostTensor<'float32'>> {
    const program = await this.programs.get(images.length);
    const feeds: Values = { images: tensorOf(this.model, images) };
    for (const key of program.inputs.keys()) {
      if (key !== 'images') feeds[key] = weightOf(weights, key.slice('param/'.length));
    }
    return (await program.run(feeds)).logits as HostTensor<'float32'>;
  }

  release = (): Promise<void> => this.programs.release();
}

function weightOf(weights: Values, name: string): HostTensor {
  const value = weights[name];
  if (!value) throw new Error(`the source model has no weight "${name}"`);
  return value;
}
