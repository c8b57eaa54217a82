/** TENT, EATA, SWR and ENT, each with or without the filter by confidence difference. */
import type { Pixels } from '../../data/index.ts';
import { constant, type HostTensor, memoryWeights, type Tensor } from '../../graph/index.ts';
import { adam, batchNormByBatch, type Param, type Scope } from '../../nn/index.ts';
import { batchOf, DivergedError, type TrainState, TrainStep, type Values } from '../../train/index.ts';
import type { Adaptation, Adapted } from './adaptation.ts';
import { eataSelection, fisherPenalty } from './eata.ts';
import { confidenceKept, entropy, marginalEntropy, selectedMean } from './loss.ts';
import { BySize, normBy, type SourceModel, tensorOf } from './model.ts';
import { type AdaptationOptions, diversityOf } from './options.ts';

/** What a host learned from source images. */
export interface Prepared {
  /** EATA: Fisher information by parameter. */
  readonly fisher?: Values;
  /** SWR: by parameter, 0 where it may move and 1 where it is held. */
  readonly held?: Readonly<Record<string, number>>;
}

/** SWR scales both entropies by this against its penalty (λ_m1; its λ_m2 is this times α = 1.25). */
const swrScale = 0.2;

/** The scope in which these weights are trained, from their present values. */
export const training = (s: Scope, params: readonly Param[]): Scope =>
  s.intercept({ weight: Object.fromEntries(params.map(({ name }) => [name, (_w, match) => match.train()])) });

/**
 * L = (1/ΣΦ) Σ Φ H(p̂) − α H(p̄) and what the host adds, with the logits, Φ and the number of samples selected. θ_a are the
 * `params`, trained; θ_o the weights of the scope. θ_a normalises by the batch.
 */
export function adaptationLoss(
  s: Scope,
  images: Tensor,
  model: Pick<SourceModel, 'network'>,
  params: readonly Param[],
  options: AdaptationOptions,
  { fisher, held }: Prepared = {},
): { loss: Tensor; logits: Tensor; selected: Tensor; kept?: Tensor } {
  const own = training(s, params);
  const logits = model.network(own, images, batchNormByBatch);
  const kept = options.filter
    ? confidenceKept(logits, model.network(s, images, normBy(options.sourceNorm)))
    : undefined;
  const entropies = entropy(logits);
  const eata =
    options.method === 'eata' ? eataSelection(s.at('eata'), logits, entropies, kept, options) : undefined;
  const mask = eata?.mask ?? kept;
  const values = eata ? entropies.mul(eata.weight) : entropies;
  const alpha = diversityOf(options);
  const mean = mask ? selectedMean(values, mask) : values.mean();
  let loss = alpha ? mean.sub(marginalEntropy(logits).mul(alpha)) : mean;
  if (options.method === 'swr') loss = loss.mul(swrScale);

  const shapes = new Map(params.map((p) => [p.name, p.shape]));
  const theta = (name: string) => own.weight(name, shapes.get(name)!);
  const origin = (name: string) => s.weight(name, shapes.get(name)!);
  if (fisher) loss = loss.add(fisherPenalty(theta, origin, fisher).mul(options.fisherWeight));
  if (held) {
    const penalties = Object.entries(held).flatMap(([name, w]) =>
      w > 0 ? [theta(name).sub(origin(name)).square().sum().mul(w)] : [],
    );
    loss = penalties.reduce((sum, p) => sum.add(p.mul(options.shiftWeight)), loss);
  }
  const selected = mask ? mask.sum() : constant(logits.size / logits.dim(1));
  return { loss, logits, selected, ...(kept && { kept }) };
}

export class EntropyAdaptation implements Adaptation {
  state: TrainState | undefined;
  steps = 0;
  private readonly programs: BySize<TrainStep>;

  constructor(
    private readonly model: SourceModel,
    params: readonly Param[],
    private readonly options: AdaptationOptions,
    prepared: Prepared,
  ) {
    this.programs = new BySize((size) =>
      TrainStep.compile({
        source: memoryWeights(model.weights),
        batch: { images: batchOf([size, ...model.shape]) },
        build: (s, { images }) => adaptationLoss(s, images!, model, params, options, prepared),
        optimizer: adam({ lr: options.learningRate }),
        compile: { name: `${options.method} on ${size} images` },
      }),
    );
  }

  async step(images: readonly Pixels[]): Promise<Adapted> {
    const program = await this.programs.get(images.length);
    const batch = { images: tensorOf(this.model, images) };
    const progress = { step: this.steps, epoch: 0, stepsPerEpoch: 1, totalSteps: this.steps + 1 };
    const before = this.state ?? (await program.init(this.options.seed));
    const { state, metrics, observed } = await program.run(before, batch, progress);
    this.steps++;
    if (!Number.isFinite(metrics.loss))
      throw new DivergedError(
        `Step ${this.steps} of the adaptation: the loss is ${metrics.loss}. Lower the learning rate, or reset between domains.`,
      );
    const { logits, kept } = observed as { logits: HostTensor; kept?: HostTensor };
    // Where nothing was selected and no other term asks for a change, Adam's momentum must not make one.
    this.state = metrics.selected! > 0 || diversityOf(this.options) > 0 ? state : before;
    const samples = logits.data.length / logits.shape[1]!;
    return { logits, selected: metrics.selected! / samples, ...(kept && { kept }) };
  }

  reset(): void {
    this.resume(undefined, 0);
  }
  resume(state: TrainState | undefined, steps: number): void {
    this.state = state;
    this.steps = steps;
  }
  weights(): Values {
    const names = Object.keys(this.model.weights);
    return Object.fromEntries(names.map((n) => [n, this.state?.params[n] ?? this.model.weights[n]!]));
  }
  release = (): Promise<void> => this.programs.release();
}
