import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { run } from './cli.ts';

async function attune(args: readonly string[]) {
  const [out, err]: string[][] = [[], []];
  const io = {
    out: (text: string) => void out!.push(text),
    err: (text: string) => void err!.push(text),
    ...{ tty: false, input: async () => '', signal: new AbortController().signal },
  };
  const code = await run(args, io);
  return { code, out: out!.join(''), err: err!.join('') };
}

/** Reviews of two classes that a word decides. */
let dir: string;
let data: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'attune-text-'));
  data = join(dir, 'reviews.csv');
  const rows = Array.from({ length: 60 }, (_, i) => {
    const good = i % 2 === 0;
    return `the ${['film', 'book', 'meal'][i % 3]} was ${good ? 'a joy' : 'a waste'} number ${i},${good ? 'good' : 'bad'}`;
  });
  await writeFile(data, `text,label\n${rows.join('\n')}\n`);
});
const quick = ['--steps', '60', '--max-length', '16', '--batch', '16', '--learning-rate', '0.01'];

describe('attune tune on texts', () => {
  test('trains, predicts, evaluates, and reports a finished run again', async () => {
    const out = join(dir, 'run');
    const args = ['tune', '--method', 'lora', '--data', data, ...quick, '--out', out];
    const first = await attune([...args, '--json']);
    expect(first.code).toBe(0);
    const result = JSON.parse(first.out);
    expect(result).toMatchObject({
      method: 'lora',
      model: 'zoo:words-bert',
      texts: { train: 42, val: 6, test: 12 },
    });
    expect(result.scores.accuracy).toBeGreaterThan(0.9);
    expect(result.warnings.join()).toContain('has no splits');

    const predicted = await attune(['predict', 'the film was a waste', '--run', out, '--json']);
    const [answer] = JSON.parse(predicted.out).texts;
    expect(answer.text).toBe('bad');
    expect(answer.predictions[0].probability).toBeGreaterThan(0.5);

    const evaluated = await attune(['eval', '--run', out, '--json']);
    expect(JSON.parse(evaluated.out).scores).toEqual(result.scores);
    const merged = join(dir, 'merged');
    expect((await attune(['export', '--run', out, '--format', 'safetensors', '--out', merged])).out).toBe(
      `${merged}\n`,
    );
    const config = JSON.parse(await readFile(join(merged, 'config.json'), 'utf8'));
    expect(config.id2label).toEqual({ 0: 'bad', 1: 'good' });
    expect(JSON.parse((await attune([...args, '--resume', '--json'])).out)).toEqual(result);
    expect((await attune(args)).err).toContain('already holds this run');
  });

  test.each([
    [['--data', '/nowhere.csv'], 1, 'no text data "/nowhere.csv"'],
    [['--model', '/nowhere'], 1, '/nowhere'],
    [['--rank', 'two'], 2, '--rank'],
    [['--targets', 'nothing'], 1, '"nothing" names no matrix'],
  ])('%j is refused', async (flags, code, message) => {
    const { code: got, err } = await attune([
      'tune',
      '--method',
      'lora',
      '--data',
      data,
      ...quick,
      '--out',
      join(dir, 'bad'),
      ...flags,
    ]);
    expect(err).toContain(message);
    expect(got).toBe(code);
  });

  test('a method that is not defined for the kind of model says so', async () => {
    const { err } = await attune([
      'tune',
      '--method',
      'dept',
      '--data',
      data,
      '--length',
      '200',
      '--out',
      join(dir, 'bad2'),
    ]);
    expect(err).toContain('shorten the prompt, or give a rank');
  });

  test('MPT: one prompt of several tasks, and a task that begins from it', async () => {
    const model = ['--model', 'zoo:words-t5', '--length', '2'];
    const teachers = ['a', 'b'].map((name) => join(dir, `teacher-${name}`));
    for (const [i, out] of teachers.entries()) {
      const args = [
        'tune',
        '--method',
        'prompt-tuning',
        ...model,
        '--data',
        data,
        '--seed',
        String(i),
        '--count',
        '16',
      ];
      expect((await attune([...args, ...quick, '--steps', '2', '--out', out])).code).toBe(0);
    }
    const shared = join(dir, 'shared');
    const source = [
      'multitask',
      '--teachers',
      teachers.join(','),
      '--out',
      shared,
      '--steps',
      '3',
      '--batch',
      '4',
    ];
    const { code, out } = await attune([...source, '--max-length', '16', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ dir: shared, tasks: [data, data], options: { lambda: 0.9 } });
    expect((await attune(source)).err).toContain('is not empty');
    const args = [
      'tune',
      '--method',
      'mpt',
      ...model,
      '--data',
      data,
      '--source',
      shared,
      ...quick,
      '--steps',
      '2',
    ];
    const target = await attune([...args, '--out', join(dir, 'target'), '--json']);
    expect(JSON.parse(target.out)).toMatchObject({ method: 'mpt', trainableParameters: 2 * 192 + 2 + 192 });
    const bad = ['multitask', '--teachers', join(dir, 'run'), '--out', join(dir, 'none')];
    expect((await attune(bad)).err).toContain('a source of MPT is a run of prompt-tuning');
  });
});
