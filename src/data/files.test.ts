import { appendFile, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dataset } from './dataset.ts';
import { imageFolder } from './folder.ts';
import { imageManifest } from './manifest.ts';
import { openData } from './open.ts';

let base: string;
let made = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'attune-data-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

let shade = 0;
/** A picture that no other is like. */
const picture = (format: 'png' | 'jpeg' | 'webp' | 'gif' = 'png') => {
  shade += 37;
  const background = { r: shade & 255, g: (shade >> 3) & 255, b: (shade >> 8) & 255 };
  return sharp({ create: { width: 6 + (shade % 5), height: 5, channels: 3, background } })
    .toFormat(format)
    .toBuffer();
};
const svg = (n: number) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="${n}" height="5"/></svg>`;

/** A folder with these files: a number makes so many pictures in that folder, a string or buffer is written as is. */
async function folder(content: Record<string, number | string | Buffer>): Promise<string> {
  const root = join(base, `case-${++made}`);
  await mkdir(root);
  for (const [name, what] of Object.entries(content)) {
    const path = join(root, name);
    await mkdir(typeof what === 'number' ? path : dirname(path), { recursive: true });
    if (typeof what !== 'number') await writeFile(path, what);
    else for (let i = 0; i < what; i++) await writeFile(join(path, `${i}.png`), await picture());
  }
  return root;
}
const ids = (data: Dataset) => data.examples.map((e) => e.id);
const counts = (data: Dataset) =>
  data.classes.map((_, i) => data.examples.filter((e) => e.label === i).length);

describe('imageFolder', () => {
  it('reads classes, formats by content, and nested folders; reports what it leaves out', async () => {
    const root = await folder({
      'guinea_pig/a.png': await picture(),
      'guinea_pig/photo.dat': await picture('jpeg'),
      'guinea_pig/deep/er/c.webp': await picture('webp'),
      'guinea_pig/notes.txt': 'hello',
      'guinea_pig/.hidden.png': 'not an image',
      'cat/wrong-name.jpg': await picture('gif'),
      'cat/drawing.svg': svg(3),
      'cat/b.png': await picture(),
      '.git/x.png': await picture(),
      'readme.md': 'x',
    });
    const { train, val, test, warnings, split } = await imageFolder(root, { minTrain: 1 });
    expect(train.classes).toEqual(['cat', 'guinea pig']);
    expect(train.sourceClasses).toEqual(['cat', 'guinea_pig']);
    expect([...ids(train), ...ids(val), ...ids(test)].sort()).toEqual([
      'cat/b.png',
      'cat/drawing.svg',
      'cat/wrong-name.jpg',
      'guinea_pig/a.png',
      'guinea_pig/deep/er/c.webp',
      'guinea_pig/photo.dat',
    ]);
    expect(warnings).toEqual(['ignored 1 files that are no images: guinea_pig/notes.txt']);
    expect(split).toBe('seeded, seed 1');
    for (const e of [...train.examples, ...test.examples]) expect((await e.image()).width).toBeGreaterThan(0);
  });

  it('splits each class by seed: disjoint, complete, 50/20/30, and small classes keep their training images', async () => {
    const root = await folder({ big: 40, small: 10, tiny: 2 });
    const data = await imageFolder(root, { minTrain: 4 });
    expect([counts(data.train), counts(data.val), counts(data.test)]).toEqual([
      [20, 5, 1],
      [8, 2, 0],
      [12, 3, 1],
    ]);
    expect(new Set([...ids(data.train), ...ids(data.val), ...ids(data.test)]).size).toBe(52);
    expect(counts((await imageFolder(root)).train)).toEqual([20, 9, 1]);
    const again = await imageFolder(root, { minTrain: 4 });
    expect(ids(again.test)).toEqual(ids(data.test));
    const other = await imageFolder(root, { minTrain: 4, seed: 2 });
    expect(ids(other.test)).not.toEqual(ids(data.test));
  });

  it.each(['val', 'valid', 'Validation'])('takes given splits, with %s', async (name) => {
    const root = await folder({
      'train/a': 3,
      'train/b': 2,
      [`${name}/a`]: 1,
      [`${name}/b`]: 1,
      'test/a': 1,
      'test/b': 2,
    });
    const data = await imageFolder(root);
    expect([counts(data.train), counts(data.val), counts(data.test)]).toEqual([
      [3, 2],
      [1, 1],
      [1, 2],
    ]);
    expect(data.split).toBe('test, train, val of the source');
  });

  it('draws missing splits from train, and tests on val where there is no test', async () => {
    const noVal = await imageFolder(
      await folder({ 'train/a': 10, 'train/b': 10, 'test/a': 1, 'test/b': 1 }),
      { minTrain: 4 },
    );
    expect([counts(noVal.train), counts(noVal.val), counts(noVal.test)]).toEqual([
      [8, 8],
      [2, 2],
      [1, 1],
    ]);
    const noTest = await imageFolder(
      await folder({ 'train/a': 10, 'train/b': 10, 'val/a': 3, 'val/b': 3, extra: 1 }),
      {
        minTrain: 4,
      },
    );
    expect([counts(noTest.val), counts(noTest.test)]).toEqual([
      [2, 2],
      [3, 3],
    ]);
    expect(ids(noTest.test).every((id) => id.startsWith('val/'))).toBe(true);
    expect(noTest.warnings).toEqual(['ignored the folder extra beside the split folders']);
  });

  it('explains what is wrong with a folder', async () => {
    await expect(imageFolder(join(base, 'nowhere'))).rejects.toThrow(
      /no folder .*nowhere: give a folder with one sub-folder/,
    );
    await expect(imageFolder(await folder({}))).rejects.toThrow(/no class folders/);
    const flat = await folder({ 'a.png': await picture(), 'b.png': await picture() });
    await expect(imageFolder(flat)).rejects.toThrow(/2 images lie directly in .*a\.png, b\.png.*sub-folder/);
    await expect(imageFolder(join(flat, 'a.png'))).rejects.toThrow(/is a file/);
    await expect(imageFolder(await folder({ a: 3 }))).rejects.toThrow(/only the class "a".*at least two/);
    await expect(imageFolder(await folder({ a: 3, b: 0 }))).rejects.toThrow(
      /no readable image in the class folder "b"/,
    );
    await expect(imageFolder(await folder({ a: 2, 'b/x.txt': 'no' }))).rejects.toThrow(/class folder "b"/);
    await expect(imageFolder(await folder({ a_b: 2, 'a b': 2 }))).rejects.toThrow(/the same name "a b"/);
    await expect(imageFolder(await folder({ a: 1, b: 1 }))).rejects.toThrow(
      /no image left to test on|at least two/,
    );
    await expect(
      imageFolder(await folder({ 'train/a': 2, 'train/b': 2, 'test/a': 1, 'test/c': 1 })),
    ).rejects.toThrow(/no training image in class "c"/);
  });

  it('names damaged images, or skips them when asked', async () => {
    const jpeg = await picture('jpeg');
    const root = await folder({
      a: 3,
      b: 3,
      'b/cut.jpg': jpeg.subarray(0, jpeg.length - 40),
      'a/text.png': 'hello',
      'a/empty.png': '',
    });
    await expect(imageFolder(root)).rejects.toThrow(/3 of 9 images[\s\S]*--on-bad-image skip[\s\S]*cut\.jpg/);
    const { train, test, val, warnings } = await imageFolder(root, { onBadImage: 'skip' });
    expect(train.examples.length + val.examples.length + test.examples.length).toBe(6);
    expect(warnings.join()).toMatch(/skipped 3 unreadable images: .*text\.png/);
    // the header alone does not show that a file is cut
    const quick = await imageFolder(root, { onBadImage: 'skip', verify: 'header' });
    expect(quick.warnings.join()).toMatch(/skipped 2/);
    const cut = [...quick.train.examples, ...quick.test.examples].find((e) => e.id === 'b/cut.jpg');
    if (cut) await expect(cut.image()).rejects.toThrow(/b\/cut\.jpg/);
    await expect(
      imageFolder(await folder({ a: 2, 'b/x.png': 'hello' }), { onBadImage: 'skip' }),
    ).rejects.toThrow(/no readable image in class "b"/);
  });

  it('finds mislabelled copies, keeps copies of one class in one split, and warns of leaks', async () => {
    const root = await folder({ a: 3, b: 3 });
    await copyFile(join(root, 'a/1.png'), join(root, 'b/copy.png'));
    await expect(imageFolder(root)).rejects.toThrow(
      /the same image is in two classes.*a\/1\.png \("a"\) and b\/copy\.png \("b"\)/,
    );

    const twins = await folder({ a: 10, b: 10 });
    for (let i = 0; i < 10; i++) await copyFile(join(twins, `a/${i}.png`), join(twins, `a/copy${i}.png`));
    for (const seed of [1, 2, 3]) {
      const data = await imageFolder(twins, { seed, minTrain: 4 });
      for (const part of [data.train, data.val, data.test]) {
        const names = ids(part).filter((id) => id.startsWith('a/'));
        const originals = names.filter((id) => !id.includes('copy'));
        expect(names.filter((id) => id.includes('copy'))).toEqual(
          originals.map((id) => id.replace('a/', 'a/copy')),
        );
      }
    }

    const leak = await folder({ 'train/a': 2, 'train/b': 2, 'test/a': 1, 'test/b': 1 });
    await copyFile(join(leak, 'train/a/0.png'), join(leak, 'test/a/same.png'));
    expect((await imageFolder(leak)).warnings.join()).toMatch(
      /same image is in test and train: test\/a\/same\.png, train\/a\/0\.png/,
    );
  });

  it('follows links and does not run in circles', async () => {
    const root = await folder({ a: 2, b: 2 });
    const outside = await folder({ c: 2 });
    await symlink(join(outside, 'c'), join(root, 'c'));
    expect((await imageFolder(root)).train.classes).toEqual(['a', 'b', 'c']);
    await symlink(root, join(root, 'a', 'self'));
    await expect(imageFolder(root)).rejects.toThrow(/nested too deeply/);
  });
});

describe('imageManifest', () => {
  it('reads CSV and JSONL with splits and domains', async () => {
    const root = await folder({ x: 3, y: 3 });
    const rows = [0, 1, 2].flatMap((i) => [
      { image: `x/${i}.png`, label: 'big_dog', split: ['train', 'train', 'test'][i], domain: 'photo' },
      { image: `y/${i}.png`, label: 'cat, small', split: ['train', 'train', 'test'][i], domain: 'sketch' },
    ]);
    await writeFile(join(root, 'm.jsonl'), rows.map((r) => JSON.stringify(r)).join('\n'));
    await writeFile(
      join(root, 'm.csv'),
      `\uFEFFpath, class,split,domain\n\n${rows.map((r) => `${r.image},"${r.label}",${r.split},${r.domain}`).join('\r\n')}\n`,
    );
    const [a, b] = await Promise.all([imageManifest(join(root, 'm.jsonl')), openData(join(root, 'm.csv'))]);
    expect(a.train.classes).toEqual(['big dog', 'cat, small']);
    expect(b.train.classes).toEqual(a.train.classes);
    expect(ids(b.train)).toEqual(ids(a.train));
    expect(counts(a.test)).toEqual([1, 1]);
    expect(a.train.examples.map((e) => e.domain)).toEqual(['photo', 'photo', 'sketch', 'sketch']);
  });

  it('names the line of every fault', async () => {
    const root = await folder({ x: 4 });
    const run = async (text: string, extension = 'csv') => {
      const file = join(root, `bad.${extension}`);
      await writeFile(file, text);
      return imageManifest(file);
    };
    await expect(run('image,label\nx/0.png,a\nx/9.png,b\n')).rejects.toThrow(/line 3: no file .*x\/9\.png/);
    await expect(run('image,label\nx/0.png,a\nx/1.png,\n')).rejects.toThrow(/line 3 has an empty label/);
    await expect(run('image,labels\nx/0.png,a\n')).rejects.toThrow(
      /line 2 has no column "label" \(did you mean "labels"\?\)/,
    );
    await expect(run('image,label,split\nx/0.png,a,tets\n')).rejects.toThrow(
      /line 2: "tets" is no split \(did you mean "test"/,
    );
    await expect(run('image,label,split\nx/0.png,a,train\nx/1.png,b,\n')).rejects.toThrow(
      /line 3 has no split, unlike line 2/,
    );
    await expect(run('image,label\nx/0.png,a\nx/0.png,b\n')).rejects.toThrow(
      /line 3 lists x\/0\.png again \(first on line 2, as "a"\)/,
    );
    await expect(run('image,label\nx/0.png,a,extra\n')).rejects.toThrow(/line 2/);
    await expect(run('')).rejects.toThrow(/no rows/);
    await expect(run('{"image":"x/0.png","label":"a"}\n{oops\n', 'jsonl')).rejects.toThrow(
      /line 2 is not JSON/,
    );
    await expect(run('[1]\n', 'jsonl')).rejects.toThrow(/line 1 is not a JSON object/);
    await expect(imageManifest(join(root, 'none.csv'))).rejects.toThrow(/none\.csv.*ENOENT/);
    await appendFile(join(root, 'x/1.png'), 'x'.repeat(2));
    await writeFile(join(root, 'x/2.png'), 'broken');
    await expect(run('image,label\nx/0.png,a\nx/1.png,a\nx/2.png,b\nx/3.png,b')).rejects.toThrow(
      /line 4: cannot read .*x\/2\.png/,
    );
  });
});

describe('openData', () => {
  it('suggests built-in names', async () => {
    await expect(openData('icon')).rejects.toThrow(
      /no data "icon" \(did you mean "icons" or "icons-unseen"\?\)/,
    );
    await expect(openData('./missing')).rejects.toThrow(/no folder/);
  });
});
