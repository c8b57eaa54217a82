import { basename, join } from 'node:path';
import { Command } from 'commander';
import { corruptionNames, findCorruptions } from '../data/index.ts';
import { InterruptedError } from '../methods/index.ts';
import type { Report } from '../methods/open-set-tta/metrics.ts';
import { hosts, requireConsistent } from '../methods/open-set-tta/options.ts';
import { type AdaptResult, adaptClassifier, adaptOptions } from '../methods/open-set-tta/run.ts';
import { addFlags, checkFlags, givenFlags } from './flags.ts';
import { type Io, percent, requireFresh, table, UsageError } from './io.ts';
import { usage } from './methods.ts';
import { drain, Progress } from './progress.ts';

export function adaptCommand(io: Io): Command {
  const command = new Command('adapt')
    .summary('adapt a trained classifier to a stream of unlabelled images while it predicts them')
    .description(
      'Predicts a stream of images with a classifier of attune train that learns from them, without labels, and compares it\n' +
        'with the same classifier left alone. Labels, where there are any, are for the report (docs/methods/open-set-tta.md).',
    )
    .requiredOption('--run <dir>', 'the run folder of attune train')
    .option('-o, --out <dir>', 'run folder (default: runs/adapt-RUN-METHOD-seedSEED)')
    .option('--resume', 'continue at the domain that was not finished')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `\nMethods:\n${table(Object.entries(hosts).map(([name, { summary }]) => [`  ${name}`, summary]))}\n\n` +
        `Corruptions: ${corruptionNames.join(', ')}\n\n` +
        'Examples:\n  attune train --network lenet-bn --learning-rate 0.1 --rounds 5 --out runs/digits\n' +
        '  attune adapt --run runs/digits --unknown weather --filter --rounds 5\n' +
        '  attune adapt --run runs/digits --stream ./cameras --method eata --filter',
    )
    .action(async () => {
      const flags = command.opts<{ run: string; out?: string; resume?: boolean; json?: boolean }>();
      const settings = checkFlags(adaptOptions, givenFlags(command, adaptOptions));
      usage(() => requireConsistent(settings));
      usage(() => findCorruptions(settings.corruptions));
      for (const name of ['corruptions', 'severity', 'images', 'unknown', 'data']) {
        if (settings.stream && command.getOptionValueSource(name) === 'cli')
          throw new UsageError(`--stream takes the place of --${name}: give one of them`);
      }
      const { method, filter, seed } = settings;
      const name = `adapt-${basename(flags.run)}-${method}${filter ? '-filter' : ''}-seed${seed}`;
      const dir = flags.out ?? join('runs', name);
      await requireFresh(dir, flags.resume);
      const progress = new Progress(io);
      const run = { dir, resume: flags.resume ?? false, signal: io.signal };
      const result = await drain(adaptClassifier(flags.run, settings, run), (event) => {
        if (event.type === 'stage') progress.say(event.text);
        else if (event.type === 'warning') progress.say(`warning: ${event.text}`);
        else if (event.type === 'resumed')
          progress.say(`  resumed after ${event.domains} of ${event.of} domains`);
        else if (event.type === 'domain')
          progress.say(`  round ${event.round + 1}, ${event.domain}: ${brief(event.report)}`);
        else progress.update('batch', event.done, event.total, undefined, `, ${event.domain}`);
      }).finally(() => progress.clear());
      if (!result) throw new InterruptedError('interrupted; continue with the same command and --resume');
      io.out(flags.json ? `${JSON.stringify(result)}\n` : text(result));
    });
  addFlags(command, adaptOptions, 'Options:');
  return command;
}

const brief = ({ error, frozenError, images }: Report): string =>
  error === undefined
    ? `${images} images predicted`
    : `error ${percent(error)}${frozenError === undefined ? '' : `, left alone ${percent(frozenError)}`}`;

/** Columns that at least one report has. */
function reportTable(first: string, rows: readonly (readonly [string, Report])[]): string {
  const columns: [string, (r: Report) => number | undefined][] = [
    ['left alone', (r) => r.frozenError],
    ['adapted', (r) => r.error],
    ['AUROC', (r) => r.energy?.auroc],
    ['FPR95', (r) => r.energy?.fpr95],
    ['OSCR', (r) => r.energy?.oscr],
    ['kept: correct', (r) => r.filter?.keptCorrect],
    ['others', (r) => r.filter?.keptNoisy],
  ];
  const shown = columns.filter(([, of]) => rows.some(([, report]) => of(report) !== undefined));
  return table([
    [first, ...shown.map(([name]) => name)],
    ...rows.map(([name, report]) => [
      name,
      ...shown.map(([, of]) => {
        const value = of(report);
        return value === undefined ? '–' : percent(value);
      }),
    ]),
  ]);
}

function text({ runDir, rounds }: AdaptResult): string {
  const last = rounds.at(-1)!;
  const domains = [...last.domains.map((d) => [d.domain, d.report] as const), ['mean', last.mean] as const];
  const labelled = last.mean.error !== undefined;
  const parts = [
    ...(labelled
      ? [`Error on known classes, round ${rounds.length} of ${rounds.length}`, reportTable('domain', domains)]
      : []),
    ...(labelled && rounds.length > 1
      ? [
          'Over rounds',
          reportTable(
            'round',
            rounds.map(({ mean }, i) => [`${i + 1}`, mean] as const),
          ),
        ]
      : []),
    `${runDir}: model.safetensors, metrics.jsonl, result.json`,
  ];
  return `${parts.join('\n\n')}\n`;
}
