import { expect, it } from 'vitest';
import type { Dataset, Pixels } from './dataset.ts';
import { imageTensor, loadImages, normalisationOf } from './image-set.ts';

const picture = (width: number, height: number, values: number[]): Pixels => ({
  width,
  height,
  data: Uint8Array.from(values),
});
const dataOf = (...images: Pixels[]): Dataset => ({
  name: 'toy',
  classes: ['a', 'b'],
  examples: images.map((image, i) => ({ id: `${i}`, label: i % 2, image: async () => image })),
});
const grey = picture(2, 1, [10, 10, 10, 200, 200, 200]);
const red = picture(2, 1, [255, 0, 51, 0, 0, 51]);

it('grey images have one channel, coloured ones three, planes after each other', async () => {
  const one = await loadImages(dataOf(grey, grey));
  expect([one.shape, [...one.labels], one.ids]).toEqual([
    [1, 1, 2],
    [0, 1],
    ['0', '1'],
  ]);
  const three = await loadImages(dataOf(grey, red));
  const plain = { mean: [0, 0, 0], std: [1, 1, 1] };
  const tensor = imageTensor(three, plain, [1]);
  expect(tensor.shape).toEqual([1, 3, 1, 2]);
  expect([...tensor.data].map((v) => Math.round(v * 255))).toEqual([255, 0, 0, 0, 51, 51]);
  expect((await loadImages(dataOf(grey), { like: three })).shape).toEqual([3, 1, 2]);
});

it('normalised by their own statistics they have mean 0 and deviation 1; a flat channel stays finite', async () => {
  const set = await loadImages(dataOf(grey, red));
  const normal = normalisationOf(set);
  const { data } = imageTensor(set, normal, [0, 1]);
  for (const c of [0, 1]) {
    const values = [0, 1].flatMap((n) => [...data.subarray((n * 3 + c) * 2, (n * 3 + c) * 2 + 2)]);
    expect(values.reduce((a, b) => a + b)).toBeCloseTo(0, 5);
    expect(values.reduce((a, b) => a + b * b, 0)).toBeCloseTo(4, 4);
  }
  const flat = await loadImages(dataOf(picture(1, 1, [7, 7, 7])));
  expect([...imageTensor(flat, normalisationOf(flat), [0]).data]).toEqual([0]);
});

it('images are changed by position and resized on request, and sizes that differ are named', async () => {
  const set = await loadImages(dataOf(grey, red), { size: 1 });
  expect(set.shape).toEqual([3, 1, 1]);
  const two = await loadImages(dataOf(grey, grey));
  const plain = { mean: [0], std: [1 / 255] };
  const changed = imageTensor(two, plain, [0, 1], (image, i) => ({
    ...image,
    data: image.data.map((v) => v + i),
  }));
  expect([...changed.data].map(Math.round)).toEqual([10, 200, 11, 201]);
  await expect(loadImages(dataOf(grey, picture(1, 1, [0, 0, 0])))).rejects.toThrow(
    'toy: 1 is 1×1, not 2×1 as the first: give a size',
  );
});
