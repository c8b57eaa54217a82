import { i64 } from '../host.ts';
import { add, and, not, or } from '../ops/elementwise.ts';
import { gather } from '../ops/gather.ts';
import { expand, reshape } from '../ops/shape.ts';
import { suitsWinograd, winograd } from '../ops/winograd.ts';
import type { OpAttrs, OpName } from '../rule.ts';
import { constant, type Tensor } from '../tensor.ts';
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

/**
 * Where an operand has fewer axes than the other, whose last is of length 1, the CPU broadcasts number by number, fifty times
 * slower than in whole rows: [n, 1] by [], as in the gradient of a mean of pairs. So it gets leading axes of length 1.
 */
const fullRank =
  <N extends OpName>(op: N): Lowering<OpAttrs[N]> =>
  (inputs, attrs, keep) => {
    const rank = Math.max(...inputs.map((t) => t.rank));
    const short = (t: Tensor) => t.rank < rank;
    if (rank === 0 || !inputs.some(short) || inputs.some((t) => t.rank > 0 && t.shape.at(-1) !== 1)) {
      return undefined;
    }
    const full = (t: Tensor) => reshape(t, [...Array<number>(rank - t.rank).fill(1), ...t.shape]);
    return keep(
      op,
      inputs.map((t) => (short(t) ? full(t) : t)),
      attrs,
    );
  };

/** Where a kernel is trained; of a frozen one ONNX Runtime has the layout that its own convolution likes. */
const winogradForward: Lowering<OpAttrs['conv']> = ([x, w, bias], attrs) => {
  if (isFrozen(w!) || x!.dtype !== 'float32' || !suitsWinograd(x!, w!.shape, attrs)) return undefined;
  const y = winograd(x!, w!);
  return bias ? add(y, reshape(bias, [bias.size, 1, 1])) : y;
};
const isFrozen = ({ node }: Tensor): boolean =>
  node.op === 'weight' || node.op === 'constant' || (node.op === 'cast' && isFrozen(node.inputs[0]!));

/** What CUDA shares: there is no Where kernel for bool. */
export const cuda: Lowerings = {
  matmul: fusedMatmul,
  where: ([c, a, b]) => (a!.dtype === 'bool' ? or(and(c!, a!), and(not(c!), b!)) : undefined),
};

export const cpu: Lowerings = {
  ...cuda,
  conv: winogradForward,
  expand: expandShort,
  add: fullRank('add'),
  sub: fullRank('sub'),
  mul: fullRank('mul'),
  div: fullRank('div'),
  pow: fullRank('pow'),
  maximum: fullRank('maximum'),
  minimum: fullRank('minimum'),
  equal: fullRank('equal'),
  less: fullRank('less'),
  lessEqual: fullRank('lessEqual'),
};
