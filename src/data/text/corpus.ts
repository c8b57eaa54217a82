/**
 * Texts for pretraining and for the built-in tasks, from packages of the npm registry.
 *
 * A passage's split is fixed by the name of its group (synset and its opposites, document, thread of mails, article in
 * all languages) and shared by all: a model that was pretrained on `train` has read no text that a task tests on.
 */
import { type BrownPassage, readBrown } from './brown.ts';
import { type MailPassage, readMails } from './mail.ts';
import { readUdhr, type UdhrPassage } from './udhr.ts';
import { readWordNet, type WordNetPassage } from './wordnet.ts';

export type Passage = WordNetPassage | BrownPassage | MailPassage | UdhrPassage;
type PassageOf<S extends Passage['source']> = Extract<Passage, { source: S }>;

const readers: { readonly [S in Passage['source']]: () => Promise<PassageOf<S>[]> } = {
  wordnet: readWordNet,
  brown: readBrown,
  spam: readMails,
  udhr: readUdhr,
};

const read = new Map<Passage['source'], Promise<Passage[]>>();

/**
 * All passages of a source, always in the same order; read once a process.
 * @throws with what to install, where the source's package is missing.
 */
export function readCorpus<S extends Passage['source']>(source: S): Promise<PassageOf<S>[]> {
  let passages = read.get(source);
  if (!passages) {
    passages = readers[source]();
    read.set(source, passages);
    passages.catch(() => read.delete(source));
  }
  return passages as Promise<PassageOf<S>[]>;
}
