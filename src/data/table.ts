/** Rows of files: CSV and TSV with a header line, JSONL, Parquet. */
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import * as zlib from 'node:zlib';
import { parse } from 'csv-parse/sync';
import type { Compressors } from 'hyparquet';

export interface TableRow {
  /** Of a text file; of Parquet the number of the row, from 1. */
  readonly line: number;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface Table {
  readonly rows: readonly TableRow[];
  /** By column: the names of its labels 0, 1, …, where the Hub's `datasets` wrote them into the file. */
  readonly classNames: Readonly<Record<string, readonly string[]>>;
}

const kinds = new Set(['.csv', '.tsv', '.jsonl', '.ndjson', '.parquet']);
const kindOf = (path: string) => extname(path).toLowerCase();

/** Whether a file has rows that `readTable` reads, by its name. */
export const isTable = (path: string): boolean => kinds.has(kindOf(path));

/**
 * The rows of a file.
 * @throws with the line where it is damaged.
 */
export async function readTable(path: string): Promise<Table> {
  const bytes = await readFile(path);
  switch (kindOf(path)) {
    case '.parquet':
      return readParquet(bytes);
    case '.csv':
      return { rows: readCsv(bytes.toString('utf8')), classNames: {} };
    case '.tsv':
      return { rows: readCsv(bytes.toString('utf8'), '\t'), classNames: {} };
    default:
      return { rows: readJsonl(bytes.toString('utf8')), classNames: {} };
  }
}

/** Tabs need no quotes, and the published TSV files have loose ones in their texts. */
function readCsv(text: string, delimiter: ',' | '\t' = ','): TableRow[] {
  const rows = parse(text, {
    bom: true,
    columns: (header: string[]) => header.map((h) => h.trim()),
    delimiter,
    info: true,
    quote: delimiter === ',' ? '"' : null,
    skip_empty_lines: true,
    trim: true,
  }) as { record: Record<string, string>; info: { lines: number } }[];
  return rows.map(({ record, info }) => ({ line: info.lines, values: record }));
}

function readJsonl(text: string): TableRow[] {
  return text.split('\n').flatMap((source, i) => {
    if (!source.trim()) return [];
    const line = i + 1;
    let values: unknown;
    try {
      values = JSON.parse(source.replace(/^\uFEFF/, ''));
    } catch (error) {
      throw new Error(`line ${line} is not JSON: ${(error as Error).message}`);
    }
    if (typeof values !== 'object' || values === null || Array.isArray(values)) {
      throw new Error(`line ${line} is not a JSON object`);
    }
    return [{ line, values: values as Record<string, unknown> }];
  });
}

/** Snappy, the usual one, comes with the reader; Node has zstd since 22.15. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (bytes: Uint8Array) => Buffer };
const compressors: Compressors = {
  GZIP: (bytes) => zlib.gunzipSync(bytes),
  BROTLI: (bytes) => zlib.brotliDecompressSync(bytes),
  ...(zstdDecompressSync && { ZSTD: (bytes) => zstdDecompressSync(bytes) }),
};

/** What the Hub's `datasets` writes beside the rows, as far as it matters here. */
interface HubInfo {
  readonly info?: { readonly features?: Readonly<Record<string, { readonly names?: readonly string[] }>> };
}

async function readParquet(bytes: Buffer): Promise<Table> {
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const { parquetMetadata, parquetReadObjects } = await import('hyparquet');
  const metadata = parquetMetadata(file);
  const records = await parquetReadObjects({ file, metadata, compressors });
  const rows = records.map((record, i) => ({
    line: i + 1,
    values: Object.fromEntries(
      Object.entries(record).map(([key, v]) => [key, typeof v === 'bigint' ? Number(v) : v]),
    ),
  }));
  const info = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  const { features = {} } = (info ? (JSON.parse(info) as HubInfo) : {}).info ?? {};
  const named = Object.entries(features).filter(([, { names }]) => Array.isArray(names));
  return { rows, classNames: Object.fromEntries(named.map(([column, { names }]) => [column, names!])) };
}
