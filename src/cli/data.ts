import { Command, Option } from 'commander';
import {
  builtIn,
  builtInData,
  byClass,
  type DataSplits,
  domainsOf,
  openData,
  templateFor,
} from '../data/index.ts';
import { count } from './flags.ts';
import { type Io, table } from './io.ts';
import { Progress } from './progress.ts';

const overview = `Built in (docs/data.md):
${Object.entries(builtIn)
  .map(([name, { summary }]) => `  ${name.padEnd(27)}${summary}`)
  .join('\n')}

Your own images:
  DIR                        one sub-folder a class, or train/, val/ and test/ with those inside
  DIR                        a published data set as CoOp keeps it (split_zhou_*.json)
  FILE.csv, FILE.jsonl       columns image, label and, if wanted, split and domain

attune data icons, attune data DIR: classes, counts, splits, warnings
`;
const splitNames = ['train', 'val', 'test'] as const;

function describe(source: string, splits: DataSplits) {
  const { train } = splits;
  const groups = splitNames.map((split) => byClass(splits[split]));
  const all = { ...train, examples: splitNames.flatMap((split) => splits[split].examples) };
  return {
    data: source,
    split: splits.split,
    template: templateFor(train.name),
    images: Object.fromEntries(splitNames.map((split) => [split, splits[split].examples.length])),
    classes: train.classes.map((name, i) => ({
      name,
      ...Object.fromEntries(splitNames.map((split, j) => [split, groups[j]![i]!.length])),
    })),
    domains: Object.fromEntries(
      domainsOf(all).map((domain) => [domain, all.examples.filter((e) => e.domain === domain).length]),
    ),
    warnings: splits.warnings,
  };
}

export function dataCommand(io: Io): Command {
  const command = new Command('data')
    .summary('what is in a data set')
    .description('Tells about a data set: classes, images, splits, domains, and what looks odd.')
    .argument('[source]', 'icons, an image folder, a .csv or .jsonl')
    .option('--shots <n>', 'images a class that small classes keep for training', count(1), 16)
    .addOption(new Option('--on-bad-image <what>', 'with unreadable images').choices(['error', 'skip']))
    .option('--json', 'one JSON object on standard output')
    .action(async (source: string | undefined) => {
      const { shots, onBadImage, json } = command.opts<{
        shots: number;
        onBadImage?: 'error' | 'skip';
        json?: boolean;
      }>();
      if (source === undefined) return io.out(json ? `${JSON.stringify({ data: builtInData })}\n` : overview);
      const progress = new Progress(io);
      const splits = await openData(source, {
        minTrain: shots,
        onBadImage,
        onProgress: (done, total) => progress.update('rendering icons', done, total),
      }).finally(() => progress.clear());
      for (const warning of splits.warnings) progress.say(`warning: ${warning}`);
      const about = describe(source, splits);
      if (json) return io.out(`${JSON.stringify(about)}\n`);
      const rows = about.classes.map((c) => Object.values(c).map(String));
      const domains = Object.entries(about.domains).map(([name, n]) => `${name} ${n}`);
      io.out(
        `${table([['class', ...splitNames], ...rows, ['all', ...Object.values(about.images).map(String)]])}\n\n` +
          `${about.classes.length} classes; split: ${about.split}; template "${about.template}"\n` +
          (domains.length ? `domains: ${domains.join(', ')}\n` : ''),
      );
    });
  return command;
}
