import { expect, test } from 'vitest';
import { encodeOnnx, f32, input, memoryWeights, weight, zeros } from '../graph/index.ts';
import { worthPrepacking } from './prepacking.ts';

const product = async (rows: number, width: number, frozen = true) => {
  const w = memoryWeights({ w: { ...zeros([0]), shape: [width, width] } }).get('w')!;
  const matrix = frozen ? weight({ ...w, load: async () => f32([]) }) : input('w', [width, width]);
  return worthPrepacking((await encodeOnnx({ y: input('x', [2, rows / 2, width]).matmul(matrix) })).nodes);
};

test('large matrices are kept as they are where many rows are multiplied with them', async () => {
  expect(await product(512, 4096)).toBe(false);
  expect(await product(64, 4096)).toBe(true);
  expect(await product(512, 1024)).toBe(true);
  expect(await product(512, 4096, false)).toBe(true);
});
