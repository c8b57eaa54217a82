import type { Tensor } from '../tensor.ts';
import {
  abs,
  add,
  clip,
  div,
  exp,
  less,
  minimum,
  mul,
  neg,
  silu,
  softplus,
  sub,
  tanh,
  where,
} from './elementwise.ts';

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
export const elu = (x: Tensor, alpha = 1): Tensor =>
  where(less(0, x), x, mul(sub(exp(minimum(x, 0)), 1), alpha));
/** ELU with the constants that keep mean 0 and variance 1 (Klambauer et al. 2017). */
export const selu = (x: Tensor): Tensor => mul(elu(x, 1.6732632423543772), 1.0507009873554805);
/** σ as three straight lines: 0, x / 6 + 1 / 2, 1. */
export const hardSigmoid = (x: Tensor): Tensor => clip(add(div(x, 6), 0.5), 0, 1);
/** x·hardSigmoid(x) (Howard et al. 2019). */
export const hardSwish = (x: Tensor): Tensor => mul(x, hardSigmoid(x));
/** x / (1 + |x|) */
export const softsign = (x: Tensor): Tensor => div(x, add(abs(x), 1));
