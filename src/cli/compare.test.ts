import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StudyTrial } from '../methods/index.ts';
import { run } from './cli.ts';
import { cellOf, chartsOf, rowsOf } from './comparison.ts';
import { parseMethod } from './method-spec.ts';
import { recorder, writeColours, writeTinyClip } from './testing/fixtures.ts';

let dir: string;
const before = process.env.ATTUNE_CACHE;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'attune-compare-'));
  process.env.ATTUNE_CACHE = join(dir, 'cache');
  await writeTinyClip(join(dir, 'clip'));
  await writeColours(join(dir, 'colours'));
  await writeColours(join(dir, 'others'), 8);
}, 60_000);
afterAll(async () => {
  if (before === undefined) delete process.env.ATTUNE_CACHE;
  else process.env.ATTUNE_CACHE = before;
  await rm(dir, { recursive: true, force: true });
});

async function attune(...args: string[]) {
  const { io, text } = recorder();
  return { code: await run(['compare', ...args], io), ...text };
}
const place = () => ['--model', join(dir, 'clip'), '--out', join(dir, 'runs'), '--jobs', '1'];

describe('the command', () => {
  test('shows a table, writes CSV and HTML, and prints one JSON object', async () => {
    const [csv, html] = [join(dir, 'out', 'c.csv'), join(dir, 'out', 'c.html')];
    const data = ['--data', `${join(dir, 'colours')},${join(dir, 'others')}`];
    const same = [
      ...place(),
      ...data,
      '--methods',
      'zero-shot,coop:epochs=1',
      '--shots',
      '1,2',
      '--seeds',
      '1,2',
    ];
    const shown = await attune(...same, '--csv', csv, '--html', html);
    expect(shown.code, shown.err).toBe(0);
    expect(shown.out).toMatch(/few-shot, seeds 1, 2\n\ndata +shots +method +test\n/);
    expect(shown.out).toMatch(/average +2 +coop:epochs=1 +\d+\.\d ± \d+\.\d\n/);
    const lines = (await readFile(csv, 'utf8')).trim().split('\n');
    expect(lines).toHaveLength(1 + 3 * 2 * 2);
    expect(lines[0]).toBe('data,shots,method,test,mean,deviation,seeds');
    const page = await readFile(html, 'utf8');
    expect(page.match(/<svg /g)).toHaveLength(3);
    expect(page).not.toMatch(/NaN|src=|href=/);
    const again = await attune(...same, '--json');
    const { rows, trials, protocol } = JSON.parse(again.out);
    expect([protocol, rows.length, trials.length]).toEqual(['few-shot', 12, 16]);
    expect(rows[0].figures.test).toMatchObject({ mean: expect.any(Number), values: expect.any(Array) });
    expect(again.err).toBe('');
  }, 240_000);

  test.each([
    [['--methods', 'cop'], /There is no method "cop" \(did you mean "coop"\?\)/],
    [['--methods', 'coop:epoch=2'], /--methods coop:epoch=2: no option "epoch" \(did you mean "epochs"\?\)/],
    [['--methods', 'coop:epochs'], /epochs needs a value, epochs=…/],
    [['--methods', 'coop:epochs=-1'], /--methods coop:epochs=-1: epochs: /],
    [['--methods', 'coop:unified=2'], /unified is true or false, not "2"/],
    [['--methods', 'coop,coop'], /--methods names coop twice/],
    [['--shots', '0,1'], /zero shots are --methods zero-shot/],
    [['--shots', '1,x'], /"x" is no whole number/],
    [['--seeds', '1,1'], /--seeds names 1 twice/],
    [['--data', ','], /--data names nothing/],
    [['--protocol', 'cross-dataset'], /--targets a,b/],
    [['--targets', 'food'], /--targets goes with cross-dataset/],
    [['--domain', 'solid'], /--domain goes with --protocol domain-generalisation/],
    [
      ['--protocol', 'cross-dataset', '--data', 'food', '--targets', 'food'],
      /--targets food is also in --data/,
    ],
    [['--jobs', '0'], /from 1 on/],
  ])('%j is an error of the command line', async (args, message) => {
    const { code, err, out } = await attune(...args);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([2, '']);
  });

  test('a method holds its options under either name', () => {
    expect(parseMethod('coop:context-length=8:unified:classPosition=front')).toEqual({
      method: 'coop',
      options: { contextLength: 8, unified: true, classPosition: 'front' },
      label: 'coop:context-length=8:unified:classPosition=front',
    });
    expect(parseMethod('linear-probe:decays=0.1').options).toEqual({ decays: [0.1] });
  });
});

describe('what is shown', () => {
  const trial = (
    label: string,
    data: string,
    shots: number,
    seed: number,
    base: number,
    fresh: number | null,
  ) =>
    ({
      ...{ label, data, shots, seed, protocol: 'base-to-new', model: 'm', method: label, options: {} },
      tests: {
        base: { accuracy: base, images: 1, classes: 1 },
        new: { accuracy: fresh, images: 1, classes: 1 },
      },
      ...{ trainImages: 1, trainableParameters: 1, seconds: 1, runDir: '' },
    }) satisfies StudyTrial;
  const trials = ['x', 'y'].flatMap((data) => [
    trial('coop', data, 4, 1, data === 'x' ? 0.8 : 0.6, 0.5),
    trial('probe', data, 4, 1, 0.9, null),
  ]);

  test('base-to-new has H, of the averages in the last rows; a dash for what cannot be tested', () => {
    const rows = rowsOf(trials);
    expect(rows.map((r) => [r.data, r.method, ...r.figures.map((f) => cellOf(f.figure))])).toEqual([
      ['x', 'coop', '80.0', '50.0', '61.5'],
      ['x', 'probe', '90.0', '–', '–'],
      ['y', 'coop', '60.0', '50.0', '54.5'],
      ['y', 'probe', '90.0', '–', '–'],
      ['average', 'coop', '70.0', '50.0', '58.3'],
      ['average', 'probe', '90.0', '–', '–'],
    ]);
    expect(rows[0]!.figures.map((f) => f.test)).toEqual(['base', 'new', 'H']);
    const charts = chartsOf(rows);
    expect(charts.map((c) => c.title)).toContain('average: H');
    expect(charts.find((c) => c.title === 'x: new')!.series.map((s) => s.points.length)).toEqual([1, 0]);
  });
});
