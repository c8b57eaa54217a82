import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';

let digest: string | undefined;

/**
 * A digest of the code that can decide a result: all of Attune but the command line, tests and claims. A result that
 * other code measured is not reused.
 */
export function codeVersion(): string {
  if (digest === undefined) {
    const root = join(import.meta.dirname, '../..');
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
      (f) =>
        /\.[jt]s$/.test(f) &&
        !/\.d\.ts$|\.test\.ts$|reproduce\.[jt]s$/.test(f) &&
        !f.split(sep).some((folder) => folder === 'cli' || folder === 'testing'),
    );
    const hash = createHash('sha256');
    for (const f of files.sort()) hash.update(f).update(readFileSync(join(root, f)));
    digest = hash.digest('hex').slice(0, 16);
  }
  return digest;
}
