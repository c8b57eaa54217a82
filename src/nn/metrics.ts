import { argMax, equal, type Tensor } from '../graph/index.ts';

/** Share of rows of `logits` [N, C] whose largest entry is at `target` [N] (int64), a float32 scalar. */
export const accuracy = (logits: Tensor, target: Tensor): Tensor =>
  equal(argMax(logits), target).cast('float32').mean();
