import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { constant, i64 } from '../graph/index.ts';
import { encodeSafetensors, loadTokenizer } from '../hub/index.ts';
import { gpt2, parseGpt2Config } from '../models/gpt2/index.ts';
import { parseT5Config, t5 } from '../models/t5/index.ts';
import { type Scope, trace } from '../nn/index.ts';
import { initParams } from '../train/index.ts';
import { run } from './cli.ts';
import { recorder } from './testing/fixtures.ts';

const tokenizers = join(import.meta.dirname, '../hub/testdata/language-tokenizer');
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-generate-'));
  const tokens = constant(i64([1], [1, 1]));
  const decoder = {
    model_type: 'gpt2',
    vocab_size: 360,
    n_embd: 16,
    n_head: 2,
    n_layer: 1,
    n_positions: 128,
  };
  const causal = gpt2(parseGpt2Config(decoder));
  await writeModel('gpt2', decoder, 'gpt2', (s) => causal.logits(s, causal.decode(s, { tokens }).last));
  const pairs = {
    model_type: 't5',
    vocab_size: 400,
    d_model: 16,
    d_kv: 8,
    d_ff: 16,
    num_heads: 2,
    num_layers: 1,
  };
  const seq2seq = t5(parseT5Config(pairs));
  await writeModel('t5', { ...pairs, eos_token_id: 1 }, 't5', (s) => {
    const memory = seq2seq.memory(s, seq2seq.encode(s, { tokens }).last);
    seq2seq.logits(s, seq2seq.decode(s, { tokens }, memory).last);
  });
});
afterAll(() => rm(root, { recursive: true }));

async function writeModel(name: string, config: object, tokenizer: string, build: (s: Scope) => unknown) {
  const folder = join(root, name);
  await cp(join(tokenizers, tokenizer), folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const weights = await initParams(trace('scratch', build).params, 3);
  await writeFile(join(folder, 'model.safetensors'), encodeSafetensors(weights));
}

async function attune(argv: string[], input = '') {
  const { io, text } = recorder(undefined, input);
  const code = await run(['generate', ...argv], io);
  return { code, ...text };
}

describe.each(['gpt2', 't5'])('%s', (name) => {
  const model = () => ['--model', join(root, name)];

  test('writes what --json says, from an argument or standard input; beams and seeds change it', async () => {
    const options = [...model(), '--max-new-tokens', '12'];
    const json = JSON.parse((await attune(['a café', ...options, '--json'])).out);
    const tokenizer = await loadTokenizer(join(root, name));
    expect(json).toMatchObject({ prompt: 'a café', model: join(root, name), ended: expect.any(Boolean) });
    expect(json.ids.length).toBe(json.ended ? json.ids.indexOf(tokenizer.eosId) + 1 : 12);
    if (name === 't5') expect(json.text).toBe(tokenizer.decode(json.ids));
    const plain = await attune(['a café', ...options]);
    expect(plain).toMatchObject({ code: 0, out: `${json.text}\n` });
    expect((await attune(options, 'a café\n')).out).toBe(plain.out);
    const beams = JSON.parse((await attune(['a café', ...options, '--beams', '3', '--json'])).out);
    expect(beams.score).toBeLessThan(0);
    const drawn = (seed: string) => attune(['a café', ...options, '--sample', '--seed', seed]);
    expect((await drawn('1')).out).toBe((await drawn('1')).out);
    expect((await drawn('1')).out).not.toBe((await drawn('2')).out);
  });
});

test('what is wrong on the command line is named', async () => {
  const model = ['--model', join(root, 'gpt2')];
  const fails = async (argv: string[], code: number, cause: string, input = '') => {
    const got = await attune(argv, input);
    expect([got.out, got.code]).toEqual(['', code]);
    expect(got.err).toContain(cause);
  };
  await fails(['x'], 2, "required option '-m, --model <spec>' not specified");
  await fails(model, 2, 'the prompt is empty', '\n');
  await fails(['x', ...model, '--top-p', '2'], 2, '--top-p: ');
  await fails(['x', ...model, '--sample', '--beams', '2'], 2, 'sample and beams exclude each other');
  await fails(['x', ...model, '--max-new-tokens', '200'], 1, "do not fit the model's context of 128");
  const bert = join(import.meta.dirname, '../models/bert/testdata/masked');
  await cp(bert, join(root, 'bert'), { recursive: true });
  await cp(join(tokenizers, 't5'), join(root, 'bert'), { recursive: true });
  await fails(['x', '--model', join(root, 'bert')], 1, 'the tokenizer has');
});
