import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test, vi } from 'vitest';
import {
  f32,
  gather,
  type HostTensor,
  i64,
  input,
  type Tensor,
  toFloat16,
  weight,
} from '../../graph/index.ts';
import { compile } from '../index.ts';
import type { Remote } from './start.ts';

let worker: Remote;
vi.mock('./start.ts', async (original) => {
  const { startWorker } = await original<typeof import('./start.ts')>();
  return {
    async startWorker(ended: (how: string) => void) {
      worker = await startWorker(ended);
      return worker;
    },
  };
});

const side = 512;
const square = f32(new Float32Array(side * side), [side, side]);
/** Some tenths of a second. */
function longRun(): Record<'y', Tensor> {
  const x = input('x', [side, side]);
  let y = x;
  for (let i = 0; i < 60; i++) y = y.matmul(x);
  return { y };
}

test('the event loop stays free during a run', async () => {
  const program = await compile(longRun(), { worker: true, threads: 1 });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const started = performance.now();
  await program.run({ x: square });
  clearInterval(timer);
  const ms = performance.now() - started;
  expect(ms).toBeGreaterThan(30);
  expect(ticks).toBeGreaterThan(10);
  await program.release();
});

test('values, kinds and feeds are as without a worker', async () => {
  const outputs = {
    itself: input('x', [2, 2]),
    half: input('h', [2]).cast('float16'),
    ids: input('i', [2], 'int64'),
    large: input('b', [2], 'bool'),
    none: input('e', [0, 2]).mul(2),
    sum: input('x', [2, 2]).add(input('x', [2, 2])),
  };
  const whole = Float32Array.of(9, 1, 2, 3, 4, 9);
  const feeds: Record<string, HostTensor> = {
    x: f32(whole.subarray(1, 5), [2, 2]),
    h: f32([0.5, 1]),
    i: i64([1, -2]),
    b: { dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) },
    e: f32([], [0, 2]),
  };
  const [here, there] = await Promise.all([compile(outputs), compile(outputs, { worker: true })]);
  const want = await here.run(feeds);
  expect(await there.run(feeds)).toEqual(want);
  expect(await there.run(feeds)).toEqual(want);
  expect([...whole]).toEqual([9, 1, 2, 3, 4, 9]);
  expect(want.half).toEqual(toFloat16(f32([0.5, 1])));
  await Promise.all([here.release(), there.release()]);
});

test('errors of loading and running name the program', async () => {
  const file = { path: '/nowhere', offset: 0, length: 4 };
  const load = () => Promise.reject(new Error('unread'));
  const gone = weight({ name: 'w', dtype: 'float32', shape: [1], file, load });
  await expect(compile({ y: gone }, { worker: true, name: 'tower' })).rejects.toThrow(
    /^tower cannot be loaded: .*nowhere/s,
  );
  const program = await compile(
    { y: gather(input('table', [2, 2]), input('ids', [1], 'int64')) },
    { name: 'lookup', worker: true },
  );
  const table = f32([1, 2, 3, 4], [2, 2]);
  await expect(program.run({ table, ids: i64([7]) })).rejects.toThrow(/^lookup: .*idx=7 must be within/s);
  expect([...(await program.run({ table, ids: i64([1]) })).y.data]).toEqual([3, 4]);
  await program.release();
  await expect(program.run({ table, ids: i64([1]) })).rejects.toThrow('lookup: the program was released');
});

test('a run under way is given up at once; the next one follows it', async () => {
  const program = await compile(longRun(), { worker: true, threads: 1 });
  await program.run({ x: square });
  const stop = new AbortController();
  let started = performance.now();
  await program.run({ x: square });
  const whole = performance.now() - started;
  started = performance.now();
  const run = program.run({ x: square }, { signal: stop.signal });
  setTimeout(() => stop.abort(), whole / 10);
  await expect(run).rejects.toThrow('aborted');
  expect(performance.now() - started).toBeLessThan(whole);
  expect((await program.run({ x: square })).y.shape).toEqual([side, side]);
  await program.release();
});

test('a worker that ends is an error of every program in it; a new program gets a new worker', async () => {
  const doubling = { y: input('x', [1]).mul(2) };
  const program = await compile(doubling, { worker: true, name: 'lost' });
  worker.stop();
  const ended = 'lost: the worker exited with code 1; compile the program anew';
  await expect(program.run({ x: f32([1]) })).rejects.toThrow(ended);
  await expect(program.run({ x: f32([1]) })).rejects.toThrow(ended);
  await program.release();
  const again = await compile(doubling, { worker: true });
  expect((await again.run({ x: f32([4]) })).y.data[0]).toBe(8);
  await again.release();
});

/** How a process ends that runs `then` with a long program in a worker. */
async function processThat(then: string): Promise<[code: number, text: string]> {
  const script = `
    import { f32, input } from './src/graph/index.ts';
    import { compile } from './src/runtime/index.ts';
    let y = input('x', [${side}, ${side}]);
    for (let i = 0; i < 60; i++) y = y.matmul(input('x', [${side}, ${side}]));
    const x = f32(new Float32Array(${side * side}), [${side}, ${side}]);
    compile({ y }, { worker: true, threads: 1 }).then((program) => { ${then} });
  `;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script]);
  const text: string[] = [];
  child.stdout.on('data', (data) => text.push(String(data)));
  child.stderr.on('data', (data) => text.push(String(data)));
  const [code] = await once(child, 'close');
  return [code, text.join('')];
}

test('a process waits for its runs, and ends though the program was never released', async () => {
  expect(await processThat('program.run({ x }).then(({ y }) => console.log(y.shape.join()));')).toEqual([
    0,
    `${side},${side}\n`,
  ]);
});

test('process.exit during a run ends the process cleanly', async () => {
  const during = 'program.run({ x }); program.run({ x }); setTimeout(() => process.exit(3), 20);';
  expect(await processThat(during)).toEqual([3, '']);
});
