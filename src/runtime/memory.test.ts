import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { grad, input, type Tensor, tanh, zeros } from '../graph/index.ts';
import { compile } from './program.ts';

const peakOf = async (outputs: Record<string, Tensor>) => {
  const program = await compile(outputs);
  await program.release();
  return program.memory;
};

test('counts what lives at one time: chains write in place, views are free, gradients need the values before', async () => {
  const x = input('x', [1000]);
  const bytes = 4000;
  expect(await peakOf({ y: tanh(x.exp()).sqrt().reshape([10, 100]) })).toEqual({
    weights: expect.any(Number),
    inputs: bytes,
    outputs: bytes,
    peak: bytes,
  });
  // exp(x) is kept for y.
  expect((await peakOf({ y: x.exp().mul(tanh(x.exp())) })).peak).toBe(2 * bytes);
  // A transpose cannot write in place.
  expect((await peakOf({ y: input('m', [10, 100]).exp().transpose() })).peak).toBe(2 * bytes);
  expect((await peakOf({ itself: x, again: x })).peak).toBe(2 * bytes);
});

test('of many losses one does not keep what the gradients of all need', async () => {
  const rows = 10;
  const w = input('w', [rows, 1000]);
  const losses = Array.from({ length: rows }, (_, i) => {
    let y = w.slice(0, i, i + 1);
    for (let j = 0; j < 6; j++) y = tanh(y).mul(1.1);
    return y.square().sum();
  });
  const loss = losses.reduce((a, b) => a.add(b));
  // What all six layers of all losses would take.
  const all = rows * 6 * 4000;
  expect((await peakOf({ loss, slope: grad(loss, [w])[0]! })).peak).toBeLessThan(0.6 * all);
});

test.skipIf(process.platform !== 'linux')('the peak is what ONNX Runtime takes, within a third', async () => {
  const size = 1 << 20;
  const x = input('x', [size]);
  let y = x;
  for (let i = 0; i < 12; i++) y = tanh(y).mul(1.1);
  const steepest = grad(y.square().mean(), [x])[0]!.max();
  const program = await compile({ steepest }, { threads: 1 });
  const feeds = { x: zeros([size]) };
  const megabytes = (key: string) =>
    Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;
  // Makes the high-water mark what is resident now.
  writeFileSync('/proc/self/clear_refs', '5');
  const before = megabytes('VmRSS');
  for (let run = 0; run < 3; run++) await program.run(feeds);
  const measured = megabytes('VmHWM') - before;
  const planned = program.memory.peak / 2 ** 20;
  // Twelve results of tanh are kept, of 4 MB each.
  expect(planned).toBeGreaterThan(48);
  expect(measured).toBeGreaterThan((planned * 2) / 3);
  expect(measured).toBeLessThan((planned * 4) / 3);
  await program.release();
});

test('what is released is given back: 300 programs kept would be some 60 MB', async () => {
  const compileMany = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const shape = [8 + (i % 5), 8] as const;
      let y = input('x', shape);
      for (let j = 0; j < 10; j++) y = y.mul(1 + i * 1e-3 + j).exp();
      const program = await compile({ y }, { threads: 1 });
      await program.run({ x: zeros(shape) });
      await program.release();
    }
  };
  await compileMany(100);
  const before = process.memoryUsage.rss();
  await compileMany(300);
  expect((process.memoryUsage.rss() - before) / 2 ** 20).toBeLessThan(25);
});
