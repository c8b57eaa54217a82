import { f32, input, l2Normalize, type Tensor } from 'attune/graph';
import { compile, jit } from 'attune/runtime';

// A program: named inputs and outputs of fixed shapes. Compile once, run often, release when done.
const [a, b] = [input('a', [2]), input('b', [2])];
const program = await compile({ sum: a.add(b), dot: a.mul(b).sum() });
const { sum, dot } = await program.run({ a: f32([1, 2]), b: f32([3, 4]) });
console.log(...sum.data, dot.data[0]); // → 4 6 11
await program.release();

// A function: traced and compiled at the first call with new shapes, kept for the next.
const cosine = jit((u: Tensor, v: Tensor) => l2Normalize(u).mul(l2Normalize(v)).sum());
console.log((await cosine(f32([1, 0]), f32([1, 0]))).data[0]); // → 1
console.log((await cosine(f32([1, 0, 0]), f32([0, 1, 0]))).data[0]); // → 0
console.log(cosine.size); // → 2
await cosine.release();
