/** The built-in text tasks: small, made from packages of the npm registry, with splits that keep groups of texts whole. */
import type { SplitName } from '../files.ts';
import type { TextSplits } from './example.ts';
import { acceptability, fiction, genre, nextSentence, partOfSpeech } from './tasks/brown.ts';
import { language, spam } from './tasks/others.ts';
import { select, type TextTask } from './tasks/task.ts';
import {
  entailment,
  glossClass,
  glossMatch,
  isA,
  lookup,
  sameSense,
  similarity,
  synonym,
} from './tasks/wordnet.ts';

export const textTasks = {
  'gloss-class': glossClass,
  'part-of-speech': partOfSpeech,
  genre,
  fiction,
  acceptability,
  spam,
  language,
  'is-a': isA,
  synonym,
  'same-sense': sameSense,
  'gloss-match': glossMatch,
  entailment,
  'next-sentence': nextSentence,
  similarity,
  lookup,
} satisfies Record<string, TextTask>;

export type TextTaskName = keyof typeof textTasks;
export const textSuite = Object.keys(textTasks) as TextTaskName[];

export const isTextTask = (name: string): name is TextTaskName => Object.hasOwn(textTasks, name);

/** The examples of a built-in task, always the same. What stands in two places stays in train, or in val. */
export async function openTextTask(name: TextTaskName): Promise<TextSplits> {
  const task: TextTask = textTasks[name];
  const candidates = await task.candidates();
  const seen = new Set<string>();
  const of = (split: SplitName) => {
    const own = candidates.filter((c) => c.split === split);
    const fresh = own.filter(({ parts }) => {
      const text = JSON.stringify(Object.values(parts)).toLowerCase();
      return !seen.has(text) && seen.add(text);
    });
    return select(name, task, fresh, split);
  };
  return { train: of('train'), val: of('val'), test: of('test'), warnings: [] };
}
