import { type Passage, readCorpus } from '../../data/text/corpus.ts';
import type { WordNetPassage } from '../../data/text/wordnet.ts';
import type { Tokenizer } from '../../hub/index.ts';
import { Random } from '../../runtime/index.ts';

const sources = ['wordnet', 'brown', 'spam', 'udhr'] as const;

/** Mails are cut here: behind it are quotes and attachments. */
const longest = 2000;

/** All passages of a split, shortened where they are very long. */
export async function passagesOf(split: Passage['split']): Promise<Passage[]> {
  const all: Passage[] = [];
  for (const source of sources) {
    for (const p of await readCorpus(source))
      if (p.split === split) all.push({ ...p, text: p.text.slice(0, longest) });
  }
  return all;
}

/** The ids of a text without the special tokens around it. */
export const bareIds = (tokenizer: Tokenizer, special: ReadonlySet<number>, text: string): number[] =>
  tokenizer.encode(text).filter((id) => !special.has(id));

/** Tokens of many texts in one array. */
export class TokenStore {
  private constructor(
    private readonly ids: Uint16Array,
    /** Where each text begins, and the end of the last. */
    private readonly starts: Uint32Array,
  ) {}

  static of(texts: readonly (readonly number[])[]): TokenStore {
    const starts = new Uint32Array(texts.length + 1);
    texts.forEach((ids, i) => {
      starts[i + 1] = starts[i]! + ids.length;
    });
    const ids = new Uint16Array(starts.at(-1)!);
    texts.forEach((own, i) => {
      ids.set(own, starts[i]!);
    });
    return new TokenStore(ids, starts);
  }

  get tokens(): number {
    return this.ids.length;
  }

  /** All texts in an order drawn from `seed` and `epoch`, with `between` after each, in one array. */
  stream(seed: number, epoch: number, between?: number): Uint16Array {
    const count = this.starts.length - 1;
    const extra = between === undefined ? 0 : count;
    const out = new Uint16Array(this.ids.length + extra);
    let at = 0;
    for (const i of new Random(seed, 'passages', epoch).permutation(count)) {
      out.set(this.ids.subarray(this.starts[i]!, this.starts[i + 1]!), at);
      at += this.starts[i + 1]! - this.starts[i]!;
      if (between !== undefined) out[at++] = between;
    }
    return out;
  }
}

/** Blocks of `length` tokens as a pure function of their number: every epoch cuts the stream of its own order. */
export class Blocks {
  readonly perEpoch: number;
  private current: { epoch: number; ids: Uint16Array } | undefined;

  constructor(
    private readonly store: TokenStore,
    private readonly length: number,
    private readonly seed: number,
    private readonly between?: number,
  ) {
    this.perEpoch = Math.floor(store.tokens / length);
  }

  at(block: number): number[] {
    const epoch = Math.floor(block / this.perEpoch);
    if (this.current?.epoch !== epoch) {
      this.current = { epoch, ids: this.store.stream(this.seed, epoch, this.between) };
    }
    const from = (block % this.perEpoch) * this.length;
    return Array.from(this.current.ids.subarray(from, from + this.length));
  }
}

/** A question and its answer, for models of pairs. */
export interface Exercise {
  readonly source: string;
  readonly target: string;
}

/**
 * Supervised text-to-text examples from WordNet beside the unsupervised objective, as T5 v1.0 had them: from words to definitions and
 * back, to what is above, and whether a definition is right. The tasks of the built-in suite are not among them.
 */
export function exercises(synsets: readonly WordNetPassage[]): (random: Random) => Exercise {
  const byId = new Map(synsets.map((s) => [s.id, s]));
  const pick = (random: Random) => synsets[random.int(synsets.length)]!;
  const word = ({ words }: WordNetPassage, random: Random) => words[random.int(words.length)]!;
  return (random) => {
    const synset = pick(random);
    const own = word(synset, random);
    const other = pick(random);
    switch (random.int(6)) {
      case 0:
        return { source: `define: ${own}`, target: synset.definition };
      case 1:
        return { source: `word: ${synset.definition}`, target: synset.words[0]! };
      case 2: {
        const above = synset.hypernyms.map((id) => byId.get(id)).find(Boolean);
        return above
          ? { source: `kind: ${own}`, target: above.words[0]! }
          : { source: `word: ${synset.definition}`, target: synset.words[0]! };
      }
      case 3: {
        const right = random.int(2) === 1 || other === synset;
        return {
          source: `correct: ${own} definition: ${(right ? synset : other).definition}`,
          target: right ? 'true' : 'false',
        };
      }
      case 4: {
        const [first, second] = random.int(2) ? [own, word(other, random)] : [word(other, random), own];
        return { source: `which: ${synset.definition} choice1: ${first} choice2: ${second}`, target: own };
      }
      default: {
        const example = synset.examples[0] ?? synset.definition;
        const words = example.split(' ');
        const gone = random.int(words.length);
        const blank = words.map((w, i) => (i === gone ? '_' : w)).join(' ');
        return { source: `missing: ${blank}`, target: words[gone]! };
      }
    }
  };
}
