/** Published data sets in the folders in which CoOp and its successors (KaiyangZhou/CoOp, DATASETS.md) or their authors keep them. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import {
  assemble,
  byCode,
  type DataSplits,
  type FileOptions,
  type LabelledFile,
  type SplitName,
} from './files.ts';
import { planesFolder } from './planes.ts';

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
const lines = async (file: string): Promise<string[]> =>
  (await readFile(file, 'utf8')).split('\n').flatMap((line) => line.trim() || []);

/**
 * Reads a folder that holds one of these, with the split, class names and class order of the file; undefined where it
 * holds none.
 * - `split_zhou_NAME.json` and the images, in the folder or up to two levels below (Caltech101, OxfordPets,
 *   StanfordCars, Flowers102, Food101, SUN397, DTD, EuroSAT, UCF101).
 * - `variants.txt`, `images_variant_{train,val,test}.txt` and `images/` (FGVCAircraft).
 * - `classnames.txt` of ImageNet, with `images/train` and `images/val` (whose images are val and test), or with one
 *   folder of test images by synset or class number (ImageNetV2, -Sketch, -A, -R), which has nothing to train on.
 * - `wnids.txt` of Tiny ImageNet, with `train/SYNSET/images` and `val`, whose images are its test images.
 * - CIFAR and SVHN (`planesFolder`).
 * @throws where the listed images are not there or a list is damaged.
 */
export async function publishedFolder(
  path: string,
  options: FileOptions = {},
): Promise<DataSplits | undefined> {
  const root = resolve(path);
  const files = await readdir(root).catch(() => [] as string[]);
  const split = files.find((f) => /^split_zhou_.+\.json$/.test(f));
  if (split) return zhouSplit(root, split, options);
  if (files.includes('variants.txt') && files.includes('images_variant_train.txt'))
    return aircraft(root, options);
  if (files.includes('classnames.txt')) return imageNet(root, options);
  if (files.includes('wnids.txt')) return tinyImageNet(root, options);
  return planesFolder(root, files);
}

async function zhouSplit(root: string, file: string, options: FileOptions): Promise<DataSplits> {
  const fail = (why: string): never => {
    throw new Error(`${join(root, file)}: ${why}`);
  };
  const lists: unknown = JSON.parse(await readFile(join(root, file), 'utf8'));
  const rows: { id: string; label: number; name: string; split: SplitName }[] = [];
  for (const split of ['train', 'val', 'test'] as const) {
    const list: unknown = (lists as Record<string, unknown> | null)?.[split];
    if (!Array.isArray(list)) return fail(`has no list "${split}"`);
    for (const row of list) {
      const [id, label, name]: unknown[] = Array.isArray(row) ? row : [];
      if (typeof id !== 'string' || typeof label !== 'number' || typeof name !== 'string') {
        return fail(`"${split}" has a row that is not [path, label, class name]: ${JSON.stringify(row)}`);
      }
      rows.push({ id, label, name, split });
    }
  }
  const names = new Map<number, string>();
  for (const { label, name } of rows) {
    const before = names.get(label);
    if (before !== undefined && before !== name) fail(`label ${label} is both "${before}" and "${name}"`);
    names.set(label, name);
  }
  const first = rows[0]?.id ?? fail('lists no images');
  const folder =
    (await folderWith(root, first)) ??
    fail(`${first} lies neither in ${root} nor in a folder below it: are the images unpacked?`);
  return assemble(
    file.replace(/^split_zhou_|\.json$/g, ''),
    rows.map(({ id, name, split }) => ({ path: join(folder, id), id, label: name, split })),
    options,
    {
      classes: [...names].sort(([a], [b]) => a - b).map(([, name]) => name),
      published: true,
    },
  );
}

/** The folder, up to two levels below `root`, in which `file` lies. */
async function folderWith(root: string, file: string, depth = 2): Promise<string | undefined> {
  if (await exists(join(root, file))) return root;
  if (depth === 0) return undefined;
  for (const name of (await readdir(root)).sort(byCode)) {
    const below = join(root, name);
    const found = (await isFolder(below)) ? await folderWith(below, file, depth - 1) : undefined;
    if (found) return found;
  }
}

async function aircraft(root: string, options: FileOptions): Promise<DataSplits> {
  const files: LabelledFile[] = [];
  for (const split of ['train', 'val', 'test'] as const) {
    for (const line of await lines(join(root, `images_variant_${split}.txt`))) {
      const [image, ...variant] = line.split(' ');
      const id = `${image}.jpg`;
      files.push({ path: join(root, 'images', id), id, label: variant.join(' '), split });
    }
  }
  const classes = await lines(join(root, 'variants.txt'));
  return assemble('FGVCAircraft', files, options, { classes, published: true });
}

async function imageNet(root: string, options: FileOptions): Promise<DataSplits> {
  const names = new Map(
    (await lines(join(root, 'classnames.txt'))).map((line) => {
      const space = line.indexOf(' ');
      return [line.slice(0, space), line.slice(space + 1).trim()] as const;
    }),
  );
  const synsets = [...names.keys()];
  const read = async (folder: string, split: SplitName): Promise<LabelledFile[]> => {
    const files: LabelledFile[] = [];
    for (const name of (await readdir(join(root, folder))).sort(byCode)) {
      // ImageNetV2 counts its classes.
      const label = names.get(name) ?? names.get(synsets[Number(name)] ?? '');
      if (label === undefined || !(await isFolder(join(root, folder, name)))) continue;
      for (const image of (await readdir(join(root, folder, name))).sort(byCode)) {
        const id = `${folder}/${name}/${image}`;
        files.push({ path: join(root, id), id, label, split });
      }
    }
    return files;
  };
  const assembled = (files: readonly LabelledFile[]): Promise<DataSplits> => {
    const there = new Set(files.map((f) => f.label));
    const classes = [...new Set(names.values())].filter((name) => there.has(name));
    const whole = { verify: 'none', ...options, fractions: { val: 0, test: 0 } } as const;
    return assemble(basename(root), files, whole, { classes, published: true });
  };
  if (await isFolder(join(root, 'images', 'train'))) {
    const files = [...(await read('images/train', 'train')), ...(await read('images/val', 'test'))];
    const data = await assembled(files);
    return { ...data, val: data.test };
  }
  for (const folder of (await readdir(root)).sort(byCode)) {
    const files = (await isFolder(join(root, folder))) ? await read(folder, 'test') : [];
    if (files.length > 0) return assembled(files);
  }
  throw new Error(`${root} has classnames.txt, but no folder of images by class beside it`);
}

async function tinyImageNet(root: string, options: FileOptions): Promise<DataSplits> {
  const synsets = await lines(join(root, 'wnids.txt'));
  // The first word of a synset, or all of them where another synset begins with the same.
  const words = (await lines(join(root, 'words.txt'))).map((line) => line.split('\t') as [string, string]);
  const used = words.filter(([synset]) => synsets.includes(synset));
  const firsts = used.map(([, all]) => all.split(',')[0]!);
  const names = new Map(
    used.map(([synset, all], i) => [
      synset,
      firsts.indexOf(firsts[i]!) === firsts.lastIndexOf(firsts[i]!) ? firsts[i]! : all,
    ]),
  );
  const nameOf = (synset: string): string => names.get(synset) ?? synset;
  const files: LabelledFile[] = [];
  for (const synset of synsets) {
    const folder = `train/${synset}/images`;
    for (const image of await readdir(join(root, folder))) {
      const id = `${folder}/${image}`;
      files.push({ path: join(root, id), id, label: nameOf(synset), split: 'train' });
    }
  }
  for (const line of await lines(join(root, 'val', 'val_annotations.txt'))) {
    const [image, synset] = line.split('\t');
    const id = `val/images/${image}`;
    files.push({ path: join(root, id), id, label: nameOf(synset!), split: 'test' });
  }
  const whole = { verify: 'none', ...options, fractions: { val: 0, test: 0 } } as const;
  return assemble('Tiny ImageNet', files, whole, { classes: synsets.map(nameOf), published: true });
}
