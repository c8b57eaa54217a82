import * as ops from '../../ops/index.ts';
import { constant, type Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader } from '../reader.ts';

/** −logp of the target's class, weighted by class, ignoring one index; then none, the mean or the sum. */
function negativeLogLikelihood(
  n: NodeReader,
  logp: Tensor,
  target: Tensor,
  weight: Tensor | undefined,
): Tensor {
  const classes = logp.dim(1);
  const ids = target.cast('int64');
  const ignored = n.node.attrs.has('ignore_index') ? ops.equal(ids, n.number('ignore_index', 0)) : undefined;
  const safe = ignored ? ops.where(ignored, 0, ids) : ids;
  const wide = safe.reshape([ids.dim(0), 1, ...ids.shape.slice(1)]);
  const places = integers(
    Array.from({ length: classes }, (_, i) => i),
    [1, classes, ...ids.shape.slice(1).map(() => 1)],
  );
  const picked = ops.where(ops.equal(wide, places), logp, 0).sum(1).neg();
  const share = weight ? ops.gather(weight, safe, 0) : ops.expand(constant(1, logp.dtype), ids.shape);
  const kept = ignored ? ops.where(ignored, 0, share) : share;
  const losses = picked.mul(kept);
  const reduction = n.choice('reduction', 'mean', ['none', 'mean', 'sum'] as const);
  if (reduction === 'none') return losses;
  return reduction === 'sum' ? losses.sum() : losses.sum().div(kept.sum());
}

export const losses: Record<string, Importer> = {
  NegativeLogLikelihoodLoss: (n) => negativeLogLikelihood(n, n.x(0), n.x(1), n.maybe(2)),
  SoftmaxCrossEntropyLoss: (n) => {
    const logp = ops.logSoftmax(n.x(0), 1);
    return [negativeLogLikelihood(n, logp, n.x(1), n.maybe(2)), logp];
  },
};
