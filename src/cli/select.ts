import { Command } from 'commander';
import { writeSubset } from '../methods/classify/subset-file.ts';
import { findSelector, selectors } from '../methods/rs2/list.ts';
import { selectFrom, selectionOptions } from '../methods/rs2/select.ts';
import { addFlags, checkFlags, count, givenFlags } from './flags.ts';
import { type Io, table } from './io.ts';
import { usage } from './methods.ts';
import { Progress } from './progress.ts';

export function selectCommand(io: Io): Command {
  const command = new Command('select')
    .summary('select a part of a data set that is worth training on')
    .description(
      'Selects images of the training split and writes their positions and ids as JSON, for attune train --subset\n' +
        '(docs/methods/rs2.md).',
    )
    .option(
      '-d, --data <source>',
      'a built-in set, a folder with one sub-folder a class, a .csv or .jsonl',
      'mnist',
    )
    .option('--size <n>', 'pixels of a side that images are brought to; 0: as they are', count(0), 0)
    .option('-o, --out <file>', 'where the subset goes (default: subset-METHOD-FRACTION.json)')
    .option('--json', 'the subset on standard output, in place of a file unless --out names one')
    .addHelpText(
      'after',
      `\nMethods:\n${table(selectors.map((s) => [`  ${s.name}`, s.summary]))}\n\n` +
        'Examples:\n  attune select --method herding --fraction 0.05 --out herding.json\n' +
        '  attune train --subset herding.json --rounds 100',
    )
    .action(async () => {
      const flags = command.opts<{ data: string; size: number; out?: string; json?: boolean }>();
      const options = checkFlags(selectionOptions, givenFlags(command, selectionOptions));
      usage(() => findSelector(options.method));
      const progress = new Progress(io);
      progress.say(`reading ${flags.data}`);
      const subset = await selectFrom(flags.data, flags.size, options, {
        signal: io.signal,
        onProgress: (text, done, total) => progress.update(text, done, total),
      }).finally(() => progress.clear());
      const out = flags.out ?? (flags.json ? undefined : `subset-${options.method}-${options.fraction}.json`);
      if (out !== undefined) await writeSubset(out, subset);
      const { indices, perClass, seconds, count: all } = subset;
      if (flags.json) return io.out(`${JSON.stringify(subset)}\n`);
      const counts = Object.values(perClass);
      io.out(
        `${out}: ${indices.length} of ${all} images, ${Math.min(...counts)} to ${Math.max(...counts)} a class, ` +
          `${seconds.toFixed(1)} s\n\nNext:\n  npx attune train --data ${flags.data} --subset ${out}\n`,
      );
    });
  addFlags(command, selectionOptions, 'Options:');
  return command;
}
