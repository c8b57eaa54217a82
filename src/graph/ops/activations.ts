import type { Tensor } from '../tensor.ts';
import { opError } from './common.ts';
import {
  abs,
  add,
  div,
  expm1,
  less,
  lessEqual,
  mul,
  neg,
  sigmoid,
  silu,
  softplus,
  sub,
  tanh,
  where,
} from './elementwise.ts';
import { slice } from './shape.ts';

/** x·σ(1.702 x), the activation of OpenAI's CLIP. */
export const quickGelu = (x: Tensor): Tensor => silu(x, 1.702);
/** x·tanh(log(1 + e^x)) (Misra 2019). */
export const mish = (x: Tensor): Tensor => mul(x, tanh(softplus(x)));
/** log σ(x), without overflow. */
export const logSigmoid = (x: Tensor): Tensor => neg(softplus(neg(x)));
/** x where positive, else `slope`·x; a number, or a tensor that broadcasts (PReLU). */
export const leakyRelu = (x: Tensor, slope: number | Tensor = 0.01): Tensor =>
  where(less(0, x), x, mul(x, slope));
/** x where positive, else alpha·(e^x − 1). */
export const elu = (x: Tensor, alpha = 1): Tensor => {
  const positive = less(0, x);
  return where(positive, x, mul(expm1(where(positive, 0, x)), alpha));
};
/** x where positive, else alpha·(e^(x / alpha) − 1) (Barron 2017). */
export const celu = (x: Tensor, alpha = 1): Tensor => mul(elu(div(x, alpha)), alpha);
/** ELU with the constants that keep mean 0 and variance 1 (Klambauer et al. 2017). */
export const selu = (x: Tensor): Tensor => mul(elu(x, 1.6732632423543772), 1.0507009873554805);
/** x held between `min` and `max`. No gradient flows at the bounds or beyond, as torch.nn.functional.hardtanh. */
export const hardTanh = (x: Tensor, min = -1, max = 1): Tensor =>
  where(lessEqual(x, min), min, where(lessEqual(max, x), max, x));
export const relu6 = (x: Tensor): Tensor => hardTanh(x, 0, 6);
/** σ as three straight lines: 0, x / 6 + 1 / 2, 1. */
export const hardSigmoid = (x: Tensor): Tensor => hardTanh(add(div(x, 6), 0.5), 0, 1);
/** x·hardSigmoid(x) (Howard et al. 2019). */
export const hardSwish = (x: Tensor): Tensor => mul(x, hardSigmoid(x));
/** x / (1 + |x|) */
export const softsign = (x: Tensor): Tensor => div(x, add(abs(x), 1));
/** x, but 0 where |x| ≤ `lambda`. */
export const hardShrink = (x: Tensor, lambda = 0.5): Tensor => where(lessEqual(abs(x), lambda), 0, x);
/** x drawn towards 0 by `lambda`: the proximal step of an L1 penalty. */
export const softShrink = (x: Tensor, lambda = 0.5): Tensor =>
  where(less(lambda, x), sub(x, lambda), where(less(x, -lambda), add(x, lambda), mul(x, 0)));
/** The first half of an axis times the sigmoid of the second (Dauphin et al. 2017). */
export function glu(x: Tensor, axis = -1): Tensor {
  const n = x.dim(axis);
  if (n % 2 !== 0) throw opError('glu', `axis ${axis} has no halves`, [x]);
  return mul(slice(x, axis, 0, n / 2), sigmoid(slice(x, axis, n / 2)));
}
