import {
  abs,
  cast,
  cosineSimilarity,
  div,
  exp,
  gather,
  gatherElements,
  less,
  logSoftmax,
  mul,
  norm,
  notEqual,
  oneHot,
  opError,
  relu,
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
    throw opError('crossEntropy', 'targets do not fit logits', [target, logits]);
  }
  const smoothed = labelSmoothing ? soft.mul(1 - labelSmoothing).add(labelSmoothing / classes) : soft;
  const weighted = classWeights ? smoothed.mul(classWeights) : smoothed;
  const logP = logSoftmax(logits);
  // A class of no weight counts nothing, even where its probability is 0.
  const terms = given || labelSmoothing ? mul(weighted, logP) : where(less(0, soft), mul(weighted, logP), 0);
  const rows = terms.sum(-1).neg();
  if (given) return reduced(rows, reduction);
  const ids = cast(target, 'int64');
  const counted = notEqual(ids, ignoreIndex);
  const losses = where(counted, rows, 0);
  if (reduction !== 'mean') return reduced(losses, reduction);
  const present = cast(counted, logits.dtype);
  const shares = classWeights ? present.mul(gather(classWeights, where(counted, ids, 0))) : present;
  return div(losses.sum(), shares.sum());
}

/**
 * KL(P‖Q) = Σ P·(log P − log Q) over the last axis of two log-probabilities, then over rows by `reduction`: of [N, C],
 * the mean is PyTorch's `batchmean`.
 */
export const klDivergence = (logP: Tensor, logQ: Tensor, reduction: Reduction = 'mean'): Tensor =>
  reduced(mul(exp(logP), sub(logP, logQ)).sum(-1), reduction);

/**
 * Cross-entropy of independent probabilities σ(logits) and `target` in [0, 1], without overflow, as
 * torch.nn.functional.binary_cross_entropy_with_logits. `positiveWeight` scales the positive part, `weight` every element.
 */
export function binaryCrossEntropy(
  logits: Tensor,
  target: Tensor,
  options: { positiveWeight?: Tensor | number; weight?: Tensor; reduction?: Reduction } = {},
): Tensor {
  const { positiveWeight, weight, reduction = 'mean' } = options;
  // −log σ(x) = softplus(−x), and −log(1 − σ(x)) = softplus(−x) + x.
  const negative = sub(1, target);
  const positive = positiveWeight === undefined ? target : mul(target, positiveWeight);
  const losses = positive.add(negative).mul(softplus(logits.neg())).add(negative.mul(logits));
  return reduced(weight ? losses.mul(weight) : losses, reduction);
}

/** −log probability of the classes [...] in log-probabilities [..., C], as torch.nn.functional.nll_loss. */
export function nll(
  logP: Tensor,
  target: Tensor,
  options: { ignoreIndex?: number; reduction?: Reduction } = {},
): Tensor {
  const { ignoreIndex = -100, reduction = 'mean' } = options;
  const ids = cast(target, 'int64');
  const counted = notEqual(ids, ignoreIndex);
  const at = where(counted, ids, 0).reshape([...ids.shape, 1]);
  const losses = where(counted, gatherElements(logP, at, -1).reshape(ids.shape).neg(), 0);
  return reduction === 'mean'
    ? div(losses.sum(), cast(counted, logP.dtype).sum())
    : reduced(losses, reduction);
}

/** Squared error. */
export const mse = (a: Tensor, b: Tensor, reduction: Reduction = 'mean'): Tensor =>
  reduced(sub(a, b).square(), reduction);

/** Absolute error. */
export const l1 = (a: Tensor, b: Tensor, reduction: Reduction = 'mean'): Tensor =>
  reduced(abs(sub(a, b)), reduction);

/** Quadratic where |a − b| < beta, |a − b| − beta / 2 beyond (Girshick 2015). */
export function smoothL1(a: Tensor, b: Tensor, beta = 1, reduction: Reduction = 'mean'): Tensor {
  const distance = abs(sub(a, b));
  if (beta === 0) return reduced(distance, reduction);
  const near = distance.square().mul(0.5 / beta);
  return reduced(where(less(distance, beta), near, distance.sub(beta / 2)), reduction);
}

/** `smoothL1` times its threshold: (a − b)² / 2 near 0 (Huber 1964), as torch.nn.functional.huber_loss. */
export const huber = (a: Tensor, b: Tensor, delta = 1, reduction: Reduction = 'mean'): Tensor =>
  smoothL1(a, b, delta, reduction).mul(delta);

/**
 * 1 − cos(a, b) where `target` is 1, max(0, cos(a, b) − margin) where it is −1, over the last axis, as
 * torch.nn.functional.cosine_embedding_loss.
 */
export function cosineEmbedding(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  margin = 0,
  reduction: Reduction = 'mean',
): Tensor {
  const cos = cosineSimilarity(a, b);
  return reduced(where(less(0, target), sub(1, cos), relu(cos.sub(margin))), reduction);
}

/**
 * max(0, ‖anchor − positive‖ − ‖anchor − negative‖ + margin) over the last axis, as
 * torch.nn.functional.triplet_margin_loss.
 */
export function triplet(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: { margin?: number; reduction?: Reduction } = {},
): Tensor {
  const { margin = 1, reduction = 'mean' } = options;
  const distance = (x: Tensor) => norm(sub(anchor, x).add(1e-6), 2, -1);
  return reduced(relu(distance(positive).sub(distance(negative)).add(margin)), reduction);
}
