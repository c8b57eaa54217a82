import { i64 } from '../host.ts';
import { and, not, or } from '../ops/elementwise.ts';
import { gather } from '../ops/gather.ts';
import { expand, reshape } from '../ops/shape.ts';
import type { OpAttrs } from '../rule.ts';
import { constant } from '../tensor.ts';
import { type Lowering, type Lowerings, plainMatmul } from './lowering.ts';

/** FusedMatMul, which takes the flags, has a float32 kernel only. */
const fusedMatmul: Lowering<OpAttrs['matmul']> = (inputs, attrs, keep) =>
  inputs[0]!.dtype === 'float32' ? undefined : plainMatmul(inputs, attrs, keep);

/**
 * The CPU's Expand copies piece by piece, and pieces of a few numbers take four times as long as looking each of them up:
 * [..., n, 1] → [..., n, k], as in the gradient of a mean over small windows.
 */
const expandShort: Lowering<OpAttrs['expand']> = ([x], { shape }) => {
  const last = shape.length - 1;
  const [rows, columns] = [x!.shape[x!.rank - 2] ?? 1, shape[last] ?? 1];
  if (x!.rank !== shape.length || x!.shape[last] !== 1 || columns === 1 || columns >= 16 || rows === 1) {
    return undefined;
  }
  const source = i64(Array.from({ length: rows * columns }, (_, i) => Math.floor(i / columns)));
  const outer = x!.shape.slice(0, -2);
  const wide = gather(reshape(x!, [...outer, rows]), constant(source), outer.length);
  return expand(reshape(wide, [...outer, rows, columns]), shape);
};

/** What CUDA shares: there is no Where kernel for bool. */
export const cuda: Lowerings = {
  matmul: fusedMatmul,
  where: ([c, a, b]) => (a!.dtype === 'bool' ? or(and(c!, a!), and(not(c!), b!)) : undefined),
};

export const cpu: Lowerings = { ...cuda, expand: expandShort };
