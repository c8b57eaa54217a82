import type { Shape } from '../../host.ts';
import { broadcastShapes, isFloat } from '../../ops/common.ts';
import * as ops from '../../ops/index.ts';
import { constant, type Tensor } from '../../tensor.ts';
import { type Importer, inWide, type NodeReader } from '../reader.ts';

/** A function that has floating-point kernels only. */
const unary =
  (f: (x: Tensor) => Tensor): Importer =>
  (n) =>
    f(n.x());
const arithmetic =
  (f: (a: Tensor, b: Tensor) => Tensor): Importer =>
  (n) =>
    inWide([n.x(0), n.x(1)], f);
const variadic =
  (f: (a: Tensor, b: Tensor) => Tensor): Importer =>
  (n) =>
    inWide(n.all, (...xs) => xs.reduce(f));
/** Ops on bits as ONNX Runtime has them, between integers of any size. */
const bitwise: Importer = (n) => {
  const { dtype } = n.x();
  if (n.node.type === 'BitShift' && !dtype.startsWith('uint'))
    n.fail('shifts signed integers, which is not supported');
  // There is no kernel that shifts 16 bits.
  const wide = n.node.type === 'BitShift' && dtype === 'uint16' ? 'uint32' : dtype;
  const shape = n.all.reduce<Shape>((joint, x) => broadcastShapes(joint, x.shape) ?? [], []);
  const xs = n.all.map((x) => x.cast(wide));
  const direction = n.string('direction', '');
  return n.foreign(xs, [{ dtype: wide, shape }], direction ? { direction } : {}).map((y) => y.cast(dtype));
};

/** Remainders with the sign of the divisor, or with `fmod` of the dividend. */
function modulo(n: NodeReader): Tensor {
  return inWide([n.x(0), n.x(1)], (a, b) => {
    // Division of integers cuts towards zero already. No whole step of an infinite divisor is no step.
    const steps = isFloat(a) ? ops.trunc(a.div(b)) : a.div(b);
    const rest = a.sub(isFloat(a) ? ops.where(ops.equal(steps, 0), 0, b.mul(steps)) : b.mul(steps));
    if (n.flag('fmod')) return rest;
    const wrong = ops.and(ops.notEqual(rest, 0), ops.notEqual(ops.less(rest, 0), ops.less(b, 0)));
    return ops.where(wrong, rest.add(b), rest);
  });
}

function clip(n: NodeReader): Tensor {
  const bound = (i: number, name: string): Tensor | undefined => {
    const old = n.node.attrs.has(name) ? n.number(name, 0) : undefined;
    return n.maybe(i) ?? (old === undefined ? undefined : constant(old, n.x().dtype));
  };
  return inWide([n.x()], (x) => {
    const [min, max] = [bound(1, 'min')?.cast(x.dtype), bound(2, 'max')?.cast(x.dtype)];
    const raised = min ? ops.maximum(x, min) : x;
    return max ? ops.minimum(raised, max) : raised;
  });
}

function isInf(n: NodeReader): Tensor {
  const [low, high] = [n.flag('detect_negative', true), n.flag('detect_positive', true)];
  const x = n.x().dtype === 'float16' ? n.x().cast('float32') : n.x();
  if (!low && !high) return ops.expand(constant(0, 'bool'), x.shape);
  return ops.equal(low && high ? ops.abs(x) : low ? x.neg() : x, Number.POSITIVE_INFINITY);
}

/** Arithmetic, comparisons, functions of one value and activations. */
export const elementwise: Record<string, Importer> = {
  Add: arithmetic(ops.add),
  Sub: arithmetic(ops.sub),
  Mul: arithmetic(ops.mul),
  Div: arithmetic(ops.div),
  Pow: (n) => {
    const [x, y] = [n.x(0), n.x(1)];
    if (isFloat(x)) return ops.pow(x, y.cast(x.dtype));
    // Integers to a fractional power: computed in floating point, cut to integers.
    return isFloat(y)
      ? ops.pow(x.cast('float64'), y.cast('float64')).cast(x.dtype)
      : inWide([x], (wide) => ops.pow(wide, y.cast(wide.dtype)));
  },
  Mod: modulo,
  Max: variadic(ops.maximum),
  Min: variadic(ops.minimum),
  Sum: variadic(ops.add),
  Mean: (n) => n.all.reduce(ops.add).div(n.operands.length),
  Equal: arithmetic(ops.equal),
  Less: arithmetic(ops.less),
  LessOrEqual: arithmetic(ops.lessEqual),
  Greater: arithmetic(ops.greater),
  GreaterOrEqual: arithmetic(ops.greaterEqual),
  And: (n) => ops.and(n.x(0), n.x(1)),
  Or: (n) => ops.or(n.x(0), n.x(1)),
  Xor: (n) => ops.notEqual(n.x(0).cast('int32'), n.x(1).cast('int32')),
  Not: unary(ops.not),
  BitwiseAnd: bitwise,
  BitwiseOr: bitwise,
  BitwiseXor: bitwise,
  BitwiseNot: bitwise,
  BitShift: bitwise,
  Where: (n) => inWide([n.x(1), n.x(2)], (a, b) => ops.where(n.x(0), a, b)),
  Neg: (n) => inWide([n.x()], ops.neg),
  Abs: (n) => (n.x().dtype.startsWith('uint') ? n.x() : ops.abs(n.x())),
  Sign: unary(ops.sign),
  Exp: unary(ops.exp),
  Log: unary(ops.log),
  Sqrt: unary(ops.sqrt),
  Reciprocal: unary(ops.reciprocal),
  Floor: unary(ops.floor),
  Ceil: unary(ops.ceil),
  Round: unary(ops.round),
  Sin: unary(ops.sin),
  Cos: unary(ops.cos),
  Tan: unary(ops.tan),
  Asin: unary(ops.asin),
  Acos: unary(ops.acos),
  Atan: unary(ops.atan),
  Sinh: unary(ops.sinh),
  Cosh: unary(ops.cosh),
  Asinh: unary(ops.asinh),
  Acosh: unary(ops.acosh),
  Atanh: unary(ops.atanh),
  Tanh: unary(ops.tanh),
  Erf: unary(ops.erf),
  IsNaN: unary(ops.isNan),
  IsInf: isInf,
  Clip: clip,
  Identity: (n) => n.operands[0] ?? null,

  Sigmoid: unary(ops.sigmoid),
  Softplus: unary(ops.softplus),
  Softsign: unary(ops.softsign),
  Relu: (n) => (isFloat(n.x()) ? ops.relu(n.x()) : inWide([n.x()], (x) => ops.maximum(x, 0))),
  LeakyRelu: (n) => ops.leakyRelu(n.x(), n.number('alpha', 0.01)),
  PRelu: (n) => inWide([n.x(0), n.x(1)], (x, slope) => ops.leakyRelu(x, slope)),
  Elu: (n) => ops.elu(n.x(), n.number('alpha', 1)),
  Selu: (n) =>
    ops.elu(n.x(), n.number('alpha', 1.6732632423543772)).mul(n.number('gamma', 1.0507009873554805)),
  Celu: (n) => ops.elu(n.x().div(n.number('alpha', 1))).mul(n.number('alpha', 1)),
  HardSigmoid: (n) => ops.clip(n.x().mul(n.number('alpha', 0.2)).add(n.number('beta', 0.5)), 0, 1),
  HardSwish: unary(ops.hardSwish),
  Mish: unary(ops.mish),
  Swish: (n) => ops.silu(n.x(), n.number('alpha', 1)),
  ThresholdedRelu: (n) => ops.where(ops.less(n.number('alpha', 1), n.x()), n.x(), 0),
  Shrink: (n) =>
    inWide([n.x()], (x) => {
      const [lambda, bias] = [n.number('lambd', 0.5), n.number('bias', 0)];
      const wide = isFloat(x) ? x : x.cast('float32');
      const [low, high] = [ops.less(wide, -lambda), ops.less(lambda, wide)];
      return ops.where(low, wide.add(bias), ops.where(high, wide.sub(bias), 0)).cast(x.dtype);
    }),
  Gelu: (n) => ops.gelu(n.x(), n.choice('approximate', 'none', ['none', 'tanh'] as const)),
  Dropout: (n) => {
    // Before opset 12 it never drops when a model is run.
    if (n.opset >= 12 && n.maybe(2) && n.required(2)[0] !== 0 && (n.known(1)?.[0] ?? 0.5) !== 0) {
      n.fail('is in training mode: draw its random numbers outside of the model');
    }
    return [n.x(), ops.expand(constant(1, 'bool'), n.x().shape)];
  },

  Cast: (n) => n.x().cast(n.dtype('to', 'float32')),
  CastLike: (n) => n.x(0).cast(n.x(1).dtype),
};
