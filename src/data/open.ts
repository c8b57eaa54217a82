/** One door to all data: a built-in name, a folder, or a manifest. */
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { didYouMean } from '../graph/nearest.ts';
import type { DataSplits, FileOptions } from './files.ts';
import { imageFolder } from './folder.ts';
import { type IconOptions, icons } from './icons.ts';
import { imageManifest } from './manifest.ts';

/** Data sets that need no files from the user. */
export const builtInData = ['icons', 'icons-unseen'] as const;

/**
 * `icons` (a hundred everyday names), `icons-unseen` (names that no caption of pretraining has), a folder with one
 * sub-folder a class, or a `.csv` or `.jsonl` manifest. A folder called `icons` is reached as `./icons`.
 */
export async function openData(
  source: string,
  options: FileOptions & Pick<IconOptions, 'onProgress'> = {},
): Promise<DataSplits> {
  const task = source === 'icons' ? 'common' : source === 'icons-unseen' ? 'unseen' : undefined;
  if (task) {
    const { onProgress } = options;
    const train = await icons({ split: 'train', task, onProgress });
    const [val, test] = [await icons({ split: 'val', task }), await icons({ split: 'test', task })];
    return { train, val, test, split: 'fixed: families of drawings apart', warnings: [] };
  }
  if (/^\.(?:csv|jsonl|ndjson)$/i.test(extname(source))) return imageManifest(source, options);
  if (!(await stat(source).catch(() => undefined)) && !/[/\\.]/.test(source)) {
    throw new Error(
      `no data "${source}"${didYouMean(source, builtInData)}: give ${builtInData.join(', ')}, ` +
        `a folder with one sub-folder of images for each class, or a .csv or .jsonl manifest`,
    );
  }
  return imageFolder(source, options);
}
