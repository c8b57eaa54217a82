/** Which files of a folder are train, validation and test, as the Hub's data sets lay them out. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { didYouMean } from '../../graph/nearest.ts';
import { byCode, listed, splitNames } from '../files.ts';
import { isTable } from '../table.ts';

/** Names of the Hub's splits; `validation_matched` and its like are MNLI's. */
export type FileSplit = 'train' | 'validation' | 'validation_matched' | 'validation_mismatched' | 'test';

/** Paths by split, in the order of their names. */
export type SplitFiles = Partial<Record<FileSplit, readonly string[]>>;

const hubNames = { train: 'train', val: 'validation', test: 'test' } as const;

/** The split that a name says: `train`, `dev`, `test-00000-of-00002`, `validation_matched-00000-of-00001`. */
function splitOfName(name: string): FileSplit | 'other' | undefined {
  const [, word, half] = /^([a-z]+)(_matched|_mismatched)?(?:[-_.]\d+(?:-of-\d+)?)?$/i.exec(name) ?? [];
  const split = word && splitNames[word.toLowerCase()];
  if (!split) return undefined;
  if (!half) return hubNames[split];
  // MNLI's test files have no labels.
  return split === 'val' ? (`validation${half.toLowerCase()}` as FileSplit) : 'other';
}

/** Where a path belongs: its split by the file's name or its folder's, its configuration by the folders before. */
function place(path: string): { split: FileSplit | 'other'; config: string } | undefined {
  const folders = dirname(path)
    .split(/[\\/]/)
    .filter((part) => part !== '.' && part !== 'data');
  const own = splitOfName(basename(path, extname(path)));
  if (own) return { split: own, config: folders.join('/') };
  const above = splitOfName(folders.at(-1) ?? '');
  return above && { split: above, config: folders.slice(0, -1).join('/') };
}

/**
 * Of paths inside a folder, those of one configuration by split: `train.csv`, `data/train-00000-of-00001.parquet`,
 * `sst2/validation-00000-of-00001.parquet`, `sst2/train/0000.parquet`.
 * @throws where no name says a split, or where there are several configurations and none is chosen.
 */
export function splitFiles(paths: readonly string[], where: string, config?: string): SplitFiles {
  const placed = paths
    .filter(isTable)
    .sort(byCode)
    .flatMap((path) => {
      const at = place(path);
      return at ? [{ path, ...at }] : [];
    });
  if (!placed.length) {
    throw new Error(
      `${where} has no file that is called train, validation or test and ends in .csv, .tsv, .jsonl or .parquet ` +
        `(it has ${listed([...paths].sort(byCode)) || 'no files'})`,
    );
  }
  const configs = [...new Set(placed.map((p) => p.config))];
  const chosen = config ?? (configs.length === 1 ? configs[0]! : configs.find((c) => !c || c === 'default'));
  if (chosen === undefined || !configs.includes(chosen)) {
    const names = configs.map((c) => c || '(none)');
    throw new Error(
      `${where} has ${config === undefined ? 'several configurations' : `no configuration "${config}"`}` +
        `${didYouMean(config ?? '', configs)}: choose one of ${names.join(', ')}`,
    );
  }
  const files: Partial<Record<FileSplit, string[]>> = {};
  for (const { path, split, config: own } of placed) {
    if (own !== chosen || split === 'other') continue;
    files[split] = [...(files[split] ?? []), path];
  }
  return files;
}

/** The files of a folder on disk. */
export async function folderFiles(folder: string, config?: string): Promise<SplitFiles> {
  const root = resolve(folder);
  const files = splitFiles(await readdir(root, { recursive: true }), root, config);
  return Object.fromEntries(
    Object.entries(files).map(([split, paths]) => [split, paths.map((path) => join(root, path))]),
  );
}
