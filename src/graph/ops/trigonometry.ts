import type { Rules } from '../rule.ts';
import { apply, type Operand, type Tensor } from '../tensor.ts';
import {
  add,
  and,
  div,
  equal,
  less,
  mul,
  neg,
  not,
  operands,
  sqrt,
  sub,
  unary,
  where,
} from './elementwise.ts';

type Trigonometric =
  | 'sin'
  | 'cos'
  | 'tan'
  | 'asin'
  | 'acos'
  | 'atan'
  | 'sinh'
  | 'cosh'
  | 'asinh'
  | 'acosh'
  | 'atanh';

const square = (x: Tensor) => mul(x, x);

export const trigonometryRules: Rules<Trigonometric> = {
  sin: unary('sin', 'Sin', (g, x) => mul(g, cos(x))),
  cos: unary('cos', 'Cos', (g, x) => neg(mul(g, sin(x)))),
  tan: unary('tan', 'Tan', (g, _x, y) => mul(g, add(square(y), 1))),
  asin: unary('asin', 'Asin', (g, x) => div(g, sqrt(sub(1, square(x))))),
  acos: unary('acos', 'Acos', (g, x) => neg(div(g, sqrt(sub(1, square(x)))))),
  atan: unary('atan', 'Atan', (g, x) => div(g, add(square(x), 1))),
  sinh: unary('sinh', 'Sinh', (g, x) => mul(g, cosh(x))),
  cosh: unary('cosh', 'Cosh', (g, x) => mul(g, sinh(x))),
  asinh: unary('asinh', 'Asinh', (g, x) => div(g, sqrt(add(square(x), 1)))),
  acosh: unary('acosh', 'Acosh', (g, x) => div(g, sqrt(sub(square(x), 1)))),
  atanh: unary('atanh', 'Atanh', (g, x) => div(g, sub(1, square(x)))),
};

export const sin = (x: Tensor): Tensor => apply('sin', [x], {});
export const cos = (x: Tensor): Tensor => apply('cos', [x], {});
export const tan = (x: Tensor): Tensor => apply('tan', [x], {});
export const asin = (x: Tensor): Tensor => apply('asin', [x], {});
export const acos = (x: Tensor): Tensor => apply('acos', [x], {});
export const atan = (x: Tensor): Tensor => apply('atan', [x], {});
export const sinh = (x: Tensor): Tensor => apply('sinh', [x], {});
export const cosh = (x: Tensor): Tensor => apply('cosh', [x], {});
export const asinh = (x: Tensor): Tensor => apply('asinh', [x], {});
export const acosh = (x: Tensor): Tensor => apply('acosh', [x], {});
export const atanh = (x: Tensor): Tensor => apply('atanh', [x], {});

/** The angle of the point (x, y) in (−π, π]; at the origin 0 with no gradient. */
export function atan2(y: Operand, x: Operand): Tensor {
  const [v, u] = operands(y, x);
  const origin = and(equal(v, 0), equal(u, 0));
  // The half angle, from whichever side does not cancel: y / (r + x) or (r − x) / y.
  const r = sqrt(where(origin, 1, add(mul(u, u), mul(v, v))));
  const left = less(u, 0);
  const axis = and(left, equal(v, 0));
  const right = div(v, where(left, 1, add(r, u)));
  const far = div(sub(r, where(left, u, 0)), where(and(left, not(axis)), v, 1));
  return where(
    origin,
    0,
    where(axis, add(div(v, where(axis, u, 1)), Math.PI), mul(atan(where(left, far, right)), 2)),
  );
}
