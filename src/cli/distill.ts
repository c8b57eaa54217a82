import { join } from 'node:path';
import { Command } from 'commander';
import { distill, distillOptions, judgingOptions } from '../methods/dcc/distill.ts';
import { loopsOf } from '../methods/dcc/options.ts';
import { InterruptedError } from '../methods/index.ts';
import { addFlags, checkFlags, givenFlags } from './flags.ts';
import { type Io, percent, requireFresh, table } from './io.ts';
import { usage } from './methods.ts';
import { drain, Progress } from './progress.ts';

export function distillCommand(io: Io): Command {
  const command = new Command('distill')
    .summary('condense a data set into a few synthetic images of each class')
    .description(
      'Makes a few images of each class on which networks train as they would on the whole data set, and compares them\n' +
        'with as many random real images (docs/methods/dcc.md).',
    )
    .option('-o, --out <dir>', 'run folder (default: runs/distill-DATA-METHOD-IPC-seedSEED)')
    .option('--resume', 'continue from the checkpoint there; a finished run is judged anew')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  attune distill --network mlp --outer-steps 100 --warm-up-outer 25\n' +
        '  attune distill --method dc --dsa --images-per-class 10 --evaluate-on convnet-3,lenet,mlp\n' +
        '  attune distill --data ./photos --size 32 --images-per-class 10',
    )
    .action(async () => {
      const flags = command.opts<{ out?: string; resume?: boolean; json?: boolean }>();
      const settings = checkFlags(distillOptions, givenFlags(command, distillOptions));
      const judging = checkFlags(judgingOptions, givenFlags(command, judgingOptions));
      usage(() => loopsOf(settings));
      const { data, method, dsa, imagesPerClass, seed } = settings;
      const source = data.replace(/[^\w.-]+/g, '-').replace(/^-|-$/g, '');
      const name = `distill-${source}-${method}${dsa ? '-dsa' : ''}-${imagesPerClass}-seed${seed}`;
      const dir = flags.out ?? join('runs', name);
      await requireFresh(dir, flags.resume);
      const progress = new Progress(io);
      const events = distill(settings, judging, { dir, resume: flags.resume ?? false, signal: io.signal });
      const result = await drain(events, (event) => {
        if (event.type === 'stage') progress.say(event.text);
        else if (event.type === 'progress') progress.update(event.text, event.done, event.total);
        else progress.train(event);
      }).finally(() => progress.clear());
      if (!result) throw new InterruptedError('interrupted; continue with the same command and --resume');
      if (flags.json) return io.out(`${JSON.stringify(result)}\n`);
      const { accuracy, images, real, measuredOn, seconds } = result;
      const share = ({ mean, deviation }: { mean: number; deviation: number }) =>
        `${percent(mean)} ± ${(100 * deviation).toFixed(1)}`;
      const rows = Object.entries(accuracy).map(([network, { synthetic, random }]) => [
        network,
        share(synthetic),
        share(random),
      ]);
      io.out(`${dir}: ${images} images of ${real}, ${seconds.toFixed(1)} s\n`);
      if (rows.length > 0)
        io.out(
          `\nAccuracy on ${measuredOn} images, ${judging.networks} networks each:\n\n` +
            `${table([['network', 'synthetic', 'random real'], ...rows])}\n`,
        );
    });
  addFlags(command, distillOptions, 'Condensation:');
  addFlags(command, judgingOptions, 'Judging:');
  return command;
}
