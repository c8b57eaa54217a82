import { expect, test } from 'vitest';
import { philox, Random } from './random.ts';

test('Philox 4x32-10 gives the known answers of Random123', () => {
  const out = new Uint32Array(4);
  philox(out, 0, 0, 0, 0, 0, 0);
  expect([...out]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  philox(out, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff);
  expect([...out]).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  philox(out, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0);
  expect([...out]).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
});

test('a stream is a pure function of its names, and streams differ', () => {
  const draw = (...names: (number | string)[]) => {
    const r = new Random(7, ...names);
    return Array.from({ length: 5 }, () => r.next());
  };
  expect(draw('a', 1)).toEqual(draw('a', 1));
  expect(draw('a', 1)).not.toEqual(draw('a', 2));
  expect(draw('1')).not.toEqual(draw(1));
});

test('uniform, normal and permutation have the right moments and range', () => {
  const r = new Random(1);
  const n = 50_000;
  const u = r.fill(n, (g) => g.next());
  const z = r.fill(n, (g) => g.normal());
  const mean = (xs: Float32Array) => xs.reduce((a, b) => a + b, 0) / n;
  expect(mean(u)).toBeCloseTo(0.5, 2);
  expect(Math.min(...u)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...u)).toBeLessThanOrEqual(1);
  expect(Math.abs(mean(z))).toBeLessThan(0.02);
  expect(mean(z.map((x) => x * x))).toBeCloseTo(1, 1);
  expect([...r.permutation(100)].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
});
