import { fileURLToPath } from 'node:url';
import type { TextExample } from '../../data/index.ts';
import { i64 } from '../../graph/index.ts';
import { type LanguageModel, readLanguageModel, type Tokenizer } from '../../hub/index.ts';
import { Random } from '../../runtime/index.ts';

/** Small random models of `src/models`, by family. */
const folders = {
  bert: 'bert/testdata/classifier',
  roberta: 'bert/testdata/roberta-classifier',
  t5: 't5/testdata/v1.0',
  gpt2: 'gpt2/testdata/tied',
  llama: 'llama/testdata/llama3',
};
export type TinyFamily = keyof typeof folders;
export const tinyFamilies = Object.keys(folders) as TinyFamily[];

/** A random model with 48 tokens and few positions, and a tokenizer of whole words: 0 pads, 1 ends a text, 2 begins one. */
export async function tinyLanguage(family: TinyFamily): Promise<LanguageModel> {
  const folder = fileURLToPath(new URL(`../../models/${folders[family]}`, import.meta.url));
  const loaded = await readLanguageModel(folder);
  return { ...loaded, eosIds: [1], spec: family, tokenizer: wordTokenizer(loaded.kind === 'causal') };
}

/** The words that the tokenizer knows, in the order of their ids from 3 on. */
const words = 'answer: text: other: zero one two red green blue dog cat tree sun moon sky'.split(' ');

function wordTokenizer(bare: boolean): Tokenizer {
  const idOf = (word: string) => {
    const at = words.indexOf(word);
    return at < 0 ? undefined : at + 3;
  };
  const idsOf = (text: string): number[] => {
    const all = text.split(' ').filter(Boolean);
    const unknown = all.find((word) => idOf(word) === undefined);
    if (unknown) throw new Error(`the tiny tokenizer does not know "${unknown}"`);
    return all.map((word) => idOf(word)!);
  };
  const whole = (ids: number[]) => (bare ? ids : [2, ...ids, 1]);
  return {
    vocabSize: words.length + 3,
    maxLength: Number.POSITIVE_INFINITY,
    bosId: 2,
    eosId: 1,
    padId: 0,
    encode: (text) => whole(idsOf(text)),
    encodePair: (a, b) => {
      const [first, second] = [idsOf(a), idsOf(b)];
      const types = [...first, 0, 0].map(() => 0);
      return { ids: [2, ...first, 1, ...second, 1], types: [...types, ...second.map(() => 1), 1] };
    },
    encodeBatch: () => ({ ids: i64([], [0, 0]), lengths: [] }),
    decode: (ids) =>
      Array.from(ids, (id) => words[Number(id) - 3] ?? '')
        .join(' ')
        .trim(),
    idOf,
  };
}

export const tinyClasses = ['zero', 'one', 'two'];

/** Texts of three words, of which the first, a colour, decides the class. */
export function tinyTexts(count: number, seed: number): TextExample[] {
  const random = new Random(seed, 'tiny texts');
  const rest = ['dog', 'cat', 'tree', 'sun', 'moon', 'sky'];
  return Array.from({ length: count }, (_, i) => {
    const label = random.int(3);
    const text = [['red', 'green', 'blue'][label]!, rest[random.int(6)]!, rest[random.int(6)]!].join(' ');
    return { id: `${i}`, parts: { text }, target: tinyClasses[label]!, label };
  });
}
