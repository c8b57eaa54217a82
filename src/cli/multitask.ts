import { join } from 'node:path';
import { Command, Option } from 'commander';
import { loadLanguageModel } from '../hub/index.ts';
import { InterruptedError } from '../methods/index.ts';
import { mptSourceOptions, openSources, trainMptSources } from '../methods/lm-baselines/mpt-sources.ts';
import { addFlags, checkFlags, givenFlags, list } from './flags.ts';
import { type Io, requireFresh } from './io.ts';
import { drain, Progress } from './progress.ts';

interface Flags {
  readonly model: string;
  readonly teachers: string[];
  readonly out: string;
  readonly resume?: boolean;
  readonly json?: boolean;
}

export function multitaskCommand(io: Io): Command {
  const command = new Command('multitask')
    .summary('learn one prompt from the prompts of several text tasks (MPT)')
    .description(
      'Learns a prompt that text tasks share from runs of prompt-tuning on them, their teachers, for\n' +
        '`attune tune --method mpt --source DIR` (docs/methods/lm-baselines.md#mpt).',
    )
    .option('-m, --model <spec>', 'zoo:NAME, a folder, or owner/name of the Hugging Face Hub', 'zoo:words-t5')
    .addOption(
      new Option('--teachers <a,b,…>', 'run folders of prompt-tuning, with prompts of one length')
        .argParser(list)
        .makeOptionMandatory(),
    )
    .option('-o, --out <dir>', 'where the prompt, checkpoint and metrics go', join('runs', 'mpt-sources'))
    .option('--resume', 'continue from the checkpoint there')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExample:\n  attune multitask --teachers runs/genre-prompt-tuning-seed1,runs/synonym-prompt-tuning-seed1',
    )
    .action(async () => {
      const started = performance.now();
      const flags = command.opts<Flags>();
      const options = mptSourceOptions.parse(
        checkFlags(mptSourceOptions, givenFlags(command, mptSourceOptions)),
      );
      const { out: dir, teachers } = flags;
      await requireFresh(dir, flags.resume);
      const progress = new Progress(io);
      const model = await loadLanguageModel(flags.model, { signal: io.signal });
      const sources = await openSources(teachers, io.signal);
      let loss: number | undefined;
      const events = trainMptSources({
        ...{ model, sources, options, dir, resume: flags.resume ?? false, signal: io.signal },
      });
      const ended = await drain(events, (event) => {
        if (event.type === 'step') loss = event.metrics.loss;
        progress.train(event);
      }).finally(() => progress.clear());
      if (!ended) throw new InterruptedError('interrupted; continue with the same command and --resume');
      const seconds = Math.round((performance.now() - started) / 1000);
      const tasks = sources.map(({ name }) => name);
      io.out(
        flags.json
          ? `${JSON.stringify({ dir, tasks, options, loss, seconds })}\n`
          : `${dir}: a prompt of ${tasks.join(', ')}, ${seconds} s\n\nNext:\n` +
              `  npx attune tune --method mpt --model ${flags.model} --source ${dir} --length ${sources[0]!.prompt.shape[0]}\n`,
      );
    });
  addFlags(command, mptSourceOptions, 'Options:');
  return command;
}
