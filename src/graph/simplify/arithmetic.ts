import type { Shape } from '../host.ts';
import { broadcastShapes, isFloat, sameShape } from '../ops/common.ts';
import { add, cast, div, expand, mul, neg, reciprocal, sub, where } from '../ops/index.ts';
import type { OpName } from '../rule.ts';
import { apply, constant, type Tensor } from '../tensor.ts';
import { evaluate } from './fold.ts';
import {
  filled,
  fillOf,
  joinable,
  made,
  numberOf,
  type Rewrite,
  type Rewrites,
  scaled,
  unexpanded,
} from './match.ts';
import { joinedPads } from './shape.ts';

/** Ops that treat every element alike and broadcast their operands. */
const elementwise = [
  ...(['add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum', 'equal', 'less', 'lessEqual'] as const),
  ...(['and', 'or', 'not', 'where', 'neg', 'abs', 'sign', 'cast', 'floor', 'ceil', 'round'] as const),
  ...(['exp', 'log', 'sqrt', 'reciprocal', 'erf', 'sigmoid', 'softplus', 'relu', 'gelu'] as const),
  ...([
    'sin',
    'cos',
    'tan',
    'asin',
    'acos',
    'atan',
    'sinh',
    'cosh',
    'tanh',
    'asinh',
    'acosh',
    'atanh',
  ] as const),
] satisfies OpName[];

/** An op on numbers that fill arrays is a number that fills an array. */
const ofNumbers: Rewrite<OpName> = (node, attrs) => {
  const { shape, dtype } = node.outputs[0]!;
  const values = node.inputs.map(fillOf);
  if (!values.every((v) => v !== undefined)) return undefined;
  const value = evaluate(node.op, attrs, values, { dtype, shape: [] });
  return value && filled(value, shape);
};

const jointShape = (tensors: readonly Tensor[]): Shape =>
  tensors.reduce<Shape>((shape, t) => broadcastShapes(shape, t.shape)!, []);

/** Operands broadcast by themselves; what is equal along an axis is computed once and then expanded. */
const withoutExpand: Rewrite<OpName> = (node, attrs) => {
  const { shape } = node.outputs[0]!;
  let inputs = node.inputs;
  for (const [i, t] of inputs.entries()) {
    const stripped = inputs.with(i, unexpanded(t));
    if (t.node.op === 'expand' && sameShape(jointShape(stripped), shape)) inputs = stripped;
  }
  if (inputs !== node.inputs) return apply(node.op, inputs, attrs);
  if (!inputs.some((t) => t.node.op === 'expand')) return undefined;
  return expand(apply(node.op, inputs.map(unexpanded), attrs), shape);
};

/** Whether `t` has as many elements as the result, so that to work on the result costs no more. */
const whole = (t: Tensor, y: Tensor): boolean => t.size === y.size;

const sums: Rewrite<'add'> = ({ inputs: [a, b], outputs: [y] }) => {
  if (numberOf(b!) === 0) return expand(a!, y!.shape);
  if (numberOf(a!) === 0) return expand(b!, y!.shape);
  if (a === b && isFloat(a!)) return mul(a!, 2);
  const [minusA, minusB] = [made(a, 'neg'), made(b, 'neg')];
  if (minusB) return sub(a!, minusB.inputs[0]!);
  return minusA ? sub(b!, minusA.inputs[0]!) : joinedPads(a!, b!);
};

const differences: Rewrite<'sub'> = ({ inputs: [a, b], outputs: [y] }) => {
  if (numberOf(b!) === 0) return expand(a!, y!.shape);
  if (numberOf(a!) === 0) return expand(neg(b!), y!.shape);
  const minus = made(b, 'neg');
  return minus && add(a!, minus.inputs[0]!);
};

const products: Rewrite<'mul'> = ({ inputs: [a, b], outputs: [y] }, _attrs, { single }) => {
  const [left, right] = [numberOf(a!), numberOf(b!)];
  const factor = right ?? left;
  if (factor !== undefined) {
    const x = right === undefined ? b! : a!;
    if (factor === 1) return expand(x, y!.shape);
    if (factor === -1) return expand(neg(x), y!.shape);
    const inner = scaled(x);
    if (inner && isFloat(x) && (inner[1] === -1 || joinable(x, inner[1] * factor))) {
      return mul(inner[0], inner[1] * factor);
    }
    return undefined;
  }
  const [minusA, minusB] = [made(a, 'neg'), made(b, 'neg')];
  if (minusA && minusB) return mul(minusA.inputs[0]!, minusB.inputs[0]!);
  for (const [minus, x, other] of [
    [minusA, a!, b!],
    [minusB, b!, a!],
  ] as const) {
    if (minus && whole(x, y!) && single(x)) return neg(mul(minus.inputs[0]!, other));
  }
  // A number belongs to the smaller operand.
  for (const [x, other] of [
    [a!, b!],
    [b!, a!],
  ] as const) {
    const inner = scaled(x);
    if (inner && isFloat(x) && other.size < x.size && joinable(x, inner[1])) {
      return mul(inner[0], mul(other, inner[1]));
    }
  }
  return undefined;
};

/** 2^k with a reciprocal that is exact. */
const powerOfTwo = (x: number): boolean =>
  Number.isFinite(x) &&
  x !== 0 &&
  Math.abs(x) > 1e-30 &&
  Math.abs(x) < 1e30 &&
  Number.isInteger(Math.log2(Math.abs(x)));

const quotients: Rewrite<'div'> = ({ inputs: [a, b], outputs: [y] }, _attrs, { single }) => {
  if (!isFloat(a!)) return undefined;
  const by = numberOf(b!);
  if (by !== undefined) {
    if (powerOfTwo(by)) return expand(mul(a!, 1 / by), y!.shape);
    const inner = scaled(a);
    return inner && joinable(a!, inner[1] / by) ? mul(inner[0], inner[1] / by) : undefined;
  }
  const [minusA, minusB] = [made(a, 'neg'), made(b, 'neg')];
  if (minusA && minusB) return div(minusA.inputs[0]!, minusB.inputs[0]!);
  if (minusA && whole(a!, y!) && single(a!)) return neg(div(minusA.inputs[0]!, b!));
  if (minusB && whole(b!, y!) && single(b!)) return neg(div(a!, minusB.inputs[0]!));
  return undefined;
};

const negations: Rewrite<'neg'> = ({ inputs: [x] }, _attrs, { single }) => {
  const twice = made(x, 'neg');
  if (twice) return twice.inputs[0]!;
  const difference = made(x, 'sub');
  if (difference && single(x!)) return sub(difference.inputs[1]!, difference.inputs[0]!);
  const inner = scaled(x);
  return inner && single(x!) ? mul(inner[0], -inner[1]) : undefined;
};

const powers: Rewrite<'pow'> = ({ inputs: [x, exponent], outputs: [y] }) => {
  const p = numberOf(exponent!);
  if (p === 0) return expand(constant(1, x!.dtype), y!.shape);
  if (p === 1) return expand(x!, y!.shape);
  if (p === 2) return expand(mul(x!, x!), y!.shape);
  return p === -1 && isFloat(x!) ? expand(reciprocal(x!), y!.shape) : undefined;
};

const choices: Rewrite<'where'> = ({ inputs: [condition, a, b], outputs: [y] }) => {
  const known = numberOf(condition!);
  if (known !== undefined) return expand(known ? a! : b!, y!.shape);
  if (a === b) return expand(a!, y!.shape);
  const not = made(condition, 'not');
  return not && where(not.inputs[0]!, b!, a!);
};

/** A cast that is taken back, or two in a row of which the first loses nothing. */
const wider: Record<string, readonly string[]> = {
  bool: ['int32', 'int64', 'float16', 'float32', 'float64'],
  float16: ['float32', 'float64'],
  float32: ['float64'],
  int32: ['int64', 'float64'],
};
const casts: Rewrite<'cast'> = ({ inputs: [x] }, { to }) => {
  if (x!.dtype === to) return x;
  const inner = made(x, 'cast')?.inputs[0];
  return inner && wider[inner.dtype]?.includes(x!.dtype) ? cast(inner, to) : undefined;
};

const idempotent: Rewrite<'maximum' | 'minimum' | 'and' | 'or'> = ({ inputs: [a, b] }) =>
  a === b ? a : undefined;

const own: Rewrites = {
  add: [sums],
  sub: [differences],
  mul: [products],
  div: [quotients],
  neg: [negations],
  pow: [powers],
  where: [choices],
  cast: [casts],
  maximum: [idempotent],
  minimum: [idempotent],
  and: [idempotent],
  or: [idempotent],
  not: [({ inputs: [x] }) => made(x, 'not')?.inputs[0]],
};

export const arithmeticRewrites: Rewrites = Object.fromEntries(
  elementwise.map((op) => [op, [ofNumbers, ...(own[op] ?? []), withoutExpand]]),
);
