import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Finding, Reproduction } from '../methods/index.ts';
import { svgOf, ticksOf } from './chart.ts';
import { run } from './cli.ts';
import { reproduceCommand } from './reproduce.ts';
import { recorder } from './testing/fixtures.ts';

let out: string;
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'attune-reproduce-'));
});
afterAll(() => rm(out, { recursive: true, force: true }));

const claim = (id: string, finding: Finding) => ({
  id,
  statement: `claim ${id}`,
  measure: async () => finding,
});
const points = [1, 16].map((x) => ({ x, y: x / 20, error: 0.01 }));
const chart = { title: 'A & B', xLabel: 'shots', yLabel: 'accuracy', series: [{ name: '<coop>', points }] };
const fake: Reproduction = {
  slug: 'fake',
  paper: 'Nobody, 2026',
  claims: [
    claim('a', { holds: true, measured: { gain: 0.123456 }, chart }),
    claim('b', { holds: false, measured: { gain: -1 }, note: 'too small' }),
  ],
};
const list = {
  fake: async () => fake,
  nan: async () => ({ ...fake, claims: [claim('a', { holds: true, measured: { x: Number.NaN } })] }),
};

test('says of each claim whether it holds, and writes figures and a picture', async () => {
  const { io, text } = recorder();
  const command = (...args: string[]) => reproduceCommand(io, list).parseAsync(args, { from: 'user' });
  await command('fake', '--out', out);
  expect(text.out).toContain('(a) claim a\n    holds\n    gain  0.1235');
  expect(text.out).toContain('(b) claim b\n    does not hold\n    gain  -1\n    too small');
  const written = await readFile(join(out, 'fake.json'), 'utf8');
  text.out = '';
  await command('fake', '--out', out, '--json');
  expect(JSON.parse(text.out)).toEqual(JSON.parse(written));
  expect(JSON.parse(text.out)).toMatchObject({
    slug: 'fake',
    claims: [
      { id: 'a', statement: 'claim a', measured: { gain: 0.123456 }, holds: true },
      { id: 'b', holds: false, note: 'too small' },
    ],
  });
  const svg = await readFile(join(out, 'fake.svg'), 'utf8');
  expect(svg).toMatch(/^<svg .*<\/svg>\n$/s);
  expect(svg).toContain('(a) A &#38; B');
  expect(svg).not.toContain('NaN');
  await expect(command('nan', '--out', out)).rejects.toThrow('claim a of fake measured NaN as "x"');
});

test('an unknown slug is an error of the command line', async () => {
  const { io, text } = recorder();
  expect(await run(['reproduce', 'cop'], io)).toBe(2);
  expect(text.err).toMatch(/There are no claims of "cop" \(did you mean "coop"\?\)|did you mean "coop"/);
  expect(await run(['reproduce'], io)).toBe(2);
});

test('charts: round ticks, bars over words from zero, nothing that is no number', () => {
  expect(ticksOf(0.113, 0.487)).toEqual([0.1, 0.2, 0.3, 0.4, 0.5]);
  expect(ticksOf(-0.03, 0.01)).toEqual([-0.03, -0.02, -0.01, 0, 0.01]);
  expect(ticksOf(0, 0)).toEqual([0, 0.2]);
  expect(svgOf([{ ...chart, series: [] }])).not.toMatch(/NaN|Infinity/);
  const bars = {
    ...chart,
    series: [
      {
        name: 's',
        points: [
          { x: 'a', y: 1 },
          { x: 'b', y: Number.NaN },
        ],
      },
    ],
  };
  const svg = svgOf([bars]);
  expect(svg.match(/<rect [^>]*height="[\d.]+" fill="#0072b2"/g)).toHaveLength(2);
  expect(svg).not.toContain('NaN');
});
