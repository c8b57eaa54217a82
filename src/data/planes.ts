/** Published data sets whose images lie one after the other in large files: CIFAR and SVHN. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset, Example, Pixels } from './dataset.ts';
import type { DataSplits } from './files.ts';
import { readMat } from './mat.ts';

/** All images of CIFAR and SVHN are of 32×32. */
const edge = 32;

/** The images of one file: labels, and where the value of a pixel's channel lies. */
interface Part {
  readonly file: string;
  readonly labels: ArrayLike<number>;
  readonly values: Uint8Array;
  at(image: number, y: number, x: number, channel: number): number;
}

function examplesOf({ file, labels, values, at }: Part): Example[] {
  const decode = (i: number): Pixels => {
    const data = new Uint8Array(edge * edge * 3);
    let next = 0;
    for (let y = 0; y < edge; y++) {
      for (let x = 0; x < edge; x++) {
        for (let c = 0; c < 3; c++) data[next++] = values[at(i, y, x, c)]!;
      }
    }
    return { data, width: edge, height: edge };
  };
  return Array.from(labels, (label, i) => ({
    id: `${file}/${String(i).padStart(6, '0')}`,
    label,
    image: async () => decode(i),
  }));
}

async function splits(
  root: string,
  name: string,
  classes: readonly string[],
  read: (file: string) => Promise<Part>,
  files: { readonly train: readonly string[]; readonly test: string },
): Promise<DataSplits> {
  let version = '';
  const part = async (names: readonly string[]): Promise<Dataset> => {
    const examples: Example[] = [];
    for (const file of names) {
      const { size, mtimeMs } = await stat(join(root, file));
      version += `${size} ${mtimeMs} `;
      const found = await read(file);
      for (let i = 0; i < found.labels.length; i++) {
        const label = found.labels[i]!;
        if (!(label < classes.length))
          throw new Error(
            `${join(root, file)}: image ${i} has label ${label}, but there are ${classes.length} classes`,
          );
      }
      examples.push(...examplesOf(found));
    }
    return { name, classes, examples };
  };
  const [train, test] = [await part(files.train), await part([files.test])];
  const data = { train, val: { ...train, examples: [] }, test };
  const versioned = Object.entries(data).map(([key, set]) => [key, { ...set, version }]);
  return { ...Object.fromEntries(versioned), split: 'train and test of the source', warnings: [] };
}

/** `labels` bytes and then three planes of 32×32 for each image. */
async function readCifar(root: string, file: string, labels: number): Promise<Part> {
  const bytes = await readFile(join(root, file));
  const row = labels + 3 * edge * edge;
  if (bytes.length % row !== 0 || bytes.length === 0) {
    throw new Error(`${join(root, file)} has ${bytes.length} bytes, no multiple of ${row}: is it whole?`);
  }
  const count = bytes.length / row;
  return {
    file,
    // CIFAR-100 has the coarse label first.
    labels: Array.from({ length: count }, (_, i) => bytes[i * row + labels - 1]!),
    values: bytes,
    at: (i, y, x, c) => i * row + labels + (c * edge + y) * edge + x,
  };
}

async function readSvhn(root: string, file: string): Promise<Part> {
  const path = join(root, file);
  const arrays = await readMat(path);
  const [x, y] = [arrays.X, arrays.y];
  const count = x?.shape[3] ?? 1;
  const fits = x?.data instanceof Uint8Array && String(x.shape.slice(0, 3)) === String([edge, edge, 3]);
  if (!fits || y?.data.length !== count) {
    throw new Error(
      `${path}: expected X [32, 32, 3, N] of bytes and y [N], not X [${x?.shape}] and y [${y?.shape}]`,
    );
  }
  return {
    file,
    // The digit 0 is labelled 10.
    labels: Array.from(y.data, (label) => label % 10),
    values: x.data,
    // MATLAB's first axis varies fastest.
    at: (i, y, x, c) => ((i * 3 + c) * edge + x) * edge + y,
  };
}

const namesIn = async (file: string): Promise<string[]> =>
  (await readFile(file, 'utf8')).split('\n').flatMap((line) => line.trim().replaceAll('_', ' ') || []);

/**
 * Reads a folder of CIFAR-10 or CIFAR-100 ("binary version") or of SVHN ("cropped digits", `train_32x32.mat`);
 * undefined where it holds none. None of them has validation images.
 * @throws where a file is missing, cut off or of another kind.
 */
export async function planesFolder(root: string, files: readonly string[]): Promise<DataSplits | undefined> {
  if (files.includes('data_batch_1.bin')) {
    const train = [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`);
    const classes = await namesIn(join(root, 'batches.meta.txt'));
    return splits(root, 'CIFAR-10', classes, (file) => readCifar(root, file, 1), {
      train,
      test: 'test_batch.bin',
    });
  }
  if (files.includes('fine_label_names.txt')) {
    const classes = await namesIn(join(root, 'fine_label_names.txt'));
    const from = { train: ['train.bin'], test: 'test.bin' };
    return splits(root, 'CIFAR-100', classes, (file) => readCifar(root, file, 2), from);
  }
  if (files.includes('train_32x32.mat')) {
    const classes = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
    const from = { train: ['train_32x32.mat'], test: 'test_32x32.mat' };
    return splits(root, 'SVHN', classes, (file) => readSvhn(root, file), from);
  }
}
