import { f32, grad, hvp, input } from 'attune/graph';
import { runOnce } from 'attune/runtime';

const x = input('x', [3]);
const loss = x.pow(3).sum();
const [slope] = grad(loss, [x]); // 3x²
const [curvature] = grad(slope!.sum(), [x]); // 6x: a gradient is a tensor like any other
const v = input('v', [3]);
const [product] = hvp(loss, [x], [v]); // the Hessian times v, without the Hessian

const out = await runOnce(
  { slope: slope!, curvature: curvature!, product: product! },
  { x: f32([1, 2, 3]), v: f32([1, 0, -1]) },
);
console.log(...out.slope.data); // → 3 12 27
console.log(...out.curvature.data); // → 6 12 18
console.log(...out.product.data); // → 6 0 -18
