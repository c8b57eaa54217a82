import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { codeVersion } from './code-version.ts';

function digestOf(files: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), 'attune-code-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return codeVersion(pathToFileURL(join(dir, 'a.ts')).href);
}

test('it changes with what is imported, at any distance, and with nothing else', () => {
  const files = {
    'a.ts': "import { b } from './b.ts';\nexport * from\n  './d.ts';",
    'b.ts': "const c = await import('./c.ts');",
    'c.ts': '1',
    'd.ts': "import './a.ts';",
    'e.ts': '1',
  };
  const digest = digestOf(files);
  expect(digestOf({ ...files, 'e.ts': '2' })).toBe(digest);
  for (const name of ['a.ts', 'c.ts', 'd.ts'] as const) {
    expect(digestOf({ ...files, [name]: `${files[name]} // changed` }), name).not.toBe(digest);
  }
});
