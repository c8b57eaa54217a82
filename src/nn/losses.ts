import { logSoftmax, mul, oneHot, sub, type Tensor } from '../graph/index.ts';

/**
 * Mean cross-entropy of `logits` [..., C]. `target` is integer classes [...] or a distribution [..., C].
 * `labelSmoothing` mixes the target with the uniform distribution, as torch.nn.CrossEntropyLoss.
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  options: { labelSmoothing?: number } = {},
): Tensor {
  const { labelSmoothing = 0 } = options;
  const classes = logits.dim(-1);
  const soft = target.dtype.startsWith('float') ? target : oneHot(target, classes);
  if (String(soft.shape) !== String(logits.shape)) {
    throw new Error(`crossEntropy: targets [${target.shape}] do not fit logits [${logits.shape}]`);
  }
  const smoothed = labelSmoothing ? soft.mul(1 - labelSmoothing).add(labelSmoothing / classes) : soft;
  return mul(smoothed, logSoftmax(logits)).sum(-1).mean().neg();
}

/** Mean squared error over all elements. */
export const mse = (a: Tensor, b: Tensor): Tensor => sub(a, b).square().mean();
