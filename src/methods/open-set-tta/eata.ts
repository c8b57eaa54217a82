/** EATA (Niu et al., ICML 2022, arXiv 2204.02610): which samples it learns from, and what holds its parameters. */
import {
  abs,
  constant,
  cosineSimilarity,
  exp,
  less,
  maximum,
  or,
  softmax,
  stopGradient,
  type Tensor,
} from '../../graph/index.ts';
import { type Scope, zerosInit } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';
import { sampleAxes } from './loss.ts';
import type { AdaptationOptions } from './options.ts';

export interface EataSelection {
  /** 1 where a sample is reliable, not redundant, and kept by `also`. */
  readonly mask: Tensor;
  /** exp(E₀ − H), at least 1 for what is reliable; no gradient. */
  readonly weight: Tensor;
}

/**
 * Reliable are entropies below E₀ = `entropyMargin` · ln K; redundant are predictions near the moving average m of
 * selected ones, which lives in buffers below `s` and is moved by what this selects. `also` is one more mask.
 */
export function eataSelection(
  s: Scope,
  logits: Tensor,
  entropies: Tensor,
  also: Tensor | undefined,
  { entropyMargin, redundancy }: AdaptationOptions,
): EataSelection {
  const classes = logits.dim(1);
  const margin = entropyMargin * Math.log(classes);
  const mean = s.buffer('mean', [classes], zerosInit);
  /** 0 before anything was selected, then 1: the first selection sets the mean and is not held against it. */
  const begun = s.buffer('begun', [], zerosInit);
  const p = softmax(logits, 1);
  const row = mean.reshape([1, classes, ...logits.shape.slice(2).map(() => 1)]).expand(p.shape);
  const fresh = or(less(begun, 0.5), less(abs(cosineSimilarity(row, p, 1)), redundancy));
  const own = less(entropies, margin).cast('float32').mul(fresh.cast('float32'));
  const mask = also ? own.mul(also) : own;

  const count = mask.sum();
  const axes = sampleAxes(logits);
  const masked = p.mul(mask.reshape(p.shape.toSpliced(1, 1, 1))).sum(axes);
  const batchMean = masked.div(maximum(count, 1));
  const any = less(0, count).cast('float32');
  const share = begun.mul(0.1).add(begun.neg().add(1)).mul(any);
  s.update('mean', mean.add(batchMean.sub(mean).mul(share)));
  s.update('begun', maximum(begun, any));
  return { mask, weight: exp(stopGradient(entropies).neg().add(margin)) };
}

/** Σ F (θ − θ_o)² over parameters by name. */
export const fisherPenalty = (
  theta: (name: string) => Tensor,
  origin: (name: string) => Tensor,
  fisher: Values,
): Tensor =>
  Object.entries(fisher)
    .map(([name, f]) => theta(name).sub(origin(name)).square().mul(constant(f)).sum())
    .reduce((a, b) => a.add(b));
