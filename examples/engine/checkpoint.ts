import { checkpoint, f32, grad, input, type Tensor, tanh } from 'attune/graph';
import { runOnce } from 'attune/runtime';

const x = input('x', [2]);
const deep = (block: (x: Tensor) => Tensor) => [1, 2, 3].reduce((y) => block(y), x).sum();
const block = (y: Tensor) => tanh(y.mul(2)).add(y);

// Same numbers; the tanh of each block is computed again in the backward pass and not kept until then.
const [kept] = grad(deep(block), [x]);
const [again] = grad(deep(checkpoint(block)), [x]);
const out = await runOnce({ kept: kept!, again: again! }, { x: f32([0.1, -0.2]) });
console.log(out.kept.data.every((v, i) => v === out.again.data[i])); // → true
