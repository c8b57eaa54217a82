import { f32, input } from 'attune/graph';
import { compile } from 'attune/runtime';

const x = input('x', [512, 512]);
const program = await compile({ y: x.matmul(x).matmul(x).sum() }, { worker: true });
let ticks = 0;
const timer = setInterval(() => ticks++, 1);
const feeds = { x: f32(new Float32Array(512 * 512).fill(1 / 512), [512, 512]) };
for (let i = 0; i < 10; i++) await program.run(feeds);
clearInterval(timer);
console.log(ticks > 0); // → true

const stop = AbortSignal.abort(new Error('no longer wanted'));
await program.run(feeds, { signal: stop }).catch((error) => console.log(error.message)); // → no longer wanted
await program.release();
