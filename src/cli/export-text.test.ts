/** Runs on texts, exported and run by transformers.js, say what `attune predict` says. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { pipeline } from '@huggingface/transformers';
import { beforeAll, expect, test } from 'vitest';
import { run } from './cli.ts';
import { recorder } from './testing/fixtures.ts';

async function attune(...argv: string[]) {
  const { io, text } = recorder();
  expect(await run([...argv, '--json'], io), text.err).toBe(0);
  return JSON.parse(text.out);
}

let dir: string;
let data: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'attune-export-text-'));
  data = join(dir, 'reviews.csv');
  const rows = Array.from({ length: 60 }, (_, i) => {
    const good = i % 2 === 0;
    return `the ${['film', 'book', 'meal'][i % 3]} was ${good ? 'a joy' : 'a waste'} number ${i},${good ? 'good' : 'bad'}`;
  });
  await writeFile(data, `text,label\n${rows.join('\n')}\n`);
});
const texts = ['the film was a waste', 'a book is a joy', 'it was number 7, and quite a meal'];

/** A short run and its export. */
async function exported(model: string, method: string, ...flags: string[]) {
  const out = join(dir, `${model}-${method}`);
  await attune(
    ...['tune', '--model', `zoo:${model}`, '--method', method, '--data', data, '--out', out],
    ...['--max-length', '24', '--batch', '8', ...flags],
  );
  const { texts: predicted } = await attune('predict', ...texts, '--run', out);
  const { model: folder } = await attune('export', '--run', out);
  return { predicted, folder };
}
const load = { dtype: 'fp32', local_files_only: true } as const;

test.each([
  ['lora', ['--steps', '30', '--learning-rate', '0.01']],
  ['prompt-tuning', ['--steps', '5', '--length', '4']],
])('words-bert with %s classifies', async (method, flags) => {
  const { predicted, folder } = await exported('words-bert', method, ...flags);
  const classify = await pipeline('text-classification', folder, load);
  const out = (await classify(texts, { top_k: 2 })) as { label: string; score: number }[][];
  for (const [i, answers] of out.entries()) {
    const wanted = predicted[i].predictions as { label: string; probability: number }[];
    expect(answers.map(({ label }) => label)).toEqual(wanted.map(({ label }) => label));
    for (const [j, { score }] of answers.entries()) expect(score).toBeCloseTo(wanted[j]!.probability, 4);
  }
  await classify.dispose();
});

test('the program in the guide', async () => {
  const { predicted, folder } = await exported('words-bert', 'bitfit', '--steps', '20');
  const guide = await readFile('docs/export.md', 'utf8');
  const [, program] = /```js\n(import \{ pipeline.*?)```/s.exec(guide)!;
  await writeFile(join(dirname(folder), 'app.mjs'), program!);
  await symlink(resolve('node_modules'), join(dir, 'node_modules'));
  const { stdout } = await promisify(execFile)(process.execPath, ['app.mjs', texts[0]!], {
    cwd: dirname(folder),
  });
  expect(stdout).toContain(`label: '${predicted[0].predictions[0].label}'`);
});

// One by one: in a batch transformers.js goes on until all texts end in the same step.
test.each([
  ['words-t5', 'lora', ['--steps', '40', '--learning-rate', '0.01']],
  ['words-t5', 'prompt-tuning', ['--steps', '5', '--length', '4']],
  ['words-gpt', 'prefix-tuning', ['--steps', '5', '--length', '4']],
])('%s with %s writes', async (model, method, flags) => {
  const { predicted, folder } = await exported(model, method, ...flags);
  const decoder = model === 'words-gpt';
  const write = await pipeline(decoder ? 'text-generation' : 'text2text-generation', folder, load);
  for (const [i, text] of texts.entries()) {
    const asked = `text: ${text}${decoder ? ' answer:' : ''}`;
    const options = { max_new_tokens: 32, do_sample: false, return_full_text: false };
    const [out] = (await write(asked, options as never)) as { generated_text: string }[];
    expect(out!.generated_text.trim()).toBe(predicted[i].text);
  }
  await write.dispose();
});
