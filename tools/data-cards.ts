/** Writes the data cards into docs/data.md: `npm run docs:data`. Draws all icons on its first run, some minutes. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { familyOf } from '../src/data/icons/families.ts';
import {
  type BuiltInName,
  builtIn,
  builtInData,
  byClass,
  type DataSplits,
  domainsOf,
  iconReport,
  icons,
  openData,
} from '../src/data/index.ts';
import { fill, table } from './docs.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const parts = ['train', 'val', 'test'] as const;
const numbers = (values: readonly number[]) => values.map((n) => n.toLocaleString('en')).join(' / ');

/** The names under which the zoo's model saw drawings in pretraining: those with as many as its recipe asks for. */
async function captions(): Promise<Set<string>> {
  const { minDrawings } = JSON.parse(readFileSync(`${root}zoo/icon-clip/recipe.json`, 'utf8'));
  const corpus = await icons({ split: 'pretrain' });
  const drawings = byClass(corpus);
  return new Set(corpus.classes.filter((_, label) => drawings[label]!.length >= minDrawings));
}

const prefixOf = (id: string) => id.slice(0, id.indexOf(':'));

function card(name: BuiltInName, data: DataSplits, seen: Set<string>, licenses: Map<string, string>): string {
  const least = parts.map((part) => Math.min(...byClass(data[part]).map((g) => g.length)));
  const { classes } = data.train;
  const all = { ...data.train, examples: parts.flatMap((part) => data[part].examples) };
  const read = classes.filter((c) => seen.has(c));
  const lines = [
    `### \`${name}\``,
    '',
    `${builtIn[name].summary[0]!.toUpperCase()}${builtIn[name].summary.slice(1)}. Prompt: "${builtIn[name].template}".`,
    '',
    `- ${classes.length} classes: ${classes.join(', ')}.`,
    `- Images in train / val / test: ${numbers(parts.map((part) => data[part].examples.length))}; of the smallest class ${numbers(least)}.`,
  ];
  const domains = domainsOf(all);
  if (domains.length) {
    const count = (d: string) =>
      parts.map((part) => data[part].examples.filter((e) => e.domain === d).length);
    lines.push(`- Domains: ${domains.map((d) => `${d} ${numbers(count(d))}`).join('; ')}.`);
  }
  if (builtIn[name].package === '@iconify/json') {
    const families = (part: (typeof parts)[number]) =>
      [...new Set(data[part].examples.map((e) => familyOf(prefixOf(e.id))))].sort().join(' ');
    const perLicense = new Map<string, number>();
    for (const e of all.examples) {
      const license = licenses.get(prefixOf(e.id))!;
      perLicense.set(license, (perLicense.get(license) ?? 0) + 1);
    }
    const sorted = [...perLicense].sort((a, b) => b[1] - a[1]);
    lines.push(
      `- Families of drawing sets in test: ${families('test')}.`,
      `- In train: ${families('train')}.`,
      `- Licences, by images: ${sorted.map(([license, n]) => `${license} ${n.toLocaleString('en')}`).join('; ')}.`,
      `- ${read.length} of ${classes.length} class names were captions in the pretraining of \`zoo:icon-clip\`` +
        (read.length && read.length < classes.length ? `: ${read.join(', ')}.` : '.'),
    );
  } else {
    lines.push(
      "- Yann LeCun, Corinna Cortes, Christopher J. C. Burges: MNIST; the package's licence is ISC.",
    );
  }
  return lines.join('\n');
}

const seen = await captions();
const licenses = new Map((await iconReport()).sets.map((s) => [s.prefix, s.license]));
const rows: string[][] = [];
const cards: string[] = [];
for (const name of builtInData) {
  const data = await openData(name);
  const { classes } = data.train;
  rows.push([
    `[\`${name}\`](#${name})`,
    builtIn[name].summary,
    String(classes.length),
    numbers(parts.map((part) => data[part].examples.length)),
    `${classes.filter((c) => seen.has(c)).length}`,
  ]);
  cards.push(card(name, data, seen, licenses));
}
const overview = table([
  ['data', 'what', 'classes', 'images in train / val / test', 'class names that pretraining read'],
  ['---', '---', '---', '---', '---'],
  ...rows,
]);
const { file, wanted } = fill('docs/data.md', { overview, cards: cards.join('\n\n') }, 'npm run docs:data');
writeFileSync(root + file, wanted);
