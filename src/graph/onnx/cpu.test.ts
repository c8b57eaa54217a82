import { expect, test } from 'vitest';
import { input, print } from '../index.ts';
import { lower } from './lower.ts';

test('on the CPU operands have equally many axes where the last is of length 1', () => {
  const lowered = (x: number[], by: number[]) =>
    print(lower({ y: input('x', x).mul(input('by', by)) }, 'cpu'));
  expect(lowered([5, 3, 1], [])).toContain('= reshape(%1) : float32[1, 1, 1]');
  expect(lowered([3, 1], [5, 3, 1])).toContain('= reshape(%0) : float32[1, 3, 1]');
  expect(lowered([5, 3, 2], [])).not.toContain('reshape');
  expect(lowered([5, 3, 1], [2])).not.toContain('reshape');
  expect(lowered([5, 3, 1], [5, 1, 1])).not.toContain('reshape');
});
