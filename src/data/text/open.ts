/** One door to all texts: a built-in task, a file, a folder, or a data set of the Hub. */
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { didYouMean } from '../../graph/nearest.ts';
import { type SplitName, splitNames } from '../files.ts';
import { isTable, readTable } from '../table.ts';
import type { ColumnOptions, PlacedRow } from './columns.ts';
import type { TextSplits } from './example.ts';
import { publishedDataset, publishedSplits, type TextForm, type TextFormatName } from './formats.ts';
import { type FileSplit, folderFiles } from './layout.ts';
import { plainSplits } from './plain.ts';
import { isTextTask, openTextTask, textSuite } from './suite.ts';

export interface TextOptions extends ColumnOptions {
  /** Seed of the split, where the source lacks one. Default 1; of a `format`'s splits always 42, as published. */
  readonly seed?: number;
  /** Of a folder with several data sets, such as GLUE's, the one to read: `sst2`. */
  readonly config?: string;
  /** A published task whose columns and splits these are. */
  readonly format?: TextFormatName;
  /** How a published task is written. Default `t5`. */
  readonly form?: TextForm;
  /** Gives the local folder of `owner/name`, as `resolveDataset` of the hub does. */
  readonly download?: (spec: string, config?: string) => Promise<string>;
}

/**
 * A built-in task; a `.csv`, `.tsv`, `.jsonl` or `.parquet` file, whose column `split` is heeded; a folder with files
 * called train, validation and test, also in the Hub's layouts; or `owner/name` of the Hub. A folder that is called as
 * a task is reached as `./genre`.
 * @throws naming the file and line of what is wrong, and the way out.
 */
export async function openTextData(spec: string, options: TextOptions = {}): Promise<TextSplits> {
  if (isTextTask(spec)) return openTextTask(spec);
  const info = await stat(spec).catch(() => undefined);
  if (!info && /^[\w-][\w.-]*\/[\w.-]+(?:@.+)?$/.test(spec) && options.download && !isTable(spec)) {
    return openFolder(await options.download(spec, options.config), spec, options);
  }
  if (!info) {
    throw new Error(
      `no text data "${spec}"${didYouMean(spec, textSuite)}: give ${textSuite.join(', ')}, a .csv, .tsv, .jsonl or ` +
        `.parquet file, a folder with files called train, validation and test, or owner/name of the Hub`,
    );
  }
  if (info.isDirectory()) return openFolder(spec, basename(resolve(spec)), options);
  if (!isTable(spec)) throw new Error(`${spec}: not a .csv, .tsv, .jsonl or .parquet file`);
  return openFile(spec, options);
}

type Rows = Partial<Record<FileSplit, readonly PlacedRow[]>>;
type ClassNames = Readonly<Record<string, readonly string[]>>;

async function read(path: string): Promise<{ rows: PlacedRow[]; classNames: ClassNames }> {
  const file = basename(path);
  try {
    const { rows, classNames } = await readTable(path);
    return { rows: rows.map((row) => ({ ...row, file })), classNames };
  } catch (error) {
    throw new Error(`${resolve(path)}: ${(error as Error).message}`, { cause: error });
  }
}

async function openFile(path: string, options: TextOptions): Promise<TextSplits> {
  const { rows, classNames } = await read(path);
  const files: Partial<Record<FileSplit, PlacedRow[]>> = {};
  for (const row of rows) {
    const named = row.values.split;
    const split = named === undefined ? 'train' : splitNames[String(named).toLowerCase()];
    if (!split) {
      throw new Error(
        `${resolve(path)}, line ${row.line}: "${named}" is no split${didYouMean(String(named), Object.keys(splitNames))}; ` +
          'use train, val or test',
      );
    }
    const file = split === 'val' ? 'validation' : split;
    files[file] = [...(files[file] ?? []), row];
  }
  return toSplits(basename(path), files, classNames, options);
}

async function openFolder(folder: string, name: string, options: TextOptions): Promise<TextSplits> {
  const rows: Rows = {};
  let names: ClassNames = {};
  for (const [split, paths] of Object.entries(await folderFiles(folder, options.config))) {
    const tables = await Promise.all(paths.map(read));
    rows[split as FileSplit] = tables.flatMap((table) => table.rows);
    names = { ...names, ...tables[0]!.classNames };
  }
  return toSplits(options.config ? `${name}/${options.config}` : name, rows, names, options);
}

function toSplits(name: string, rows: Rows, classNames: ClassNames, options: TextOptions): TextSplits {
  const { format, form = 't5' } = options;
  if (format) {
    const splits = publishedSplits(format, rows);
    const part = (split: SplitName) =>
      publishedDataset(
        format,
        splits[split].map(({ values }) => values),
        { form, train: split === 'train' },
      );
    return { train: part('train'), val: part('val'), test: part('test'), warnings: [] };
  }
  return plainSplits(name, rows, classNames, options);
}
