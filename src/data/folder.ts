/** Image folders: one sub-folder a class, inside train/val/test folders or not. */
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import {
  assemble,
  byCode,
  type DataSplits,
  type FileOptions,
  isImage,
  type LabelledFile,
  listed,
  type SplitName,
  splitNames,
} from './files.ts';

const looksLikeImage = /\.(?:png|jpe?g|webp|gif|svg|tiff?|avif|bmp|heic)$/i;
const hidden = /^(?:\.|__MACOSX$|Thumbs\.db$|desktop\.ini$)/i;

export async function entries(folder: string): Promise<{ folders: string[]; files: string[] }> {
  const isFolder = async (e: Dirent) =>
    e.isDirectory() ||
    (e.isSymbolicLink() && (await stat(join(folder, e.name)).catch(() => undefined))?.isDirectory() === true);
  const folders: string[] = [];
  const files: string[] = [];
  for (const e of await readdir(folder, { withFileTypes: true })) {
    if (!hidden.test(e.name)) ((await isFolder(e)) ? folders : files).push(e.name);
  }
  return { folders: folders.sort(byCode), files: files.sort(byCode) };
}

/** Every file below `folder`, as paths from it with `/`. */
export async function walk(folder: string, prefix = '', depth = 0): Promise<string[]> {
  const { folders, files } = await entries(folder);
  if (depth > 32) throw new Error(`folders are nested too deeply (a link to itself?): ${folder}`);
  const below = folders.map((f) => walk(join(folder, f), `${prefix}${f}/`, depth + 1));
  return [...files.map((f) => prefix + f), ...(await Promise.all(below)).flat()];
}

/**
 * Reads `path/CLASS/…image` or `path/{train,val,test}/CLASS/…image` (also `valid`, `validation`). Images are found by
 * content; those in deeper folders count too; hidden files do not. Without split folders the split is seeded.
 * @throws where the folder is missing, has no classes or fewer than two, holds images outside class folders only, a
 * class has no readable image, an image is damaged, or one image lies in two classes; the message says what to do.
 */
export async function imageFolder(path: string, options: FileOptions = {}): Promise<DataSplits> {
  const root = resolve(path);
  const info = await stat(root).catch(() => undefined);
  if (!info) throw new Error(`no folder ${root}: give a folder with one sub-folder of images for each class`);
  if (!info.isDirectory())
    throw new Error(`${root} is a file, not a folder of images (manifests end in .csv or .jsonl)`);

  const top = await entries(root);
  const warnings: string[] = [];
  const strayImages: string[] = [];
  for (const f of top.files) if (await isImage(join(root, f))) strayImages.push(f);
  const hasTrain = top.folders.find((f) => splitNames[f.toLowerCase()] === 'train');
  const splitLayout = hasTrain !== undefined && (await entries(join(root, hasTrain))).folders.length > 0;
  const classFolders: { folder: string; label: string; split?: SplitName }[] = [];
  if (splitLayout) {
    for (const f of top.folders) {
      const split = splitNames[f.toLowerCase()];
      if (!split) {
        warnings.push(`ignored the folder ${f} beside the split folders`);
        continue;
      }
      const inner = await entries(join(root, f));
      if (inner.files.length) warnings.push(`ignored ${listed(inner.files)} in ${f}, outside any class`);
      classFolders.push(...inner.folders.map((label) => ({ folder: `${f}/${label}`, label, split })));
    }
  } else classFolders.push(...top.folders.map((label) => ({ folder: label, label })));

  if (!classFolders.length) {
    throw new Error(
      strayImages.length
        ? `${strayImages.length} images lie directly in ${root} (${listed(strayImages, 3)}): move those of each class into a sub-folder with its name`
        : `no class folders in ${root}: give a folder with one sub-folder of images for each class`,
    );
  }
  if (strayImages.length) {
    warnings.push(`ignored ${strayImages.length} images outside class folders: ${listed(strayImages)}`);
  }

  const files: LabelledFile[] = [];
  const other: string[] = [];
  const empty: string[] = [];
  for (const { folder, label, split } of classFolders) {
    const before = files.length;
    for (const f of await walk(join(root, folder))) {
      const id = `${folder}/${f}`;
      const file = join(root, id);
      if (looksLikeImage.test(f) || (await isImage(file))) {
        files.push({ path: file, id, label, ...(split && { split }) });
      } else other.push(id);
    }
    if (files.length === before && (split ?? 'train') === 'train') empty.push(folder);
  }
  if (empty.length) {
    throw new Error(
      `no readable image in the class folder ${listed(empty.map((f) => `"${f}"`))} of ${root}: add images or remove the folder`,
    );
  }
  if (other.length) warnings.push(`ignored ${other.length} files that are no images: ${listed(other)}`);
  return assemble(basename(root), files, options, { notes: warnings });
}
