import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadTokenizer, trainByteBpe, writeByteTokenizer } from '../../hub/index.ts';
import { Random } from '../../runtime/index.ts';
import { corruptSpans, maskTokens } from './objectives.ts';
import { Blocks, exercises, TokenStore } from './words-text.ts';

const random = () => new Random(1, 'words test');

describe('span corruption', () => {
  const ids = Array.from({ length: 20 }, (_, i) => 100 + i);
  const sentinel = (i: number) => 1 + i;
  test('source and target together are the text, and sentinels say where', () => {
    for (let seed = 0; seed < 50; seed++) {
      const { source, target } = corruptSpans(ids, 6, 3, sentinel, new Random(seed, 'spans'));
      expect(source).toHaveLength(20 - 6 + 3);
      expect(target).toHaveLength(6 + 3);
      const hidden = new Map<number, number[]>();
      let at = 0;
      for (const id of target) {
        if (id <= 3) {
          hidden.set(id, []);
          at = id;
        } else hidden.get(at)!.push(id);
      }
      expect([...hidden.keys()]).toEqual([1, 2, 3]);
      expect(source.flatMap((id) => hidden.get(id) ?? [id])).toEqual(ids);
      // As in the released code, the text begins with what is kept, and no span is empty.
      expect(source[0]).toBe(100);
      expect(Math.min(...[...hidden.values()].map((span) => span.length))).toBeGreaterThan(0);
    }
  });
});

test('masking: places are distinct and allowed; 80 % a mask, 10 % another token, 10 % as it was', () => {
  const ids = Array.from({ length: 1000 }, (_, i) => 50 + (i % 40));
  const allowed = ids.map((_, i) => i).filter((i) => i % 2 === 0);
  const counts = { mask: 0, same: 0, other: 0 };
  for (let seed = 0; seed < 20; seed++) {
    const {
      ids: read,
      places,
      labels,
    } = maskTokens(ids, allowed, 150, { maskId: 3, tokens: [4, 5000] }, new Random(seed, 'mask'));
    expect(new Set(places).size).toBe(150);
    expect(places.every((p) => p % 2 === 0)).toBe(true);
    expect(labels).toEqual(places.map((p) => ids[p]));
    for (const p of places) counts[read[p] === 3 ? 'mask' : read[p] === ids[p] ? 'same' : 'other']++;
    const kept = read.filter((id, i) => !places.includes(i) && id !== ids[i]);
    expect(kept).toEqual([]);
  }
  for (const [what, share] of [
    ['mask', 0.8],
    ['same', 0.1],
    ['other', 0.1],
  ] as const) {
    expect(Math.abs(counts[what] / 3000 - share), what).toBeLessThan(0.02);
  }
});

test('blocks cut each epoch anew from all texts in another order, as a function of their number', () => {
  const store = TokenStore.of([
    [1, 2, 3],
    [4, 5],
    [6, 7, 8, 9],
  ]);
  const blocks = new Blocks(store, 3, 7);
  expect(blocks.perEpoch).toBe(3);
  const epoch = (e: number) => [0, 1, 2].flatMap((i) => blocks.at(3 * e + i));
  const first = epoch(0);
  expect([...first].sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const others = [1, 2, 3, 4].map(epoch);
  expect(others.some((own) => String(own) !== String(first))).toBe(true);
  expect(new Blocks(store, 3, 7).at(10)).toEqual(blocks.at(10));
  expect(new Blocks(store, 4, 7, 0).at(0).filter((id) => id === 0).length).toBeGreaterThan(0);
});

test('exercises ask what WordNet can answer', () => {
  const synset = (id: string, words: string[], definition: string, hypernyms: string[] = []) => ({
    ...{ id, source: 'wordnet' as const, text: '', split: 'train' as const, wordClass: 'noun' as const },
    ...{ category: 'noun.animal', words, definition, examples: [], hypernyms, antonyms: [] },
  });
  const draw = exercises([
    synset('n1', ['animal'], 'a living being'),
    synset('n2', ['dog'], 'a friend that barks', ['n1']),
  ]);
  const own = random();
  const drawn = Array.from({ length: 200 }, () => draw(own));
  const asked = new Map(drawn.map(({ source, target }) => [source, target]));
  expect(asked.get('define: dog')).toBe('a friend that barks');
  expect(asked.get('word: a living being')).toBe('animal');
  expect(asked.get('kind: dog')).toBe('animal');
  expect(asked.get('correct: dog definition: a friend that barks')).toBe('true');
  expect(asked.get('correct: dog definition: a living being')).toBe('false');
  expect(asked.get('missing: a friend that _')).toBe('barks');
});

test('a byte-level vocabulary: lower case, any text comes back, special tokens are one, pairs have types', async () => {
  const special = {
    first: ['[PAD]', '[CLS]', '[SEP]', '[MASK]'],
    single: ['[CLS]', 'A', '[SEP]'],
    pair: ['[CLS]', 'A', '[SEP]', 'B', '[SEP]'],
    roles: { pad_token: '[PAD]' },
  };
  const vocabulary = trainByteBpe(['The dog and the dogs', 'the dog'], special, 270);
  expect(vocabulary.merges[0]).toEqual(['d', 'o']);
  const folder = await mkdtemp(join(tmpdir(), 'attune-words-'));
  await writeByteTokenizer(folder, vocabulary, special, 32);
  const tokenizer = await loadTokenizer(folder);
  expect(tokenizer.vocabSize).toBe(Object.keys(vocabulary.vocab).length);
  for (const text of ['the dog', 'Ein Hündchen: 犬!', 'a\nb']) {
    expect(tokenizer.decode(tokenizer.encode(text)).trim()).toBe(text.toLowerCase());
  }
  expect(tokenizer.encode('the [MASK]').at(-2)).toBe(3);
  const { ids, types } = tokenizer.encodePair('the dog', 'dogs');
  expect(ids.filter((id) => id === 2)).toHaveLength(2);
  expect(types).toEqual(ids.map((_, i) => Number(i > ids.indexOf(2))));
  const cut = tokenizer.encodePair('the dog and the dog and the dog', 'dogs', 8);
  expect(cut.ids).toHaveLength(8);
  expect([cut.ids[0], cut.ids.at(-1)]).toEqual([1, 2]);
  expect(cut.types.at(-1)).toBe(1);
  expect(() => trainByteBpe(['a'], special, 100)).toThrow('256 bytes and the special tokens alone are 260');
});
