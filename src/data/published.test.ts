import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byClass } from './dataset.ts';
import { openData } from './open.ts';
import { publishedFolder } from './published.ts';
import { baseAndNew } from './sample.ts';
import { templateFor } from './templates.ts';

let root: string;
let picture: Buffer;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-published-'));
  const create = { width: 4, height: 4, channels: 3 as const, background: '#f00' };
  picture = await sharp({ create }).png().toBuffer();
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Writes text files, and pictures where there is no text. */
async function files(folder: string, list: Record<string, unknown>): Promise<string> {
  for (const [name, content] of Object.entries(list)) {
    const file = join(root, folder, name);
    await mkdir(dirname(file), { recursive: true });
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    await writeFile(file, content === null ? picture : text);
  }
  return join(root, folder);
}

describe('split_zhou files', () => {
  const lists = {
    train: [
      ['Zinnia/1.jpg', 0, 'zinnia'],
      ['Aster/1.jpg', 1, 'aster_flower'],
      ['Rose/1.jpg', 2, 'rose'],
    ],
    val: [['Rose/2.jpg', 2, 'rose']],
    test: [
      ['Zinnia/3.jpg', 0, 'zinnia'],
      ['Aster/3.jpg', 1, 'aster_flower'],
      ['Rose/3.jpg', 2, 'rose'],
    ],
  };
  const images = Object.values(lists).flatMap((rows) => rows.map(([path]) => path as string));

  it.each([
    ['beside the file', ''],
    ['one level below', 'jpg/'],
    ['two levels below', 'caltech-101/101_ObjectCategories/'],
  ])('are read with their split and the order of their labels, images %s', async (where, below) => {
    const folder = await files(`zhou ${where.length}${below.length}`, {
      'split_zhou_OxfordFlowers.json': lists,
      ...Object.fromEntries(images.map((path) => [below + path, null])),
    });
    const data = await openData(folder);
    expect(data.train.name).toBe('OxfordFlowers');
    expect(data.train.classes).toEqual(['zinnia', 'aster flower', 'rose']);
    expect([data.train, data.val, data.test].map((d) => byClass(d).map((g) => g.length))).toEqual([
      [1, 1, 1],
      [0, 0, 1],
      [1, 1, 1],
    ]);
    expect(baseAndNew(data.test).new.classes).toEqual(['rose']);
    expect((await data.test.examples[0]!.image()).width).toBe(4);
    expect(data.train.version).toMatch(/^[0-9a-f]{16}$/);
  });

  it('are refused where they are damaged or the images are missing', async () => {
    const open = async (name: string, content: unknown) =>
      publishedFolder(await files(name, { 'split_zhou_X.json': content }));
    await expect(open('no list', { train: [] })).rejects.toThrow('has no list "val"');
    await expect(open('row', { ...lists, val: [['a.jpg', '0', 'a']] })).rejects.toThrow(
      /"val" has a row that is not \[path, label, class name\]: \["a\.jpg","0","a"\]/,
    );
    await expect(open('names', { ...lists, val: [['a.jpg', 0, 'rose']] })).rejects.toThrow(
      'label 0 is both "zinnia" and "rose"',
    );
    await expect(open('images', lists)).rejects.toThrow(/Zinnia\/1\.jpg lies neither in .*unpacked\?/);
  });
});

it('reads FGVCAircraft by its lists', async () => {
  const ids = ['001', '002', '003', '004', '005'];
  const folder = await files('fgvc_aircraft', {
    'variants.txt': '707-320\nA300 B4\n',
    'images_variant_train.txt': '001 A300 B4\n002 707-320\n',
    'images_variant_val.txt': '003 707-320\n',
    'images_variant_test.txt': '004 A300 B4\n005 707-320\n',
    ...Object.fromEntries(ids.map((id) => [`images/${id}.jpg`, null])),
  });
  const { train, val, test } = await openData(folder);
  expect(templateFor(train.name)).toContain('aircraft');
  expect(train.classes).toEqual(['707-320', 'A300 B4']);
  expect([train, val, test].map((d) => d.examples.map((e) => `${e.id} ${e.label}`))).toEqual([
    ['001.jpg 1', '002.jpg 0'],
    ['003.jpg 0'],
    ['004.jpg 1', '005.jpg 0'],
  ]);
});

describe('ImageNet', () => {
  const names = 'n02 tench\nn01 great white shark\nn03 hen\n';

  it('is tested and validated on its val, in the order of classnames.txt', async () => {
    const folder = await files('imagenet', {
      'classnames.txt': names,
      ...Object.fromEntries(
        ['train/n01/a.JPEG', 'train/n02/b.JPEG', 'train/n03/c.JPEG', 'val/n01/d.JPEG'].map((f) => [
          `images/${f}`,
          null,
        ]),
      ),
    });
    const { train, val, test } = await openData(folder);
    expect(train.classes).toEqual(['tench', 'great white shark', 'hen']);
    expect(train.examples.map((e) => e.label)).toEqual([1, 0, 2]);
    expect(test.examples.map((e) => e.id)).toEqual(['images/val/n01/d.JPEG']);
    expect(val).toEqual(test);
  });

  it.each([
    ['imagenet-a', 'imagenet-a/n03/1.jpg', 'imagenet-a/n01/2.jpg', ['great white shark', 'hen']],
    ['imagenetv2', 'val/0/1.jpg', 'val/2/2.jpg', ['tench', 'hen']],
  ])('%s has only what it can be tested on', async (folder, first, second, classes) => {
    const path = await files(folder, { 'classnames.txt': names, [first]: null, [second]: null });
    const { train, val, test } = await openData(path);
    expect([train.examples, val.examples]).toEqual([[], []]);
    expect(test.classes).toEqual(classes);
    expect(test.examples).toHaveLength(2);
  });
});
