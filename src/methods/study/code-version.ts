import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const digests = new Map<string, string>();

/**
 * A digest of the code that can decide a result: the module at `entry` (its `import.meta.url`) and all that it imports of Attune. A
 * result that other code measured is not reused.
 */
export function codeVersion(entry: string): string {
  const known = digests.get(entry);
  if (known !== undefined) return known;
  const texts = new Map<string, string>();
  const read = (url: string): void => {
    if (texts.has(url)) return;
    const text = readFileSync(new URL(url), 'utf8');
    texts.set(url, text);
    for (const [, path] of text.matchAll(/\b(?:from|import)\b[\s(]*'(\.[^']+)'/g))
      read(new URL(path!, url).href);
  };
  read(entry);
  const hash = createHash('sha256');
  for (const url of [...texts.keys()].sort()) hash.update(texts.get(url)!);
  const digest = hash.digest('hex').slice(0, 16);
  digests.set(entry, digest);
  return digest;
}
