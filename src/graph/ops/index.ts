import type { OpName, OpRule, Rules } from '../rule.ts';
import { checkpointRules } from './checkpoint.ts';
import { convRules } from './conv.ts';
import { customRules } from './custom.ts';
import { elementwiseRules } from './elementwise.ts';
import { foreignRules } from './foreign.ts';
import { gatherRules } from './gather.ts';
import { leafRules } from './leaves.ts';
import { linearRules } from './linear.ts';
import { normaliseRules } from './normalise.ts';
import { poolRules } from './pool.ts';
import { reduceRules } from './reduce.ts';
import { shapeRules } from './shape.ts';
import { trigonometryRules } from './trigonometry.ts';

const table: Rules = {
  ...leafRules,
  ...checkpointRules,
  ...customRules,
  ...elementwiseRules,
  ...trigonometryRules,
  ...reduceRules,
  ...linearRules,
  ...convRules,
  ...poolRules,
  ...normaliseRules,
  ...shapeRules,
  ...gatherRules,
  ...foreignRules,
};

/** The rule table. Typed by `OpAttrs`: an op without a type rule, gradient rule or emission does not compile. */
export const rules = table as { [K in OpName]: OpRule<unknown> };

export * from './activations.ts';
export * from './arrange.ts';
export { checkpoint } from './checkpoint.ts';
export { isFloat, normalizeAxis, opError } from './common.ts';
export * from './conv.ts';
export { customGradient } from './custom.ts';
export * from './einsum.ts';
export * from './elementwise.ts';
export * from './gather.ts';
export { type GridSampleOptions, gridSample } from './grid.ts';
export * from './linalg.ts';
export * from './linear.ts';
export * from './normalise.ts';
export * from './patches.ts';
export * from './pool.ts';
export * from './reduce.ts';
export * from './resize.ts';
export * from './shape.ts';
export * from './trigonometry.ts';
