/** Writes the generated parts of the documentation; `npm run docs` after a change of a method or its options. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { kebab } from '../src/cli/flags.ts';
import { type Method, methods } from '../src/methods/index.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

const table = (rows: readonly (readonly string[])[]): string =>
  rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n');

const methodTable = (): string =>
  table([
    ['method', 'what it does', 'paper'],
    ['---', '---', '---'],
    ...methods.map((m) => [`[\`${m.name}\`](docs/methods/${m.name}.md)`, m.summary, m.paper]),
  ]);

interface Property {
  readonly default?: unknown;
  readonly description?: string;
  readonly enum?: readonly string[];
}
function optionTable({ options }: Method): string {
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

/** `text` with what stands between the markers of `name` replaced. */
function fill(file: string, name: string, content: string): { file: string; now: string; wanted: string } {
  const now = readFileSync(root + file, 'utf8');
  const [begin, end] = [`<!-- ${name}: written by \`npm run docs\` -->\n`, `\n<!-- /${name} -->`];
  const [from, to] = [now.indexOf(begin), now.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} has no place for ${name}: ${begin}…${end}`);
  return { file, now, wanted: now.slice(0, from + begin.length) + content + now.slice(to) };
}

/** Every file with a generated part: as it is, and as it should be. */
export const generated = () => [
  fill('README.md', 'methods', methodTable()),
  ...methods.map((m) => fill(`docs/methods/${m.name}.md`, 'options', optionTable(m))),
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { file, wanted } of generated()) writeFileSync(root + file, wanted);
}
