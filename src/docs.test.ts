/** What the documentation says is so. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format } from 'node:util';
import { expect, test, vi } from 'vitest';
import { engineExamples, generated } from '../tools/docs.ts';

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const { exports, bin, files } = JSON.parse(read('package.json'));
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((f) => `docs/${f}`),
].filter((f) => f.endsWith('.md'));

test('generated tables are up to date (else: npm run docs)', () => {
  for (const { file, now, wanted } of generated()) expect(now, file).toBe(wanted);
});

test('the code of the README is the example that the type checker reads', () => {
  expect(read('README.md')).toContain(`\`\`\`ts\n${read('examples/tune.ts')}\`\`\``);
});

test.each(engineExamples)('examples/engine/%s prints what its comments say', async (file) => {
  const path = join(root, 'examples/engine', file);
  const expected = Array.from(readFileSync(path, 'utf8').matchAll(/\/\/ → (.*)$/gm), ([, text]) => text!);
  const printed: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((...args) => {
    printed.push(...format(...args).split('\n'));
  });
  await import(path);
  log.mockRestore();
  expect(printed).toEqual(expected);
  expect(expected.length).toBeGreaterThan(0);
});

test('the code of the import page is an example that src/graph/onnx/example.test.ts runs', () => {
  expect(read('docs/import.md')).toContain(`\`\`\`ts\n${read('examples/import.ts')}\`\`\``);
});

test.each(pages)('%s: links lead somewhere', (page) => {
  const links = [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(([, to]) => to!);
  expect(links.filter((to) => !existsSync(join(root, dirname(page), to)))).toEqual([]);
});

test('every subpath of the package is built from a file that exists, and the docs are shipped', () => {
  const targets: string[] = [
    ...Object.values(exports as Record<string, string>),
    ...Object.values(bin as object),
  ];
  const sources = targets.map((to) =>
    to.replace('./dist/', 'src/').replace('.js', '.ts').replace('*', 'clip'),
  );
  expect(sources.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  expect(files).toEqual(expect.arrayContaining(['dist', 'docs', 'zoo']));
});
