import type { DType } from '../host.ts';
import {
  type GradRule,
  type None,
  nonDifferentiable,
  type OpName,
  type OpRule,
  type Rules,
} from '../rule.ts';
import { apply, constant, constantNumber, type Operand, Tensor } from '../tensor.ts';
import { broadcastShapes, isFloat, opError, requireBool, requireFloat, sameShape } from './common.ts';
import { sumTo } from './reduce.ts';
import { expand, reshape } from './shape.ts';

type Binary = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'maximum' | 'minimum';
type Compare = 'equal' | 'less' | 'lessEqual' | 'and' | 'or';
type Unary =
  | 'exp'
  | 'log'
  | 'sqrt'
  | 'reciprocal'
  | 'floor'
  | 'ceil'
  | 'round'
  | 'tanh'
  | 'erf'
  | 'sigmoid'
  | 'softplus';

/** The types of two operands joined: equal dtypes, broadcast shapes. */
function binaryType(op: OpName, [a, b]: readonly Tensor[]): { dtype: DType; shape: readonly number[] } {
  if (a!.dtype !== b!.dtype) throw opError(op, 'operands differ in dtype; cast one of them', [a!, b!]);
  const shape = broadcastShapes(a!.shape, b!.shape);
  if (!shape) throw opError(op, 'shapes do not broadcast', [a!, b!]);
  return { dtype: a!.dtype, shape };
}

const binary = (
  op: Binary,
  onnx: string,
  grad: (g: Tensor, a: Tensor, b: Tensor, y: Tensor) => [() => Tensor, () => Tensor],
): OpRule<None> => ({
  type: (inputs) => {
    requireBool(op, inputs, false);
    return binaryType(op, inputs);
  },
  grad: ([g], node, _attrs, needs) => {
    const [a, b] = node.inputs as [Tensor, Tensor];
    const [da, db] = grad(g!, a, b, node.outputs[0]!);
    return [needs[0] ? sumTo(da(), a.shape) : undefined, needs[1] ? sumTo(db(), b.shape) : undefined];
  },
  emit: (e, inputs) => e.node(onnx, inputs),
});

const compare = (op: Compare, onnx: string): OpRule<None> => ({
  type: (inputs) => {
    if (op !== 'equal') requireBool(op, inputs, op === 'and' || op === 'or');
    return { ...binaryType(op, inputs), dtype: 'bool' };
  },
  grad: nonDifferentiable,
  emit: (e, inputs) => e.node(onnx, inputs),
});

/** The rule of a function of one floating-point operand. */
export const unary = (
  op: OpName,
  onnx: string,
  grad: ((g: Tensor, x: Tensor, y: Tensor) => Tensor) | typeof nonDifferentiable,
): OpRule<None> => ({
  type: (inputs) => {
    requireFloat(op, inputs);
    return { dtype: inputs[0]!.dtype, shape: inputs[0]!.shape };
  },
  grad: unaryGrad(grad),
  emit: (e, inputs) => e.node(onnx, inputs),
});

const unaryGrad = <A>(
  grad: ((g: Tensor, x: Tensor, y: Tensor) => Tensor) | typeof nonDifferentiable,
): GradRule<A> | typeof nonDifferentiable =>
  grad === nonDifferentiable ? grad : ([g], node) => [grad(g!, node.inputs[0]!, node.outputs[0]!)];

const same = (inputs: readonly Tensor[]) => ({ dtype: inputs[0]!.dtype, shape: inputs[0]!.shape });

/** b − 1, but 0 where b is 0: the slope b·a^(b − 1) of a⁰ is 0 also at a = 0, where it would be 0·∞. */
function slopeExponent(b: Tensor): Tensor {
  const known = constantNumber(b);
  if (known !== undefined) return known === 0 ? b : sub(b, 1);
  return where(equal(b, 0), 0, sub(b, 1));
}

/** Shares a gradient between tied operands of max and min as PyTorch does: half to each. */
const tied = (g: Tensor, winner: Tensor, loser: Tensor): Tensor =>
  mul(g, mul(add(cast(less(loser, winner), g.dtype), cast(lessEqual(loser, winner), g.dtype)), 0.5));

const SQRT_2_PI = Math.sqrt(2 / Math.PI);

export const elementwiseRules: Rules<
  | Binary
  | Compare
  | Unary
  | 'not'
  | 'where'
  | 'neg'
  | 'abs'
  | 'sign'
  | 'relu'
  | 'gelu'
  | 'silu'
  | 'cast'
  | 'stopGradient'
> = {
  add: binary('add', 'Add', (g) => [() => g, () => g]),
  sub: binary('sub', 'Sub', (g) => [() => g, () => neg(g)]),
  mul: binary('mul', 'Mul', (g, a, b) => [() => mul(g, b), () => mul(g, a)]),
  div: binary('div', 'Div', (g, _a, b, y) => [() => div(g, b), () => neg(div(mul(g, y), b))]),
  pow: binary('pow', 'Pow', (g, a, b, y) => [
    () => mul(g, mul(b, pow(a, slopeExponent(b)))),
    // 0^b has the limit gradient 0 for b ≥ 0, where y·log(a) would be NaN.
    () => mul(g, mul(y, log(where(and(equal(a, 0), lessEqual(0, b)), 1, a)))),
  ]),
  maximum: binary('maximum', 'Max', (g, a, b) => [() => tied(g, a, b), () => tied(g, b, a)]),
  minimum: binary('minimum', 'Min', (g, a, b) => [
    () => tied(g, neg(a), neg(b)),
    () => tied(g, neg(b), neg(a)),
  ]),
  equal: compare('equal', 'Equal'),
  less: compare('less', 'Less'),
  lessEqual: compare('lessEqual', 'LessOrEqual'),
  and: compare('and', 'And'),
  or: compare('or', 'Or'),
  not: {
    type: (inputs) => {
      requireBool('not', inputs, true);
      return same(inputs);
    },
    grad: nonDifferentiable,
    emit: (e, inputs) => e.node('Not', inputs),
  },
  where: {
    type([condition, a, b]) {
      if (condition!.dtype !== 'bool') throw opError('where', 'the condition must be bool', [condition!]);
      const { dtype, shape } = binaryType('where', [a!, b!]);
      const full = broadcastShapes(condition!.shape, shape);
      if (!full) throw opError('where', 'shapes do not broadcast', [condition!, a!, b!]);
      return { dtype, shape: full };
    },
    grad: ([g], node, _attrs, needs) => {
      const [condition, a, b] = node.inputs as [Tensor, Tensor, Tensor];
      return [
        undefined,
        needs[1] ? sumTo(where(condition, g!, 0), a.shape) : undefined,
        needs[2] ? sumTo(where(condition, 0, g!), b.shape) : undefined,
      ];
    },
    emit: (e, inputs) => e.node('Where', inputs),
  },
  neg: { type: same, grad: unaryGrad((g) => neg(g)), emit: (e, inputs) => e.node('Neg', inputs) },
  abs: {
    type: same,
    grad: unaryGrad((g, x) => mul(g, sign(x))),
    emit: (e, inputs) => e.node('Abs', inputs),
  },
  sign: { type: same, grad: nonDifferentiable, emit: (e, inputs) => e.node('Sign', inputs) },
  exp: unary('exp', 'Exp', (g, _x, y) => mul(g, y)),
  log: unary('log', 'Log', (g, x) => div(g, x)),
  sqrt: unary('sqrt', 'Sqrt', (g, _x, y) => div(mul(g, 0.5), y)),
  reciprocal: unary('reciprocal', 'Reciprocal', (g, _x, y) => neg(mul(g, mul(y, y)))),
  floor: unary('floor', 'Floor', nonDifferentiable),
  ceil: unary('ceil', 'Ceil', nonDifferentiable),
  round: unary('round', 'Round', nonDifferentiable),
  tanh: unary('tanh', 'Tanh', (g, _x, y) => mul(g, sub(1, mul(y, y)))),
  erf: unary('erf', 'Erf', (g, x) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))),
  sigmoid: unary('sigmoid', 'Sigmoid', (g, _x, y) => mul(g, mul(y, sub(1, y)))),
  softplus: unary('softplus', 'Softplus', (g, x) => mul(g, sigmoid(x))),
  relu: {
    type: same,
    grad: unaryGrad((g, x) => mul(g, cast(less(constantLike(0, x), x), g.dtype))),
    emit: (e, inputs) => e.node('Relu', inputs),
  },
  // Every pass over an activation counts: gradients are written with as few as their formulas allow.
  gelu: {
    type(inputs) {
      requireFloat('gelu', inputs);
      return same(inputs);
    },
    grad: ([g], node, { approximate }) => {
      const x = node.inputs[0]!;
      if (approximate === 'none') {
        // Φ(x) + x·φ(x) with z = x / √2. Not as a quotient by e^z²: that overflows, and its gradient would be 0·∞.
        const z = mul(x, Math.SQRT1_2);
        const tail = mul(mul(z, exp(neg(mul(z, z)))), 2 / Math.sqrt(Math.PI));
        return [mul(mul(g!, 0.5), add(add(erf(z), tail), 1))];
      }
      // gelu(x) = x·σ(u), u = 2√(2/π)(x + 0.044715 x³), and x·u' = 3u − 4√(2/π)x.
      const u = mul(x, add(mul(mul(x, x), 2 * 0.044715 * SQRT_2_PI), 2 * SQRT_2_PI));
      const s = sigmoid(u);
      const slope = sub(mul(u, 3), mul(x, 4 * SQRT_2_PI));
      return [mul(g!, mul(s, add(mul(sub(1, s), slope), 1)))];
    },
    emit: (e, inputs, { approximate }) => e.node('Gelu', inputs, { approximate }),
  },
  silu: {
    type(inputs) {
      requireFloat('silu', inputs);
      return same(inputs);
    },
    // y' = σ(αx)·(1 + α(x − y)). The sigmoid is computed again: one array less is kept for the backward pass.
    grad: ([g], node, { alpha }) => {
      const x = node.inputs[0]!;
      const slope = add(mul(sub(x, node.outputs[0]!), alpha), 1);
      return [mul(g!, mul(sigmoid(mul(x, alpha)), slope))];
    },
    emit: (e, [x], { alpha }, node) => {
      const { dtype } = node.outputs[0]!;
      if (dtype === 'float32') {
        return e.node('QuickGelu', [x!], { alpha: { float: alpha } }, { domain: 'com.microsoft' });
      }
      const scaled = alpha === 1 ? x! : e.node('Mul', [x!, e.scalar(alpha, dtype)])[0]!;
      return e.node('Mul', [x!, e.node('Sigmoid', [scaled])[0]!]);
    },
  },
  cast: {
    type: ([x], { to }) => ({ dtype: to, shape: x!.shape }),
    grad: ([g], node) => {
      const x = node.inputs[0]!;
      return [isFloat(x) && isFloat(g!) ? cast(g!, x.dtype) : undefined];
    },
    emit: (e, inputs, { to }) => e.node('Cast', inputs, { to: onnxTypes[to] }),
  },
  stopGradient: { type: same, grad: nonDifferentiable, emit: (_e, inputs) => inputs[0]! },
};

/** ONNX's numbers for element types. */
export const onnxTypes: Record<DType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
};

const constantLike = (value: number, like: Tensor): Tensor => constant(value, like.dtype);

/** Makes numbers into constants of the other operand's dtype. */
export function operands(a: Operand, b: Operand): [Tensor, Tensor] {
  if (a instanceof Tensor) return [a, b instanceof Tensor ? b : constantLike(b, a)];
  if (b instanceof Tensor) return [constantLike(a, b), b];
  return [constant(a), constant(b)];
}

/** `t` broadcast to the joint shape, for identities such as x·1 where the other operand may be larger. */
const broadcastLike = (t: Tensor, other: Tensor): Tensor => {
  const shape = broadcastShapes(t.shape, other.shape)!;
  return sameShape(shape, t.shape) ? t : expand(t, shape);
};

/** Applies a binary op, folding scalar constants and the identities that gradients produce in masses. */
function arithmetic(
  op: Binary,
  a: Operand,
  b: Operand,
  fold: (x: number, y: number) => number,
  identity: { left?: number; right?: number },
): Tensor {
  const [s, t] = operands(a, b);
  const x = constantNumber(s);
  const y = constantNumber(t);
  const joined = binaryType(op, [s, t]);
  if (x !== undefined && y !== undefined && isFloat(s)) {
    return reshape(constant(fold(x, y), s.dtype), joined.shape);
  }
  if (y !== undefined && y === identity.right) return broadcastLike(s, t);
  if (x !== undefined && x === identity.left) return broadcastLike(t, s);
  return apply(op, [s, t], {});
}

export const add = (a: Operand, b: Operand): Tensor =>
  arithmetic('add', a, b, (x, y) => x + y, { left: 0, right: 0 });
export const sub = (a: Operand, b: Operand): Tensor => arithmetic('sub', a, b, (x, y) => x - y, { right: 0 });
export const mul = (a: Operand, b: Operand): Tensor =>
  arithmetic('mul', a, b, (x, y) => x * y, { left: 1, right: 1 });
export const div = (a: Operand, b: Operand): Tensor => arithmetic('div', a, b, (x, y) => x / y, { right: 1 });
export const pow = (a: Operand, b: Operand): Tensor =>
  arithmetic('pow', a, b, (x, y) => x ** y, { right: 1 });
/** Elementwise maximum; a tie sends half of the gradient to each side. */
export const maximum = (a: Operand, b: Operand): Tensor => apply('maximum', operands(a, b), {});
export const minimum = (a: Operand, b: Operand): Tensor => apply('minimum', operands(a, b), {});
/**
 * x held between bounds, numbers or tensors that broadcast; `max` wins where they cross. The gradient reaches x between
 * the bounds and on them, and a bound where x lies beyond it (torch.clamp).
 */
export function clip(x: Tensor, min?: Operand, max?: Operand): Tensor {
  let y = x;
  if (min !== undefined) y = where(less(y, min), min, y);
  if (max !== undefined) y = where(less(max, y), max, y);
  return y;
}

export const equal = (a: Operand, b: Operand): Tensor => apply('equal', operands(a, b), {});
export const less = (a: Operand, b: Operand): Tensor => apply('less', operands(a, b), {});
export const lessEqual = (a: Operand, b: Operand): Tensor => apply('lessEqual', operands(a, b), {});
export const notEqual = (a: Operand, b: Operand): Tensor => not(equal(a, b));
export const greater = (a: Operand, b: Operand): Tensor => less(b, a);
export const greaterEqual = (a: Operand, b: Operand): Tensor => lessEqual(b, a);
export const and = (a: Tensor, b: Tensor): Tensor => apply('and', [a, b], {});
export const or = (a: Tensor, b: Tensor): Tensor => apply('or', [a, b], {});
export const not = (a: Tensor): Tensor => apply('not', [a], {});
/** `condition ? a : b` per element. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const [x, y] = operands(a, b);
  // ONNX Runtime has no kernel that chooses between bools.
  if (x.dtype === 'bool' && y.dtype === 'bool') return or(and(condition, x), and(not(condition), y));
  return apply('where', [condition, x, y], {});
}

export const neg = (x: Tensor): Tensor => apply('neg', [x], {});
export const abs = (x: Tensor): Tensor => apply('abs', [x], {});
/** −1, 0 or 1; NaN stays NaN. */
export const sign = (x: Tensor): Tensor => apply('sign', [x], {});
export const exp = (x: Tensor): Tensor => apply('exp', [x], {});
export const log = (x: Tensor): Tensor => apply('log', [x], {});
export const sqrt = (x: Tensor): Tensor => apply('sqrt', [x], {});
export const reciprocal = (x: Tensor): Tensor => apply('reciprocal', [x], {});
export const floor = (x: Tensor): Tensor => apply('floor', [x], {});
export const ceil = (x: Tensor): Tensor => apply('ceil', [x], {});
/** Nearest integer, halves to even. */
export const round = (x: Tensor): Tensor => apply('round', [x], {});
export const tanh = (x: Tensor): Tensor => apply('tanh', [x], {});
export const erf = (x: Tensor): Tensor => apply('erf', [x], {});
export const sigmoid = (x: Tensor): Tensor => apply('sigmoid', [x], {});
/** log(1 + e^x) */
export const softplus = (x: Tensor): Tensor => apply('softplus', [x], {});
export const relu = (x: Tensor): Tensor => apply('relu', [x], {});
/** x·σ(αx): SiLU or swish (α = 1, Ramachandran et al. 2017). */
export const silu = (x: Tensor, alpha = 1): Tensor => apply('silu', [x], { alpha });
/** GELU with the exact error function, or its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`). */
export const gelu = (x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor =>
  apply('gelu', [x], { approximate });

/** log(1 + x), exact near 0 as well. */
export function log1p(x: Tensor): Tensor {
  const u = add(x, 1);
  const off = sub(u, 1);
  const lost = equal(off, 0);
  // What rounding 1 + x did is undone by a factor (Kahan), which gradients do not see.
  const factor = where(equal(abs(x), Number.POSITIVE_INFINITY), 1, div(x, where(lost, 1, off)));
  return straightThrough(where(lost, x, mul(log(u), factor)), log(u));
}
/** e^x − 1, exact near 0 as well. */
export function expm1(x: Tensor): Tensor {
  const large = less(1, x);
  const t = tanh(mul(where(large, 0, x), 0.5));
  return where(large, sub(exp(x), 1), div(mul(t, 2), sub(1, t)));
}
/** 1 / √x */
export const rsqrt = (x: Tensor): Tensor => reciprocal(sqrt(x));
/** Whether exactly one of two bools is true. */
export const xor = (a: Tensor, b: Tensor): Tensor => notEqual(cast(a, 'int32'), cast(b, 'int32'));
export const isNan = (x: Tensor): Tensor => notEqual(x, x);
/** The integer next to x on the way to zero. */
export const trunc = (x: Tensor): Tensor => mul(sign(x), floor(abs(x)));
/**
 * What is left of a after whole steps of b, with the sign of b (torch.remainder); of integers as well. Its gradient
 * is that of a − b·⌊a / b⌋ with the quotient held.
 */
export function remainder(a: Operand, b: Operand): Tensor {
  const [x, y] = operands(a, b);
  if (isFloat(x)) return sub(x, mul(y, floor(div(x, y))));
  // Division of integers cuts towards zero.
  const rest = sub(x, mul(y, div(x, y)));
  const wrong = and(notEqual(rest, 0), notEqual(less(rest, 0), less(y, 0)));
  return where(wrong, add(rest, y), rest);
}

/** Converts the element type; gradients flow between floating-point types. */
export const cast = (x: Tensor, to: DType): Tensor => (x.dtype === to ? x : apply('cast', [x], { to }));

/** The value without its gradient. */
export const stopGradient = (x: Tensor): Tensor => apply('stopGradient', [x], {});

/** The value of `hard` with the gradient of `soft` (straight-through estimator, Bengio et al. 2013). */
export const straightThrough = (hard: Tensor, soft: Tensor): Tensor =>
  add(soft, stopGradient(sub(hard, soft)));
