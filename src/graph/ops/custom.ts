import type { CustomGradient, Rules } from '../rule.ts';
import { apply, type Tensor } from '../tensor.ts';

export const customRules: Rules<'custom'> = {
  /** Inputs: the value, then the tensors that its gradient goes to. */
  custom: {
    type: ([y]) => ({ dtype: y!.dtype, shape: y!.shape }),
    grad: ([g], node, { gradient }, needs) => [
      undefined,
      ...gradient(g!, node.inputs.slice(1), needs.slice(1)),
    ],
    emit: (_e, inputs) => inputs[0]!,
  },
};

/**
 * The value `y` with a gradient of one's own, where a better form of it is known, or another one is wanted. Only `inputs`
 * get a gradient, whatever else `y` was made of. The rule is written in ops, so it differentiates again; in the inputs that it is
 * given, since `vmap` gives it those of each example.
 *
 *     const reversed = (x: Tensor) => customGradient(x, [x], (g) => [neg(g)]); // Ganin & Lempitsky 2015
 */
export const customGradient = (y: Tensor, inputs: readonly Tensor[], gradient: CustomGradient): Tensor =>
  apply('custom', [y, ...inputs], { gradient });
