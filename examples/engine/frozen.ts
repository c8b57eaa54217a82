import { f32, grad, input, memoryWeights, print, type Tensor, weight } from 'attune/graph';

const source = memoryWeights({ w: f32(new Float32Array(64 * 64), [64, 64]) });
const w = weight(source.get('w')!);
const [a, b, x] = [input('a', [64, 4]), input('b', [4, 64]), input('x', [8, 64])];
// LoRA: y = x·(W + A·B), of which A and B are trained.
const y: Tensor = x.matmul(w).add(x.matmul(a).matmul(b));
const [da] = grad(y.square().sum(), [a, b]);

// W is read on the way to the loss, and nothing is ever made of W's own size.
console.log(print({ da: da! }).includes('float32[64, 64]')); // → true
console.log(print({ da: da! }).match(/: float32\[64, 64\]/g)?.length); // → 1
