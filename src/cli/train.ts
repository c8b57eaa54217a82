import { join } from 'node:path';
import { Command } from 'commander';
import { trainClassifier, trainingOptions } from '../methods/classify/run.ts';
import { samplers } from '../methods/classify/samplers.ts';
import { InterruptedError } from '../methods/index.ts';
import { addFlags, checkFlags, givenFlags } from './flags.ts';
import { type Io, percent, requireFresh, table, UsageError } from './io.ts';
import { drain, Progress } from './progress.ts';

export function trainCommand(io: Io): Command {
  const command = new Command('train')
    .summary('train an image classifier from scratch, on what a sampler gives')
    .description(
      'Trains an image classifier from scratch; a round of a sampler takes the place of an epoch, and the learning rate\n' +
        'falls over the rounds of this run (docs/methods/rs2.md).',
    )
    .option('-o, --out <dir>', 'run folder (default: runs/train-DATA-SAMPLER-FRACTION-seedSEED)')
    .option('--resume', 'continue from the checkpoint there')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `\nSamplers:\n${table(Object.entries(samplers).map(([name, { summary }]) => [`  ${name}`, summary]))}\n\n` +
        'Examples:\n  attune train --sampler rs2 --fraction 0.1\n' +
        '  attune train --subset herding.json --rounds 100\n' +
        '  attune train --data runs/distill-mnist-dcc-1-seed1 --rounds 300 --learning-rate 0.01\n' +
        '  attune train --data ./photos --size 32 --network resnet-18-cifar --learning-rate 0.1 --augment crop-flip',
    )
    .action(async () => {
      const flags = command.opts<{ out?: string; resume?: boolean; json?: boolean }>();
      const settings = checkFlags(trainingOptions, givenFlags(command, trainingOptions));
      if (settings.subset && command.getOptionValueSource('sampler') === 'cli')
        throw new UsageError('--subset takes the place of --sampler: give one of them');
      const { data, sampler, subset, fraction, seed } = settings;
      const name = (text: string) => text.replace(/[^\w.-]+/g, '-').replace(/^-|-$/g, '');
      const chosen = subset ? name(subset) : `${sampler}-${fraction}`;
      const dir = flags.out ?? join('runs', `train-${name(data)}-${chosen}-seed${seed}`);
      await requireFresh(dir, flags.resume);
      const progress = new Progress(io);
      const events = trainClassifier(settings, { dir, resume: flags.resume ?? false, signal: io.signal });
      const result = await drain(events, (event) => {
        if (event.type === 'stage') progress.say(event.text);
        else progress.train(event);
      }).finally(() => progress.clear());
      if (!result) throw new InterruptedError('interrupted; continue with the same command and --resume');
      io.out(
        flags.json
          ? `${JSON.stringify(result)}\n`
          : `${dir}: accuracy ${percent(result.accuracy)} on ${result.measuredOn} images after ${result.steps} steps, ${result.seconds.toFixed(1)} s\n`,
      );
    });
  addFlags(command, trainingOptions, 'Options:');
  return command;
}
