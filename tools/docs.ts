/** Writes the generated parts of the documentation; `npm run docs` after a change of a method or its options. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { kebab } from '../src/cli/flags.ts';
import { type LanguageMethod, languageMethods, type Method, methods } from '../src/methods/index.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

export const table = (rows: readonly (readonly string[])[]): string =>
  rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n');

const methodTable = (): string =>
  table([
    ['method', 'what it does', 'paper'],
    ['---', '---', '---'],
    ...methods.map((m) => [`[\`${m.name}\`](docs/methods/${m.name}.md)`, m.summary, m.paper]),
  ]);

/** Methods with a page of their own; the others are on one. */
const own = ['panda', 'dept', 'ept'];
const baselinePage = 'docs/methods/lm-baselines.md';
const languageTable = (): string =>
  table([
    ['method', 'what it does', 'paper'],
    ['---', '---', '---'],
    ...languageMethods.map((m) => [
      `[\`${m.name}\`](${own.includes(m.name) ? `docs/methods/${m.name}.md` : `${baselinePage}#${m.name}`})`,
      m.summary,
      m.paper,
    ]),
  ]);

interface Property {
  readonly default?: unknown;
  readonly description?: string;
  readonly enum?: readonly string[];
}
function optionTable({ options }: Method | LanguageMethod): string {
  const properties = z.toJSONSchema(options, { io: 'input' }).properties as Record<string, Property>;
  return table([
    ['option', 'flag', 'default', 'meaning'],
    ['---', '---', '---', '---'],
    ...Object.entries(properties).map(([key, p]) => [
      `\`${key}\``,
      `\`--${kebab(key)}\``,
      `\`${JSON.stringify(p.default)}\``,
      (p.description ?? '') + (p.enum ? `: ${p.enum.join(', ')}` : ''),
    ]),
  ]);
}

/** A file as it is, and with what stands between the markers of each part replaced. */
export function fill(
  file: string,
  parts: Record<string, string>,
  command = 'npm run docs',
): { file: string; now: string; wanted: string } {
  const now = readFileSync(root + file, 'utf8');
  let wanted = now;
  for (const [name, content] of Object.entries(parts)) {
    const [begin, end] = [`<!-- ${name}: written by \`${command}\` -->\n`, `\n<!-- /${name} -->`];
    const [from, to] = [wanted.indexOf(begin), wanted.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`${file} has no place for ${name}: ${begin}…${end}`);
    wanted = wanted.slice(0, from + begin.length) + content + wanted.slice(to);
  }
  return { file, now, wanted };
}

/** The programs of docs/engine.md: type-checked here, run by the tests, shown there. */
export const engineExamples: readonly string[] = readdirSync(`${root}examples/engine`).sort();
const listing = (file: string): string =>
  `\`\`\`ts\n${readFileSync(`${root}examples/engine/${file}`, 'utf8')}\`\`\``;

/** Every file with a generated part: as it is, and as it should be. */
export const generated = () => [
  fill('README.md', { methods: methodTable(), 'language methods': languageTable() }),
  fill('docs/engine.md', Object.fromEntries(engineExamples.map((file) => [file, listing(file)]))),
  ...[...methods, ...languageMethods.filter((m) => own.includes(m.name))].map((m) =>
    fill(`docs/methods/${m.name}.md`, { options: optionTable(m) }),
  ),
  fill(
    baselinePage,
    Object.fromEntries(
      languageMethods
        .filter((m) => !own.includes(m.name))
        .map((m) => [`options of ${m.name}`, optionTable(m)]),
    ),
  ),
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { file, wanted } of generated()) writeFileSync(root + file, wanted);
}
