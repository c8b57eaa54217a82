/** Lists of images with labels: CSV with a header line, or JSONL. */
import { stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { didYouMean } from '../graph/nearest.ts';
import { assemble, type DataSplits, type FileOptions, type LabelledFile, splitNames } from './files.ts';
import { readTable, type TableRow } from './table.ts';

const columns: Record<string, readonly string[]> = {
  image: ['image', 'path', 'file', 'file_name', 'filename', 'image_path'],
  label: ['label', 'class', 'category'],
  split: ['split'],
  domain: ['domain'],
};

/** The value of a column under any of its names; numbers are taken as text. */
function value(row: TableRow, column: string): string | undefined {
  for (const key of columns[column]!) {
    const v = row.values[key];
    if (typeof v === 'number') return String(v);
    if (typeof v === 'string' && v !== '') return v;
  }
}

/**
 * Reads a `.csv` (header line, commas) or `.jsonl` manifest with the columns `image` (or `path`, `file`), `label` (or
 * `class`) and, if wanted, `split` and `domain`. Paths are relative to the manifest.
 * @throws with the line where a column, a file or a split is wrong, and as `imageFolder` does.
 */
export async function imageManifest(path: string, options: FileOptions = {}): Promise<DataSplits> {
  const file = resolve(path);
  const fail = (why: string, cause?: unknown): never => {
    throw new Error(`the manifest ${file}: ${why}`, { cause });
  };
  let rows: readonly TableRow[] = [];
  try {
    ({ rows } = await readTable(file));
  } catch (error) {
    fail((error as Error).message, error);
  }
  if (!rows.length) fail('has no rows');
  const files = rows.map((row): LabelledFile & { line: number } => {
    const need = (column: string) => {
      const found = value(row, column);
      if (found !== undefined) return found;
      const keys = Object.keys(row.values);
      const present = keys.find((k) => columns[column]!.includes(k));
      return fail(
        present
          ? `line ${row.line} has an empty ${present}`
          : `line ${row.line} has no column "${column}"${didYouMean(column, keys)}; its columns are ${keys.join(', ')}`,
      );
    };
    const id = need('image');
    const label = need('label');
    const named = value(row, 'split');
    const split = named === undefined ? undefined : splitNames[named.toLowerCase()];
    if (named !== undefined && !split) {
      fail(
        `line ${row.line}: "${named}" is no split${didYouMean(named, Object.keys(splitNames))}; use train, val or test`,
      );
    }
    const domain = value(row, 'domain');
    return {
      path: resolve(dirname(file), id),
      id,
      label,
      line: row.line,
      where: `line ${row.line}`,
      ...(split && { split }),
      ...(domain !== undefined && { domain }),
    };
  });
  const seen = new Map<string, (typeof files)[number]>();
  for (const f of files) {
    const before = seen.get(f.path);
    if (before)
      fail(`line ${f.line} lists ${f.id} again (first on line ${before.line}, as "${before.label}")`);
    seen.set(f.path, f);
    const info = await stat(f.path).catch(() => undefined);
    if (!info?.isFile()) fail(`line ${f.line}: no file ${f.path} (paths are relative to the manifest)`);
  }
  const partly = files.find((f) => (f.split === undefined) !== (files[0]!.split === undefined));
  if (partly)
    fail(`line ${partly.line} ${partly.split ? 'has' : 'has no'} split, unlike line ${files[0]!.line}`);
  return assemble(basename(file), files, options);
}
