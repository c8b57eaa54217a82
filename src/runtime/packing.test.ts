import { expect, test } from 'vitest';
import { f32, input } from '../graph/index.ts';
import { packOutputs } from './packing.ts';
import { runOnce } from './program.ts';

const x = input('x', [3]);
const large = 2 ** 20 + 1;
const outputs = {
  row: x.reshape([1, 3]).mul(2),
  ids: x.cast('int64'),
  large: x.sum().add(0).expand([large]),
  none: x.slice(0, 0, 0),
  sum: x.sum(),
};

test('on a GPU small float32 results are read back as one, and become what was asked for', async () => {
  const packing = packOutputs(outputs, 'webgpu');
  expect(Object.keys(packing.outputs)).toEqual(['ids', 'large', 'none', 'attune/packed/0']);
  expect(packing.outputs['attune/packed/0']!.shape).toEqual([4]);
  const results = await runOnce(packing.outputs, { x: f32([1, 2, 3]) });
  const arrays = packing.unpack(
    Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data])),
  );
  expect(arrays.row).toEqual(Float32Array.of(2, 4, 6));
  expect(arrays.sum).toEqual(Float32Array.of(6));
  expect(arrays.ids).toEqual(BigInt64Array.of(1n, 2n, 3n));
  expect(arrays.large!.length).toBe(large);
  expect(arrays.none!.length).toBe(0);
});

test('a joined result stays within what browsers allow in one buffer', () => {
  const megabyte = x.sum().expand([2 ** 18]);
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`y${i}`, megabyte]));
  const sizes = Object.values(packOutputs(many, 'webgpu').outputs).map((t) => t.size / 2 ** 18);
  expect(sizes).toEqual([64, 36]);
});

test('on the CPU results lie in memory: nothing is joined', () => {
  expect(packOutputs(outputs, 'cpu').outputs).toBe(outputs);
});
