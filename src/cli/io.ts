import { readdir } from 'node:fs/promises';

/** The world outside a command: what tests replace. */
export interface Io {
  /** To standard output: results. */
  out(text: string): void;
  /** To standard error: progress, warnings, causes. */
  err(text: string): void;
  /** All of standard input. */
  input(): Promise<string>;
  /** Whether standard error is a terminal, where a line can be written over. */
  readonly tty: boolean;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** The command line itself is wrong: exit code 2. */
export class UsageError extends Error {}

/** Throws where a run would begin in a folder that has something in it. */
export async function requireFresh(dir: string, resume: boolean | undefined): Promise<void> {
  const files = await readdir(dir).catch(() => []);
  if (files.length && !resume)
    throw new UsageError(`${dir} is not empty: continue with --resume, or choose another --out`);
}

/** The cause of a failure on one line. */
export function causeOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.trim().replace(/([:;,]?)\s*\n\s*/g, (_, mark: string) => `${mark || ';'} `);
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Rows as aligned columns, two spaces apart. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) => `${row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')}`.trimEnd())
    .join('\n');
}
