import {
  abs,
  cast,
  div,
  exp,
  gather,
  less,
  logSoftmax,
  mul,
  notEqual,
  oneHot,
  softplus,
  sub,
  type Tensor,
  where,
} from '../graph/index.ts';

/** How the losses of single elements or rows become one: their mean (default), their sum, or not at all. */
export type Reduction = 'mean' | 'sum' | 'none';

const reduced = (losses: Tensor, reduction: Reduction): Tensor =>
  reduction === 'none' ? losses : reduction === 'sum' ? losses.sum() : losses.mean();

export interface CrossEntropyOptions {
  /** Mixes the target with the uniform distribution. */
  labelSmoothing?: number;
  /** The class of rows that do not count (integer targets); −100 by default. */
  ignoreIndex?: number;
  /** Weights of the classes [C]; the mean of integer targets is a weighted one. */
  classWeights?: Tensor;
  reduction?: Reduction;
}

/**
 * Cross-entropy of `logits` [..., C], as torch.nn.functional.cross_entropy. `target` is integer classes [...] or a
 * distribution [..., C].
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { labelSmoothing = 0, ignoreIndex = -100, classWeights, reduction = 'mean' } = options;
  const classes = logits.dim(-1);
  const given = target.dtype.startsWith('float');
  const soft = given ? target : oneHot(target, classes, logits.dtype as 'float32');
  if (String(soft.shape) !== String(logits.shape)) {
    throw new Error(`crossEntropy: targets [${target.shape}] do not fit logits [${logits.shape}]`);
  }
  const smoothed = labelSmoothing ? soft.mul(1 - labelSmoothing).add(labelSmoothing / classes) : soft;
  const weighted = classWeights ? smoothed.mul(classWeights) : smoothed;
  const rows = mul(weighted, logSoftmax(logits)).sum(-1).neg();
  if (given) return reduced(rows, reduction);
  const ids = cast(target, 'int64');
  const counted = notEqual(ids, ignoreIndex);
  const losses = where(counted, rows, 0);
  if (reduction !== 'mean') return reduced(losses, reduction);
  const present = cast(counted, logits.dtype);
  const shares = classWeights ? present.mul(gather(classWeights, where(counted, ids, 0))) : present;
  return div(losses.sum(), shares.sum());
}

/** KL(P‖Q) = Σ P·(log P − log Q) over the last axis of two log-probabilities, then over rows by `reduction`. */
export const klDivergence = (logP: Tensor, logQ: Tensor, reduction: Reduction = 'mean'): Tensor =>
  reduced(mul(exp(logP), sub(logP, logQ)).sum(-1), reduction);

/**
 * Cross-entropy of independent probabilities σ(logits) and `target` in [0, 1], without overflow, as
 * torch.nn.functional.binary_cross_entropy_with_logits. `positiveWeight` scales the positive part.
 */
export function binaryCrossEntropy(
  logits: Tensor,
  target: Tensor,
  options: { positiveWeight?: Tensor | number; reduction?: Reduction } = {},
): Tensor {
  const { positiveWeight, reduction = 'mean' } = options;
  // −log σ(x) = softplus(−x), and −log(1 − σ(x)) = softplus(−x) + x.
  const negative = sub(1, target);
  const positive = positiveWeight === undefined ? target : mul(target, positiveWeight);
  const losses = positive.add(negative).mul(softplus(logits.neg())).add(negative.mul(logits));
  return reduced(losses, reduction);
}

/** Mean squared error over all elements. */
export const mse = (a: Tensor, b: Tensor): Tensor => sub(a, b).square().mean();

/** Quadratic where |a − b| < beta, linear beyond, mean over all elements (Girshick 2015). */
export function smoothL1(a: Tensor, b: Tensor, beta = 1): Tensor {
  const distance = abs(sub(a, b));
  const near = distance.square().mul(0.5 / beta);
  return where(less(distance, beta), near, distance.sub(beta / 2)).mean();
}
