import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { writeAtomic } from '../hub/index.ts';
import {
  type Chart,
  findReproduction,
  type HeatMap,
  type Lab,
  type Reproduction,
  reproductions,
  study,
} from '../methods/index.ts';
import { svgOf } from './chart.ts';
import { type Io, table, UsageError } from './io.ts';
import { usage } from './methods.ts';
import { drain, Progress } from './progress.ts';

interface Flags {
  readonly quick?: boolean;
  readonly out?: string;
  readonly json?: boolean;
}

const folders = { full: 'docs/results', quick: 'runs/results', trials: 'runs/study' };

/** @param list which claims there are. */
export function reproduceCommand(io: Io, list = reproductions): Command {
  const names = Object.keys(list).join(', ');
  const command = new Command('reproduce')
    .summary("measure the claims of a method's paper")
    .description(
      'Measures the claims of a paper at small scale and says of each whether it holds. Writes SLUG.json and SLUG.svg.\n' +
        `Trainings that were measured before by the same code are reused (${folders.trials}).`,
    )
    .argument('[slug]', `one of ${names}`)
    .option('--quick', 'a smaller measurement, under a minute')
    .option(
      '-o, --out <dir>',
      `folder of the results (default: ${folders.full}; with --quick ${folders.quick})`,
    )
    .option('--json', 'one JSON object on standard output')
    .action(async (slug: string | undefined) => {
      const {
        json = false,
        quick = false,
        out = quick ? folders.quick : folders.full,
      } = command.opts<Flags>();
      if (slug === undefined) {
        throw new UsageError(`give one of ${names}`);
      }
      const reproduction = await usage(() => findReproduction(slug, list));
      const progress = new Progress(io);
      const lab: Lab = {
        quick,
        dir: join('runs', 'reproduce', slug),
        signal: io.signal,
        say: (text) => progress.say(text),
        study: (settings) =>
          drain(study(settings, { out: folders.trials, signal: io.signal }), progress.study),
      };
      const { charts, ...report } = await measure(reproduction, lab).finally(() => progress.clear());
      await mkdir(out, { recursive: true });
      await writeAtomic(join(out, `${slug}.json`), [`${JSON.stringify(report, null, 2)}\n`]);
      await writeAtomic(join(out, `${slug}.svg`), [svgOf(charts)]);
      io.out(json ? `${JSON.stringify(report)}\n` : text(report, out));
    });
  return command;
}

interface Report {
  readonly slug: string;
  readonly paper: string;
  readonly quick: boolean;
  readonly claims: readonly {
    readonly id: string;
    readonly statement: string;
    readonly measured: Readonly<Record<string, number>>;
    readonly holds: boolean;
    readonly note?: string;
  }[];
}

async function measure(
  { slug, paper, claims }: Reproduction,
  lab: Lab,
): Promise<Report & { charts: (Chart | HeatMap)[] }> {
  const charts: (Chart | HeatMap)[] = [];
  const found: Report['claims'][number][] = [];
  for (const { id, statement, measure } of claims) {
    lab.say(`(${id}) ${statement}`);
    const { chart, measured, holds, note } = await measure(lab);
    const broken = Object.entries(measured).find(([, value]) => !Number.isFinite(value));
    if (broken) throw new Error(`claim ${id} of ${slug} measured ${broken[1]} as "${broken[0]}"`);
    found.push({ id, statement, measured, holds, ...(note !== undefined && { note }) });
    if (chart) charts.push({ ...chart, title: `(${id}) ${chart.title}` });
  }
  return { slug, paper, quick: lab.quick, claims: found, charts };
}

function text({ slug, paper, claims, quick }: Report, out: string): string {
  const blocks = claims.map(({ id, statement, measured, holds, note }) => {
    const rows = Object.entries(measured).map(([name, value]) => [
      `    ${name}`,
      String(+value.toPrecision(4)),
    ]);
    const lines = [`(${id}) ${statement}`, `    ${holds ? 'holds' : 'does not hold'}`, table(rows)];
    return [...lines, ...(note ? [`    ${note}`] : [])].join('\n');
  });
  return (
    `\n${slug}: ${paper}${quick ? ' (quick)' : ''}\n\n${blocks.join('\n\n')}\n\n` +
    `${join(out, slug)}.json, ${join(out, slug)}.svg\n`
  );
}
