import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readTable } from '../table.ts';
import { inputText } from './example.ts';
import { splitFiles } from './layout.ts';
import { openTextData, type TextOptions } from './open.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'text-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function write(files: Record<string, string>): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}
/** Opens one CSV file of these lines. */
async function csv(lines: string[], options: TextOptions = {}) {
  await write({ 'data.csv': lines.join('\n') });
  return openTextData(join(folder, 'data.csv'), options);
}
const jsonl = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join('\n');
const parquet = join(import.meta.dirname, 'testdata');

describe('one file', () => {
  test('with a column `split`', async () => {
    const {
      train,
      val,
      test: held,
      warnings,
    } = await csv([
      'split,text,label',
      'train,"good, really",pos',
      'train,bad,neg',
      'dev,fine,pos',
      'test,awful,neg',
    ]);
    expect(train).toEqual({
      name: 'data.csv',
      kind: 'classification',
      classes: ['neg', 'pos'],
      metrics: ['accuracy', 'macro-f1'],
      examples: [
        { id: 'data.csv:2', parts: { text: 'good, really' }, target: 'pos', label: 1 },
        { id: 'data.csv:3', parts: { text: 'bad' }, target: 'neg', label: 0 },
      ],
    });
    expect([val.examples[0]!.parts.text, held.examples[0]!.parts.text]).toEqual(['fine', 'awful']);
    expect(warnings).toEqual([]);
  });

  test('without splits: drawn by the seed, equal texts together, and said so', async () => {
    const lines = ['text,label', ...Array.from({ length: 100 }, (_, i) => `t${i % 50},${i % 2}`)];
    const first = await csv(lines);
    const sizes = [first.train, first.val, first.test].map((d) => d.examples.length);
    expect(sizes).toEqual([70, 10, 20]);
    expect(first.warnings).toEqual(['data.csv has no splits: 70 rows are train, 10 val, 20 test (seed 1)']);
    const texts = [first.train, first.val, first.test].map(
      (d) => new Set(d.examples.map((e) => e.parts.text)),
    );
    expect(new Set(texts.flatMap((t) => [...t])).size).toBe(texts[0]!.size + texts[1]!.size + texts[2]!.size);
    expect(await csv(lines)).toEqual(first);
    expect((await csv(lines, { seed: 2 })).test).not.toEqual(first.test);
  });

  test('columns that are named; classes that are numbers, in their order', async () => {
    const lines = [
      'split,a,b,y',
      ...['train', 'val', 'test'].flatMap((s) => [`${s},x${s},z,10`, `${s},y,w,9`]),
    ];
    const { train, warnings } = await csv(lines, { text: ['b', 'a'], label: 'y' });
    expect(inputText(train.examples[0]!)).toBe('b: z a: xtrain');
    expect([train.classes, train.examples[0]!.label]).toEqual([['9', '10'], 1]);
    expect(warnings).toEqual(['1 texts of test are also in train: data.csv:7']);
  });

  test('scores, and answers of which several are accepted', async () => {
    const scores = await csv([
      'split,sentence1,sentence2,score',
      ...['train', 'val', 'test'].map((s) => `${s},a,b,2.5`),
    ]);
    expect([scores.train.kind, scores.train.examples[0]!.score, scores.train.metrics[0]]).toEqual([
      'regression',
      2.5,
      'pearson',
    ]);
    const rows = ['train', 'val', 'test'].map((split) => ({
      split,
      question: 'Who?',
      context: 'Ann.',
      answers: { text: ['Ann', 'Anne'], answer_start: [0, 0] },
    }));
    await write({ 'qa.jsonl': jsonl(rows) });
    const { test: held } = await openTextData(join(folder, 'qa.jsonl'));
    expect(held).toMatchObject({ kind: 'text', metrics: ['exact-match', 'squad-f1'] });
    expect(held.examples[0]).toMatchObject({ target: 'Ann', answers: ['Ann', 'Anne'] });
    const forced = await openTextData(join(folder, 'qa.jsonl'), {
      label: 'context',
      kind: 'text',
      text: ['question'],
    });
    expect(forced.train.examples[0]!.target).toBe('Ann.');
  });

  test('TSV with loose quotes', async () => {
    const lines = ['train', 'val', 'test'].flatMap((s) => [`${s}\tthe "a\t0`, `${s}\tb${s}"\t1`]);
    await write({ 'data.tsv': ['split\tsentence\tlabel', ...lines].join('\n') });
    const { train } = await openTextData(join(folder, 'data.tsv'));
    expect(train.examples.map((e) => e.parts.sentence)).toEqual(['the "a', 'btrain"']);
  });

  test('faults name the file, the line and the way out', async () => {
    const bad = (lines: string[], options: TextOptions = {}) => expect(csv(lines, options)).rejects;
    await bad(['text,label', 'a,x,1']).toThrow(/data\.csv: .*columns length is 2, got 3 on line 2/);
    await bad(['txet,label', 'a,x']).toThrow(
      'data.csv has no column of text with a usual name (its columns are txet, label): name them as "text"',
    );
    await bad(['text,labell', 'a,x']).toThrow('has no column of labels with a usual name');
    await bad(['text,label', 'a,x'], { text: ['texts'] }).toThrow('no column "texts" (did you mean "text"?)');
    await bad(['text,label', 'a,x', ',y', 'c,']).toThrow(
      /2 of 3 rows are empty .*onEmptyRow skip.*\n {2}data\.csv, line 3 has an empty text\n {2}data\.csv, line 4 has an empty label/,
    );
    await bad(['text,label']).toThrow('data.csv has no rows to learn from');
    await bad(['text,label', 'a,x', 'b,x', 'c,x']).toThrow('data.csv has only the class "x"');
    await bad(['text,label', 'a,x']).toThrow('too few rows');
    await bad(['split,text,label', 'train,a,x', 'train,b,y', 'val,c,x', 'test,d,z']).toThrow(
      'data.csv:5: the class "z" is in no row of train',
    );
    await bad(['split,text,label', 'tets,a,x']).toThrow('line 2: "tets" is no split (did you mean "test"');
    await write({ 'data.jsonl': '{"text":"a","label":1}\n{"text":"b"}\nx' });
    await expect(openTextData(join(folder, 'data.jsonl'))).rejects.toThrow(/data\.jsonl: line 3 is not JSON/);
    await write({ 'data.jsonl': '{"text":"a","label":1}\n{"text":"b"}' });
    await expect(openTextData(join(folder, 'data.jsonl'))).rejects.toThrow('line 2 has no column "label"');
  });

  test('empty rows are left out where asked', async () => {
    const lines = ['text,label', ',x', ...Array.from({ length: 20 }, (_, i) => `t${i},${i % 2}`)];
    const { warnings } = await csv(lines, { onEmptyRow: 'skip' });
    expect(warnings[0]).toBe(
      'left out 1 empty rows: "data.csv, line 2 has an empty text"'.replaceAll('"', ''),
    );
  });
});

describe('a folder', () => {
  const row = (text: string, label: number | string) => ({ text, label });

  test('of Parquet as the Hub has it: class names of the file, hidden test labels, val from train', async () => {
    const { train, val, test: held, warnings } = await openTextData(parquet);
    expect(train.classes).toEqual(['negative', 'positive']);
    expect(held.examples).toEqual([
      {
        id: 'validation-00000-of-00001.parquet:1',
        parts: { sentence: 'lovely' },
        target: 'positive',
        label: 1,
      },
      {
        id: 'validation-00000-of-00001.parquet:2',
        parts: { sentence: 'awful' },
        target: 'negative',
        label: 0,
      },
    ]);
    expect([train.examples.length, val.examples.length]).toEqual([5, 1]);
    expect(warnings).toEqual([
      'the test rows of testdata have no labels and are not used',
      'testdata has no labelled test rows: its validation is test, 1 rows of train are val (seed 1)',
    ]);
    const texts = [...train.examples, ...val.examples].map((e) => e.parts.sentence);
    expect(texts).toContain('a delight — très bien');
  });

  test('of CSV and JSONL files by their names', async () => {
    await write({
      'train.jsonl': jsonl([row('a', 'x'), row('b', 'y')]),
      'dev.csv': 'text,label\nc,x\n',
      'test.jsonl': jsonl([row('d', 'y')]),
      'README.md': '#',
    });
    const { train, val, test: held } = await openTextData(folder);
    expect([train, val, held].map((d) => d.examples.map((e) => e.id))).toEqual([
      ['train.jsonl:1', 'train.jsonl:2'],
      ['dev.csv:2'],
      ['test.jsonl:1'],
    ]);
  });

  test('with the configurations of a benchmark, as a published task', async () => {
    for (const file of await readdir(parquet)) await cp(join(parquet, file), join(folder, 'sst2', file));
    await write({
      'rte/train.jsonl': jsonl([{ sentence1: 'a', sentence2: 'b', label: 0 }]),
      'rte/validation.jsonl': jsonl(
        [0, 1, 0].map((label, i) => ({ sentence1: `c${i}`, sentence2: 'd', label })),
      ),
    });
    await expect(openTextData(folder)).rejects.toThrow('several configurations: choose one of rte, sst2');
    const { train, val, test: held } = await openTextData(folder, { config: 'rte', format: 'rte' });
    expect(inputText(train.examples[0]!, train.prefix)).toBe('rte sentence1: a sentence2: b');
    expect([val.examples.length, held.examples.length]).toEqual([1, 2]);
    const keys = await openTextData(folder, { config: 'rte', format: 'rte', form: 'keys' });
    expect([keys.train.prefix, keys.train.classes]).toEqual([undefined, ['0', '1']]);
    expect((await openTextData(folder, { config: 'sst2' })).train.name).toMatch(/^text-.*\/sst2$/);
  });

  test('which files are which split', () => {
    const paths = [
      'README.md',
      'mnli/train-00000-of-00001.parquet',
      'mnli/validation_matched-00000-of-00001.parquet',
      'mnli/validation_mismatched-00000-of-00001.parquet',
      'mnli/test_matched-00000-of-00001.parquet',
    ];
    expect(splitFiles(paths, 'x')).toEqual({
      train: [paths[1]],
      validation_matched: [paths[2]],
      validation_mismatched: [paths[3]],
    });
    expect(splitFiles(['data/train-00001.csv', 'data/train-00000.csv', 'data/valid.csv'], 'x')).toEqual({
      train: ['data/train-00000.csv', 'data/train-00001.csv'],
      validation: ['data/valid.csv'],
    });
    expect(splitFiles(['default/train/0000.parquet', 'default/partial-test/0000.parquet'], 'x')).toEqual({
      train: ['default/train/0000.parquet'],
    });
    expect(() => splitFiles(['a.csv', 'training_notes.txt'], 'x')).toThrow(
      'x has no file that is called train, validation or test and ends in .csv, .tsv, .jsonl or .parquet (it has a.csv, training_notes.txt)',
    );
  });
});

test('a data set of the Hub comes by the download that is given', async () => {
  const asked: unknown[] = [];
  const download = async (...spec: unknown[]) => {
    asked.push(spec);
    return parquet;
  };
  const { train } = await openTextData('owner/films', { download });
  expect([train.name, asked]).toEqual(['owner/films', [['owner/films', undefined]]]);
});

test('a built-in task by its name; what is none is named with what there is', async () => {
  expect((await openTextData('fiction')).train.name).toBe('fiction');
  await expect(openTextData('fictoin')).rejects.toThrow(
    'no text data "fictoin" (did you mean "fiction"?): give gloss-class, part-of-speech,',
  );
  await expect(openTextData('owner/films')).rejects.toThrow('no text data "owner/films"');
  const file = join(await write({ 'a.txt': '' }), 'a.txt');
  await expect(openTextData(file)).rejects.toThrow('a.txt: not a .csv, .tsv, .jsonl or .parquet file');
});

test('Parquet: compressed by Snappy and by gzip', async () => {
  const [snappy, gzip] = await Promise.all(
    ['train-00000-of-00002', 'train-00001-of-00002'].map((name) =>
      readTable(join(parquet, `${name}.parquet`)),
    ),
  );
  expect(snappy!.rows[1]).toEqual({ line: 2, values: { sentence: 'dull and long', label: 0, idx: 1 } });
  expect(gzip!.rows[0]!.values.sentence).toBe('a delight — très bien');
  expect(gzip!.classNames).toEqual({ label: ['negative', 'positive'] });
});
