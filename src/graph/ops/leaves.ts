import { nonDifferentiable, type Rules } from '../rule.ts';

export const leafRules: Rules<'input' | 'constant' | 'weight'> = {
  input: {
    type: (_, { dtype, shape }) => ({ dtype, shape }),
    grad: nonDifferentiable,
    emit: (e, _inputs, _attrs, node) => e.leaf(node),
  },
  constant: {
    type: (_, { value }) => ({ dtype: value.dtype, shape: value.shape }),
    grad: nonDifferentiable,
    emit: (e, _inputs, _attrs, node) => e.leaf(node),
  },
  weight: {
    type: (_, { weight }) => ({ dtype: weight.dtype, shape: weight.shape }),
    grad: nonDifferentiable,
    emit: (e, _inputs, _attrs, node) => e.leaf(node),
  },
};
