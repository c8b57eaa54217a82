import type { Rules } from '../rule.ts';

/** Ops that ONNX Runtime runs for an imported model. Through floating-point results no gradient may pass unnoticed. */
export const foreignRules: Rules<'onnx'> = {
  onnx: {
    type: (_inputs, { outputs }) => [...outputs],
    grad: (_g, _node, { place }) => {
      throw new Error(
        `grad: ${place} has no gradient here; stopGradient its operands where none is meant to flow`,
      );
    },
    emit: (e, inputs, { type, domain, attrs, outputs }) =>
      e.node(type, inputs, attrs, { outputs: outputs.length, domain }),
  },
};
