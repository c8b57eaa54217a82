/** Writes the table of the built-in text tasks into docs/text-data.md: `npm run docs:text`. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  inputText,
  majorityRate,
  openTextTask,
  readCorpus,
  type TextDataset,
  type TextExample,
  type TextTaskName,
  textSuite,
  textTasks,
} from '../src/data/index.ts';
import { fill, table } from './docs.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
const numbers = (values: readonly number[]) => values.map((n) => n.toLocaleString('en')).join(' / ');

/** Words by the part that they stand in. */
const tokens = ({ parts }: TextExample): string[] =>
  Object.entries(parts).flatMap(([key, text]) =>
    (text.toLowerCase().match(/\p{L}+|\d+|[^\s\p{L}\d]/gu) ?? []).map((word) => `${key} ${word}`),
  );

/** Test accuracy of multinomial naive Bayes over words, add-one smoothed: what words alone, without order, tell. */
function naiveBayes(train: TextDataset, test: TextDataset): number {
  const counts = train.classes.map(() => new Map<string, number>());
  const totals = train.classes.map(() => 0);
  const priors = train.classes.map(() => 0);
  const vocabulary = new Set<string>();
  for (const example of train.examples) {
    const own = counts[example.label!]!;
    priors[example.label!]! += 1;
    for (const token of tokens(example)) {
      own.set(token, (own.get(token) ?? 0) + 1);
      totals[example.label!]! += 1;
      vocabulary.add(token);
    }
  }
  const right = test.examples.filter((example) => {
    const known = tokens(example).filter((token) => vocabulary.has(token));
    const scores = train.classes.map((_, label) =>
      known.reduce(
        (sum, token) =>
          sum + Math.log(((counts[label]!.get(token) ?? 0) + 1) / (totals[label]! + vocabulary.size)),
        Math.log(priors[label]!),
      ),
    );
    return scores.indexOf(Math.max(...scores)) === example.label;
  });
  return right.length / test.examples.length;
}

const shorten = (text: string) =>
  text.length > 150 ? `${text.slice(0, 150).replace(/\s\S*$/, '')} …` : text;

async function row(name: TextTaskName): Promise<string[]> {
  const { train, val, test } = await openTextTask(name);
  const { summary, kind, classes, metrics } = textTasks[name];
  const isClasses = kind === 'classification';
  const byLength = train.examples.slice(0, 10).sort((a, b) => inputText(a).length - inputText(b).length);
  const example = byLength[2]!;
  return [
    `\`${name}\``,
    summary,
    isClasses
      ? classes.length > 13
        ? String(classes.length)
        : `${classes.length}: ${classes.join(', ')}`
      : kind,
    numbers([train, val, test].map((d) => d.examples.length)),
    metrics.join(', '),
    isClasses ? percent(majorityRate(test)) : '–',
    isClasses ? percent(naiveBayes(train, test)) : '–',
    `${shorten(inputText(example).replace(/([*_<])/g, '\\$1'))} → ${example.target.replace('_', '\\_')}`,
  ];
}

const rows: string[][] = [];
for (const name of textSuite) rows.push(await row(name));
const tasks = table([
  ['task', 'what', 'classes', 'train / val / test', 'metrics', 'majority', 'naive Bayes', 'example'],
  Array<string>(8).fill('---'),
  ...rows,
]);

const sources: string[][] = [];
for (const source of ['wordnet', 'brown', 'spam', 'udhr'] as const) {
  const passages = await readCorpus(source);
  const of = (split: string) => passages.filter((p) => p.split === split);
  const words = passages.reduce((sum, { text }) => sum + text.split(/\s+/).length, 0);
  sources.push([
    `\`${source}\``,
    numbers(['train', 'val', 'test'].map((split) => of(split).length)),
    words.toLocaleString('en'),
  ]);
}
const corpora = table([
  ['source', 'passages in train / val / test', 'words'],
  ['---', '---', '---'],
  ...sources,
]);
const languages = textTasks.language.classes.join(', ');
const { file, wanted } = fill('docs/text-data.md', { tasks, corpora, languages }, 'npm run docs:text');
writeFileSync(root + file, wanted);
