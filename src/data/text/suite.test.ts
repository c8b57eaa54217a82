import { expect, test } from 'vitest';
import { readCorpus } from './corpus.ts';
import { inputText, majorityRate, type TextSplits } from './example.ts';
import { openTextTask, type TextTaskName, textSuite, textTasks } from './suite.ts';
import { balanced, draw, select, shuffled, withoutNearCopies } from './tasks/task.ts';

const names = ['train', 'val', 'test'] as const;
const opened = new Map<TextTaskName, Promise<TextSplits>>();
function open(name: TextTaskName) {
  if (!opened.has(name)) opened.set(name, openTextTask(name));
  return opened.get(name)!;
}

test.each(textSuite)('%s: sizes, labels, and no text twice', async (name) => {
  const splits = await open(name);
  const all = names.flatMap((split) => splits[split].examples);
  expect(splits.train.examples.length).toBeGreaterThan(2000);
  expect(splits.train.examples.length).toBeLessThanOrEqual(4000);
  expect(splits.val.examples.length).toBeGreaterThan(250);
  expect(splits.val.examples.length).toBeLessThanOrEqual(500);
  expect(splits.test.examples.length).toBeGreaterThan(200);
  expect(splits.test.examples.length).toBeLessThanOrEqual(1000);
  const texts = all.map((e) => inputText(e));
  expect(new Set(texts).size).toBe(texts.length);
  expect(all.every((e) => e.target && Object.values(e.parts).every((text) => text.trim()))).toBe(true);
  for (const split of names) {
    const { kind, classes, examples } = splits[split];
    if (kind === 'classification') {
      expect(examples.every((e) => classes[e.label!] === e.target)).toBe(true);
      expect([...new Set(examples.map((e) => e.label))].length).toBe(classes.length);
    } else if (kind === 'regression') {
      expect(examples.every((e) => e.score! >= 0 && e.score! <= 5)).toBe(true);
    }
  }
});

test('where a task says nothing of its majority, its two classes are even', async () => {
  for (const name of [
    'is-a',
    'synonym',
    'same-sense',
    'fiction',
    'acceptability',
    'next-sentence',
  ] as const) {
    const { train, test } = await open(name);
    expect(majorityRate(train)).toBe(0.5);
    expect(Math.abs(majorityRate(test) - 0.5)).toBeLessThan(0.02);
  }
});

/** No text of a test may have been in pretraining, which reads the passages of train. */
test.each(['gloss-class', 'same-sense', 'gloss-match', 'lookup'] as const)(
  '%s tests on no definition or example of a training passage',
  async (name) => {
    const synsets = (await readCorpus('wordnet')).filter((s) => s.split === 'train');
    const known = new Set(synsets.flatMap((s) => [s.definition, ...s.examples].map((t) => t.toLowerCase())));
    const { test } = await open(name);
    const texts = test.examples.flatMap(({ parts }) => {
      const { word, context, ...rest } = parts;
      const glosses = context?.split('; ').map((gloss) => gloss.replace(/^[a-z]+: /, '')) ?? [];
      return [...Object.values(rest), ...glosses].map((t) => t!.toLowerCase());
    });
    expect(texts.filter((text) => known.has(text))).toEqual([]);
  },
);

test.each(['genre', 'fiction', 'part-of-speech', 'acceptability', 'next-sentence'] as const)(
  '%s tests on documents of its own',
  async (name) => {
    const splits = await open(name);
    const splitsOf = new Map<string, Set<string>>();
    for (const split of names) {
      for (const { id } of splits[split].examples) {
        const document = id.split('/')[0]!;
        splitsOf.set(document, (splitsOf.get(document) ?? new Set()).add(split));
      }
    }
    expect(splitsOf.size).toBeGreaterThan(200);
    expect([...splitsOf].filter(([, found]) => found.size > 1)).toEqual([]);
  },
);

test('is-a: a category is as often right as wrong, so that it alone tells nothing', async () => {
  const task = await textTasks['is-a'].candidates();
  const count = new Map<string, number>();
  for (const { split, parts, target } of task) {
    const key = `${split} ${parts.category}`;
    count.set(key, (count.get(key) ?? 0) + (target === 'yes' ? 1 : -1));
  }
  expect([...count.values()].filter((n) => Math.abs(n) > 1)).toEqual([]);
});

test('similarity is that of Wu and Palmer', async () => {
  const { train } = await open('similarity');
  const synsets = await readCorpus('wordnet');
  const byId = new Map(synsets.map((s) => [s.id, s]));
  const path = (id: string): string[] => {
    const up = byId.get(id)!.hypernyms[0];
    return up ? [...path(up), id] : [id];
  };
  for (const { id, parts, score } of train.examples.slice(0, 20)) {
    const other = synsets.filter(
      (s) => s.wordClass === 'noun' && `${s.words[0]}: ${s.definition}` === parts.sentence2,
    );
    const a = path(id);
    const scores = other.map((s) => {
      const b = path(s.id);
      const common = a.filter((x) => b.includes(x)).length;
      return Math.round((5 * (5 * 2 * common)) / (a.length + b.length)) / 5;
    });
    expect(scores.some((s) => Math.abs(s - score!) < 1e-9)).toBe(true);
  }
});

test('chance follows from keys alone: neither order nor other choices move it', () => {
  expect(draw('a', 1000)).toBe(draw('a', 1000));
  expect(shuffled(['x', 'y', 'z'], (s) => s)).toEqual(shuffled(['z', 'x', 'y'], (s) => s));
  const candidates = Array.from({ length: 40 }, (_, i) => ({
    id: String(i),
    split: 'test' as const,
    parts: { text: String(i) },
    target: i % 4 ? 'a' : 'b',
  }));
  const even = balanced(candidates, ['a', 'b'], () => 'all');
  expect([even.length, even.filter((c) => c.target === 'b').length]).toEqual([20, 10]);
  const task = { ...textTasks.fiction, classes: ['a', 'b'] };
  const examples = (list: typeof candidates) => select('t', task, list, 'test').examples;
  expect(examples(candidates.toReversed())).toEqual(examples(candidates));
});

test('near copies of training texts are not tested on', () => {
  const words = (from: number, n: number) => Array.from({ length: n }, (_, i) => `w${from + i}`).join(' ');
  const items = [
    { split: 'train', text: words(0, 20) },
    { split: 'train', text: words(0, 20) },
    { split: 'test', text: `X ${words(0, 20).toUpperCase()}!` },
    { split: 'val', text: `${words(0, 12)} ${words(50, 20)}` },
    { split: 'test', text: 'short' },
  ] as const;
  expect(withoutNearCopies(items, ({ text }) => text)).toEqual([items[0], items[1], items[3], items[4]]);
});
