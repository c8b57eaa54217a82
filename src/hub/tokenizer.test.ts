import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { trainBpe, writeClipTokenizer } from './bpe.ts';
import { clipTokenizer, loadTokenizer } from './tokenizer.ts';

const testdata = join(import.meta.dirname, 'testdata/tokenizer');
const golden = JSON.parse(await readFile(join(testdata, 'golden.json'), 'utf8')) as {
  maxLength: number;
  texts: string[];
  variants: Record<
    string,
    {
      files?: Record<string, object>;
      size: number;
      pad: number;
      ids: number[][];
      decoded: string[];
      batch: number[][];
    }
  >;
};

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'tokenizer-'));
});
afterAll(() => rm(scratch, { recursive: true }));

async function folderOf(name: string): Promise<string> {
  const { files } = golden.variants[name]!;
  if (!files) return join(testdata, name);
  const folder = join(scratch, name);
  await mkdir(folder);
  if (!files['tokenizer.json']) {
    for (const file of ['vocab.json', 'merges.txt']) await cp(join(testdata, file), join(folder, file));
  }
  for (const [file, content] of Object.entries(files)) {
    await writeFile(join(folder, file), JSON.stringify(content));
  }
  return folder;
}

describe('as transformers tokenizes', () => {
  test.each(Object.keys(golden.variants))('%s', async (name) => {
    const expected = golden.variants[name]!;
    const tokenizer = await loadTokenizer(await folderOf(name));
    expect(tokenizer.vocabSize).toBe(expected.size);
    expect(tokenizer.padId).toBe(expected.pad);
    golden.texts.forEach((text, i) => {
      expect([text, tokenizer.encode(text)]).toEqual([text, expected.ids[i]]);
      expect([text, tokenizer.decode(expected.ids[i]!)]).toEqual([text, expected.decoded[i]]);
    });
    const { ids, lengths } = tokenizer.encodeBatch(golden.texts, { maxLength: golden.maxLength });
    expect(ids.shape).toEqual([golden.texts.length, golden.maxLength]);
    expect(Array.from(ids.data, Number)).toEqual(expected.batch.flat());
    expect(lengths).toEqual(expected.ids.map((row) => Math.min(row.length, golden.maxLength)));
  });
});

describe('batches', () => {
  const tokenizer = clipTokenizer(trainBpe(['a cat', 'a cat'], { vocabSize: 520 }));

  test('pad to the longest, or to a given length; the end token stays last', () => {
    const texts = ['a', 'a cat a cat a cat'];
    const { ids, lengths } = tokenizer.encodeBatch(texts, { maxLength: 5 });
    expect(ids.shape).toEqual([2, 5]);
    expect(lengths).toEqual([3, 5]);
    expect(Number(ids.data[9])).toBe(tokenizer.eosId);
    expect(Number(ids.data[0])).toBe(tokenizer.bosId);
    expect(tokenizer.encodeBatch(texts, { padTo: 77 }).ids.shape).toEqual([2, 77]);
    expect(tokenizer.encodeBatch(texts, { padTo: 4 }).ids.shape).toEqual([2, 4]);
    expect(tokenizer.encodeBatch(['a '.repeat(200)]).ids.shape).toEqual([1, 77]);
    expect(tokenizer.encodeBatch([]).ids.shape).toEqual([0, 0]);
  });

  test('a length without room for the special tokens is rejected', () => {
    expect(() => tokenizer.encodeBatch(['a'], { maxLength: 1 })).toThrow('no room');
    expect(() => tokenizer.encodeBatch(['a'], { maxLength: Number.NaN })).toThrow('no room');
  });

  test('decoding nothing gives nothing', () => expect(tokenizer.decode([])).toBe(''));
});

describe('training', () => {
  const corpus = golden.texts.filter((text) => !text.includes('|'));
  const repeated = [...corpus, ...corpus];

  test('is deterministic and writes the committed files', async () => {
    const folder = process.env.UPDATE_TESTDATA ? join(testdata, 'trained') : join(scratch, 'again');
    await writeClipTokenizer(folder, trainBpe(repeated, { vocabSize: 600 }));
    const names = [
      'tokenizer.json',
      'tokenizer_config.json',
      'special_tokens_map.json',
      'vocab.json',
      'merges.txt',
    ];
    for (const name of names) {
      const [got, committed] = await Promise.all(
        [folder, join(testdata, 'trained')].map((dir) => readFile(join(dir, name), 'utf8')),
      );
      expect(got, name).toBe(committed);
    }
  });

  test('merges the most frequent pair first and stops when nothing repeats', () => {
    const { vocab, merges } = trainBpe(['lower lower low', 'newest'], { vocabSize: 1000 });
    expect(merges.slice(0, 2)).toEqual([
      ['l', 'o'],
      ['w', 'e'],
    ]);
    expect(Object.keys(vocab)).toHaveLength(512 + merges.length + 2);
    expect([vocab['!'], vocab['"'], vocab['!</w>']]).toEqual([0, 1, 256]);
    const tokenizer = clipTokenizer({ vocab, merges });
    expect(tokenizer.encode('Lower')).toEqual([tokenizer.bosId, vocab['lower</w>'], tokenizer.eosId]);
  });

  test('overlapping pairs are counted as they are merged', () => {
    const { merges } = trainBpe(['aaaa aaaa aaab'], { vocabSize: 515 });
    expect(merges).toEqual([['a', 'a']]);
  });

  test('a vocabulary too small for the bytes is rejected', () => {
    expect(() => trainBpe(['a'], { vocabSize: 513 })).toThrow('at least 514 tokens');
    expect(() => trainBpe(['a'], { vocabSize: 514.5 })).toThrow('at least 514 tokens');
  });
});

describe('troubles are named', () => {
  test('a folder without a tokenizer lists what it holds', async () => {
    const folder = join(scratch, 'empty');
    await mkdir(folder);
    await expect(loadTokenizer(folder)).rejects.toThrow('found: nothing');
    await writeFile(join(folder, 'vocab.json'), '{}');
    await expect(loadTokenizer(folder)).rejects.toThrow(/no tokenizer.json, .* \(found: vocab.json\)/);
  });

  test('byte pairs of another family are not taken for CLIP', async () => {
    const folder = join(scratch, 'gpt2');
    await mkdir(folder);
    await writeFile(join(folder, 'vocab.json'), '{"a":0}');
    await writeFile(join(folder, 'merges.txt'), '');
    await expect(loadTokenizer(folder)).rejects.toThrow("no tokenizer.json, nor CLIP's vocab.json");
  });

  test('broken JSON names its file', async () => {
    const folder = join(scratch, 'broken');
    await mkdir(folder);
    await writeFile(join(folder, 'tokenizer.json'), '{"model":');
    await expect(loadTokenizer(folder)).rejects.toThrow(/tokenizer.json: not valid JSON/);
    await writeFile(join(folder, 'tokenizer.json'), '[]');
    await expect(loadTokenizer(folder)).rejects.toThrow(/tokenizer.json: must hold a JSON object/);
  });
});
