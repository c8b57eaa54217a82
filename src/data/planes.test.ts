import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Dataset } from './dataset.ts';
import { openData } from './open.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-planes-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function folder(name: string, files: Record<string, string | Uint8Array>): Promise<string> {
  await mkdir(join(root, name));
  for (const [file, content] of Object.entries(files)) await writeFile(join(root, name, file), content);
  return join(root, name);
}

/** The value of a pixel in all files of this test. */
const value = (row: number, column: number, channel: number, image: number) =>
  (7 * row + 3 * column + 50 * channel + image) % 256;
async function expectPixels(data: Dataset, image: number): Promise<void> {
  const pixels = await data.examples[image]!.image();
  expect([pixels.width, pixels.height]).toEqual([32, 32]);
  const wanted = Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) =>
    value(Math.floor(i / 96), Math.floor(i / 3) % 32, i % 3, image),
  );
  expect(pixels.data).toEqual(wanted);
}
/** Labels, then red, green and blue planes, row by row. */
const cifar = (...images: number[][]): Uint8Array =>
  Uint8Array.from(
    images.flatMap((labels, n) => [
      ...labels,
      ...Array.from({ length: 3072 }, (_, i) =>
        value(Math.floor(i / 32) % 32, i % 32, Math.floor(i / 1024), n),
      ),
    ]),
  );
const labels = (data: Dataset) => data.examples.map((e) => e.label);

it('CIFAR-10 in its binary version', async () => {
  const batches = [1, 2, 3, 4, 5].map((i) => [`data_batch_${i}.bin`, cifar([i % 3], [0])]);
  const dir = await folder('cifar10', {
    ...Object.fromEntries(batches),
    'test_batch.bin': cifar([2]),
    'batches.meta.txt': 'airplane\nautomobile\nbird\n\n',
  });
  const { train, val, test, split } = await openData(dir);
  expect([train.name, train.classes, split]).toEqual([
    'CIFAR-10',
    ['airplane', 'automobile', 'bird'],
    'train and test of the source',
  ]);
  expect([labels(train), labels(val), labels(test)]).toEqual([[1, 0, 2, 0, 0, 0, 1, 0, 2, 0], [], [2]]);
  expect(new Set(train.examples.map((e) => e.id)).size).toBe(10);
  await expectPixels(train, 1);
});

it('CIFAR-100 in its binary version: fine labels', async () => {
  const dir = await folder('cifar100', {
    'train.bin': cifar([1, 2], [0, 1]),
    'test.bin': cifar([0, 0]),
    'fine_label_names.txt': 'apple\naquarium_fish\nbaby\n',
  });
  const { train, test } = await openData(dir);
  expect([train.classes[1], labels(train), labels(test)]).toEqual(['aquarium fish', [2, 1], [0]]);
  await expectPixels(train, 1);
});

it('SVHN in files of MATLAB, compressed or not, written by scipy: 10 is the digit 0', async () => {
  const dir = join(root, 'svhn');
  await cp(fileURLToPath(new URL('./testdata/svhn', import.meta.url)), dir, { recursive: true });
  const { train, test } = await openData(dir);
  expect([labels(train), labels(test), train.classes.length]).toEqual([[0, 3], [7], 10]);
  await expectPixels(train, 1);
  await expectPixels(test, 0);
});

it('Tiny ImageNet: val is its test, names that two synsets share are given whole', async () => {
  const dir = join(root, 'tiny');
  const picture = await sharp({ create: { width: 4, height: 4, channels: 3, background: '#f00' } })
    .png()
    .toBuffer();
  for (const synset of ['n2', 'n1', 'n3']) {
    await mkdir(join(dir, 'train', synset, 'images'), { recursive: true });
    await writeFile(join(dir, 'train', synset, 'images', `${synset}_0.JPEG`), picture);
  }
  await mkdir(join(dir, 'val', 'images'), { recursive: true });
  await writeFile(join(dir, 'val', 'images', 'val_0.JPEG'), picture);
  await writeFile(join(dir, 'val', 'val_annotations.txt'), 'val_0.JPEG\tn1\t0\t0\t3\t3\n');
  await writeFile(join(dir, 'wnids.txt'), 'n2\nn1\nn3\n');
  await writeFile(
    join(dir, 'words.txt'),
    'n0\tunused\nn1\tcrane, bird\nn2\tgoldfish, Carassius\nn3\tcrane, machine\n',
  );
  const { train, val, test } = await openData(dir);
  expect(train.classes).toEqual(['goldfish', 'crane, bird', 'crane, machine']);
  expect([labels(train), labels(val), labels(test)]).toEqual([[1, 0, 2], [], [1]]);
});

it('what is damaged is named', async () => {
  const cut = await folder('cut', {
    'train.bin': cifar([0, 0]).subarray(0, 3000),
    'test.bin': cifar([0, 0]),
    'fine_label_names.txt': 'apple\n',
  });
  await expect(openData(cut)).rejects.toThrow(
    /train\.bin has 3000 bytes, no multiple of 3074: is it whole\?/,
  );
  const high = await folder('high', {
    'train.bin': cifar([0, 5]),
    'test.bin': cifar([0, 0]),
    'fine_label_names.txt': 'apple\n',
  });
  await expect(openData(high)).rejects.toThrow(/train\.bin: image 0 has label 5, but there are 1 classes/);
  const other = await folder('other', { 'train_32x32.mat': 'x'.repeat(200) });
  await expect(openData(other)).rejects.toThrow(/train_32x32\.mat is no MATLAB file of version 5/);
});
