import type { Shape } from '../host.ts';
import type { OpName, TensorType } from '../rule.ts';
import type { Tensor } from '../tensor.ts';
import { callSite } from './call-site.ts';

export const show = (t: TensorType): string => `${t.dtype}[${t.shape.join(', ')}]`;

/** An error about an op's operands or attributes: names the op, what it got, and the line that called it. */
export function opError(op: string, problem: string, inputs: readonly TensorType[] = []): Error {
  const got = inputs.length ? ` (got ${inputs.map(show).join(' and ')})` : '';
  return new Error(`${op}: ${problem}${got}${callSite()}`);
}

/** The axis counted from 0; throws when it is outside [-rank, rank). */
export function normalizeAxis(axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(a) || a < 0 || a >= rank) {
    throw new Error(`Axis ${axis} is outside a tensor of rank ${rank}${callSite()}`);
  }
  return a;
}

/** `normalizeAxis` for an op's operand. */
export function axisOf(op: string, axis: number, x: TensorType, rank = x.shape.length): number {
  const a = axis < 0 ? axis + rank : axis;
  if (Number.isInteger(a) && a >= 0 && a < rank) return a;
  throw opError(op, `axis ${axis} is outside rank ${rank}`, [x]);
}

/** NumPy broadcasting of two shapes, or undefined where they do not fit. */
export function broadcastShapes(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const out: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    out.push(x === 1 ? y : x);
  }
  return out;
}

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i]);

export const isFloat = (t: TensorType): boolean =>
  t.dtype === 'float32' || t.dtype === 'float64' || t.dtype === 'float16';

/** Requires bools, or anything but bools. */
export function requireBool(op: OpName, inputs: readonly Tensor[], bool: boolean): void {
  if (inputs.every((t) => (t.dtype === 'bool') === bool)) return;
  throw opError(op, bool ? 'needs bools' : 'needs numbers; cast the bools first', inputs);
}

/** Requires float inputs, for ops that have no integer meaning. */
export function requireFloat(op: OpName, inputs: readonly Tensor[]): void {
  if (!inputs.every(isFloat)) throw opError(op, 'needs floating-point operands; cast them first', inputs);
}
