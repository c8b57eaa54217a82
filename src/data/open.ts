/** One door to all data: a built-in name, a folder, or a manifest. */
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { didYouMean } from '../graph/nearest.ts';
import { builtIn, builtInData, isBuiltIn } from './built-in.ts';
import type { DataSplits, FileOptions } from './files.ts';
import { imageFolder } from './folder.ts';
import type { IconOptions } from './icons.ts';
import { imageManifest } from './manifest.ts';
import { publishedFolder } from './published.ts';

/**
 * A built-in name, a folder in CoOp's layout of a published data set, a folder with one sub-folder a class, or a `.csv`
 * or `.jsonl` manifest. A folder called `icons` is reached as `./icons`.
 */
export async function openData(
  source: string,
  options: FileOptions & Pick<IconOptions, 'onProgress'> = {},
): Promise<DataSplits> {
  if (isBuiltIn(source)) return builtIn[source].open(options.onProgress);
  if (/^\.(?:csv|jsonl|ndjson)$/i.test(extname(source))) return imageManifest(source, options);
  if (!(await stat(source).catch(() => undefined)) && !/[/\\.]/.test(source)) {
    throw new Error(
      `no data "${source}"${didYouMean(source, builtInData)}: give ${builtInData.join(', ')}, ` +
        `a folder with one sub-folder of images for each class, or a .csv or .jsonl manifest`,
    );
  }
  return (await publishedFolder(source, options)) ?? imageFolder(source, options);
}
