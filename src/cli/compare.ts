import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Command, Option } from 'commander';
import { builtInSuite } from '../data/index.ts';
import { writeAtomic } from '../hub/index.ts';
import { methods, protocols, type StudySettings, type StudyTrial, study } from '../methods/index.ts';
import { escapeXml, svgOf } from './chart.ts';
import { cellOf, chartsOf, type Row, rowsOf } from './comparison.ts';
import { count, counts, list } from './flags.ts';
import { type Io, table, UsageError } from './io.ts';
import { parseMethod } from './method-spec.ts';
import { drain, Progress } from './progress.ts';

interface Flags extends Omit<StudySettings, 'methods'> {
  readonly methods: readonly string[];
  readonly out: string;
  readonly jobs?: number;
  readonly csv?: string;
  readonly html?: string;
  readonly json?: boolean;
}

export function compareCommand(io: Io): Command {
  const command = new Command('compare')
    .summary('methods side by side: data sets × shots × seeds under one protocol')
    .description(
      'Runs methods under one protocol and shows one table, in percent, mean ± deviation over seeds. All methods see the\n' +
        'same draw of images. A run that is finished is not repeated; an interrupted one goes on.',
    )
    .addOption(
      new Option(
        '--methods <a,b,…>',
        `of ${methods.map((m) => m.name).join(', ')}; options: coop:unified:epochs=20`,
      )
        .argParser(list)
        .default(['zero-shot', 'linear-probe', 'coop'], 'zero-shot,linear-probe,coop'),
    )
    .addOption(
      new Option(
        '-d, --data <x,y,…>',
        '`suite` for the eleven built-in sets, their names, folders, manifests',
      )
        .argParser(list)
        .default(['icons-unseen'], 'icons-unseen'),
    )
    .addOption(
      new Option('--shots <a,b,…>', 'training images a class')
        .argParser(counts)
        .default([1, 4, 16], '1,4,16'),
    )
    .addOption(
      new Option('--seeds <a,b,…>', 'draws and initial values').argParser(counts).default([1, 2, 3], '1,2,3'),
    )
    .addOption(
      new Option('--protocol <name>', 'what is trained and tested on (docs/protocols.md)')
        .choices(protocols)
        .default('few-shot'),
    )
    .addOption(
      new Option(
        '--targets <x,y,…>',
        'cross-dataset, domain-generalisation: other data to test on',
      ).argParser(list),
    )
    .option('--domain <name>', 'domain-generalisation: train on this domain (default: the largest)')
    .option(
      '-m, --model <spec>',
      'zoo:NAME, a folder, or owner/name of the Hugging Face Hub',
      'zoo:icon-clip',
    )
    .option('--csv <file>', 'write the table as CSV')
    .option('--html <file>', 'write the table and plots of accuracy against shots as one HTML file')
    .option('-o, --out <dir>', 'folder of the runs', 'runs/study')
    .option('--jobs <n>', `processes, one thread each (default: ${availableParallelism()})`, count(1))
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  attune compare --shots 1,2,4,8,16 --html compare.html\n' +
        '  attune compare --protocol base-to-new --methods zero-shot,coop,coop:epochs=200 --data suite --shots 16\n' +
        '  attune compare --protocol cross-dataset --data icons --targets animals,food --shots 16',
    )
    .action(async () => {
      const flags = command.opts<Flags>();
      const settings = settingsOf(flags);
      const progress = new Progress(io);
      const { out, jobs } = flags;
      const trials = await drain(study(settings, { out, jobs, signal: io.signal }), progress.study).finally(
        () => progress.clear(),
      );
      const rows = rowsOf(trials);
      const about = `${settings.model}, ${settings.protocol}, seeds ${settings.seeds.join(', ')}`;
      if (flags.csv !== undefined) await write(flags.csv, csvOf(rows));
      if (flags.html !== undefined) await write(flags.html, htmlOf(about, rows));
      io.out(
        flags.json
          ? `${JSON.stringify(summary(settings, rows, trials))}\n`
          : `\n${about}\n\n${textOf(rows)}\n`,
      );
    });
  return command;
}

/** Checks what the flags mean together, before anything is run. */
function settingsOf({
  protocol,
  model,
  methods,
  shots,
  seeds,
  targets,
  domain,
  ...flags
}: Flags): StudySettings {
  const empty = Object.entries({ methods, data: flags.data, shots, seeds }).find(
    ([, values]) => !values.length,
  );
  if (empty) throw new UsageError(`--${empty[0]} names nothing`);
  for (const [name, values] of Object.entries({ methods, shots, seeds, data: flags.data })) {
    const twice = [...values].find((v, i) => (values as readonly unknown[]).indexOf(v) !== i);
    if (twice !== undefined) throw new UsageError(`--${name} names ${twice} twice`);
  }
  if (shots.includes(0))
    throw new UsageError('--shots: at least one image a class; zero shots are --methods zero-shot');
  const shift = protocol === 'cross-dataset' || protocol === 'domain-generalisation';
  if (targets && !shift)
    throw new UsageError(`--targets goes with cross-dataset or domain-generalisation, not ${protocol}`);
  if (protocol === 'cross-dataset' && !targets?.length) {
    throw new UsageError('--protocol cross-dataset needs other data to test on: --targets a,b');
  }
  if (domain !== undefined && (protocol !== 'domain-generalisation' || targets)) {
    throw new UsageError('--domain goes with --protocol domain-generalisation without --targets');
  }
  const data = flags.data.flatMap((name): readonly string[] => (name === 'suite' ? builtInSuite : [name]));
  const overlap = targets?.find((target) => data.includes(target));
  if (overlap !== undefined) throw new UsageError(`--targets ${overlap} is also in --data`);
  return { protocol, model, methods: methods.map(parseMethod), data, shots, seeds, targets, domain };
}

async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeAtomic(file, [text]);
}

/** Tables with the same columns follow one another as one. */
function tablesOf(rows: readonly Row[]): { head: string[]; body: string[][] }[] {
  const tables: { head: string[]; body: string[][] }[] = [];
  for (const r of rows) {
    const head = ['data', 'shots', 'method', ...r.figures.map((f) => f.test)];
    const cells = [r.data, String(r.shots), r.method, ...r.figures.map((f) => cellOf(f.figure))];
    const last = tables.at(-1);
    if (last && String(last.head) === String(head)) last.body.push(cells);
    else tables.push({ head, body: [cells] });
  }
  return tables;
}

const textOf = (rows: readonly Row[]): string =>
  tablesOf(rows)
    .map(({ head, body }) => table([head, ...body]))
    .join('\n\n');

/** A line for each figure, as spreadsheets and plotting tools like it; accuracies as shares. */
function csvOf(rows: readonly Row[]): string {
  const quote = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = rows.flatMap((r) =>
    r.figures.flatMap(({ test, figure: f }) =>
      f
        ? [[r.data, String(r.shots), r.method, test, String(f.mean), String(f.std), String(f.values.length)]]
        : [],
    ),
  );
  return [['data', 'shots', 'method', 'test', 'mean', 'deviation', 'seeds'], ...lines]
    .map((line) => `${line.map(quote).join(',')}\n`)
    .join('');
}

function htmlOf(about: string, rows: readonly Row[]): string {
  const tag = (name: string) => (text: string) => `<${name}>${escapeXml(text)}</${name}>`;
  const tables = tablesOf(rows).map(
    ({ head, body }) =>
      `<table><thead><tr>${head.map(tag('th')).join('')}</tr></thead><tbody>` +
      `${body.map((cells) => `<tr>${cells.map(tag('td')).join('')}</tr>`).join('\n')}</tbody></table>`,
  );
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escapeXml(about)}</title>` +
    '<style>body{font:14px system-ui,sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}' +
    'td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}' +
    'td:first-child,td:nth-child(3),th:first-child,th:nth-child(3){text-align:left}svg{margin:0 1em 1em 0}</style>' +
    `<h1>Accuracy in percent</h1><p>${escapeXml(about)}; mean ± deviation over seeds</p>${tables.join('\n')}` +
    `${chartsOf(rows)
      .map((chart) => svgOf([chart]))
      .join('')}</html>\n`
  );
}

const summary = (settings: StudySettings, rows: readonly Row[], trials: readonly StudyTrial[]): object => ({
  ...settings,
  rows: rows.map(({ figures, ...row }) => ({
    ...row,
    figures: Object.fromEntries(
      figures.map(({ test, figure: f }) => [test, f ? { mean: f.mean, std: f.std, values: f.values } : null]),
    ),
  })),
  trials,
});
