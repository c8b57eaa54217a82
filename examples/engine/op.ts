import { customGradient, f32, grad, input, round, straightThrough, type Tensor } from 'attune/graph';
import { runOnce } from 'attune/runtime';

// Most new ops are a function of old ones: shapes, gradients of every order and every device come for free.
const smoothStep = (x: Tensor): Tensor => x.square().mul(x.mul(-2).add(3));

// The value of one expression with the gradient of another, and a gradient written by hand.
const quantise = (x: Tensor, step: number): Tensor => straightThrough(round(x.div(step)).mul(step), x);
const reverseGradient = (x: Tensor): Tensor => customGradient(x, [x], (g) => [g.neg()]);

const x = input('x', [2]);
const out = await runOnce(
  {
    smooth: smoothStep(x),
    slope: grad(smoothStep(x).sum(), [x])[0]!,
    quantised: quantise(x, 0.25),
    through: grad(quantise(x, 0.25).sum(), [x])[0]!,
    reversed: grad(reverseGradient(x).sum(), [x])[0]!,
  },
  { x: f32([0.5, 0.9]) },
);
console.log(out.smooth.data[0], out.slope.data[0]); // → 0.5 1.5
console.log(...out.quantised.data); // → 0.5 1
console.log(...out.through.data, ...out.reversed.data); // → 1 1 -1 -1
