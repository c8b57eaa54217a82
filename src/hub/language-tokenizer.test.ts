import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadTokenizer } from './tokenizer.ts';

const testdata = join(import.meta.dirname, 'testdata/language-tokenizer');
interface Golden {
  readonly text: string;
  readonly ids: number[];
  readonly decoded: string;
}

describe.each(['t5', 'llama', 'gpt2', 'qwen2'])('%s', async (name) => {
  const tokenizer = await loadTokenizer(join(testdata, name));
  const golden: Golden[] = JSON.parse(await readFile(join(testdata, name, 'golden.json'), 'utf8'));

  test.each(golden)('encodes and decodes $text as tokenizers', ({ text, ids, decoded }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(decoded);
  });

  test('knows the token that ends a text', () => {
    const ends = { t5: 1, llama: 2, gpt2: 0, qwen2: 0 };
    expect(tokenizer.eosId).toBe(ends[name as 't5']);
  });
});
