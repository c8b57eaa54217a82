/**
 * The losses, of logits [n, K] or, for every pixel, [n, K, h, w]: classes lie along axis 1. A mask is 1 where a sample counts and
 * 0 elsewhere, and carries no gradient.
 */
import {
  argMax,
  exp,
  gatherElements,
  greaterEqual,
  logSoftmax,
  logSumExp,
  maximum,
  softmax,
  type Tensor,
} from '../../graph/index.ts';

const CLASSES = 1;
/** All axes but that of the classes. */
export const sampleAxes = (x: Tensor): number[] => x.shape.map((_, i) => i).filter((i) => i !== CLASSES);

/** H(p) = −Σ p log p of each sample. */
export const entropy = (logits: Tensor): Tensor =>
  softmax(logits, CLASSES).mul(logSoftmax(logits, CLASSES)).sum(CLASSES).neg();

/** H(p̄) of the mean prediction over the whole batch, by log-sum-exp, so that a class of no probability is no log 0. */
export function marginalEntropy(logits: Tensor): Tensor {
  const samples = logits.size / logits.dim(CLASSES);
  const logMean = logSumExp(logSoftmax(logits, CLASSES), sampleAxes(logits)).sub(Math.log(samples));
  return exp(logMean).mul(logMean).sum().neg();
}

/**
 * Two forward passes of equal weights differ by rounding where one has its weights as constants and the other as inputs: a
 * fall of the probability by no more than this is none.
 */
export const ROUNDING = 1e-6;

/** Φ: 1 where p̂[c] ≥ p̃[c], c the class that the source model predicts. */
export function confidenceKept(adapted: Tensor, source: Tensor): Tensor {
  const classes = argMax(source, CLASSES).reshape(source.shape.toSpliced(CLASSES, 1, 1));
  const at = (logits: Tensor) =>
    gatherElements(softmax(logits, CLASSES), classes, CLASSES).reshape(logits.shape.toSpliced(CLASSES, 1));
  return greaterEqual(at(adapted).add(ROUNDING), at(source)).cast('float32');
}

/** The mean over the samples that `mask` selects; 0 where it selects none. */
export const selectedMean = (values: Tensor, mask: Tensor): Tensor =>
  values.mul(mask).sum().div(maximum(mask.sum(), 1));
