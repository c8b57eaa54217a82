import { join } from 'node:path';
import { Command } from 'commander';
import { loadClip } from '../hub/index.ts';
import { metaOptions, metaTrain } from '../methods/gram/meta-train.ts';
import { InterruptedError } from '../methods/index.ts';
import { addFlags, checkFlags, givenFlags } from './flags.ts';
import { type Io, requireFresh } from './io.ts';
import { drain, Progress } from './progress.ts';

export function metaTrainCommand(io: Io): Command {
  const command = new Command('meta-train')
    .summary('meta-learn initial prompts and a regulator of their gradients (GRAM)')
    .description(
      'Meta-learns initial prompts and a regulator of their gradients on images with captions and without labels, for\n' +
        '`attune tune --method gram --meta FILE` (docs/methods/gram.md).',
    )
    .option(
      '-m, --model <spec>',
      'zoo:NAME, a folder, or owner/name of the Hugging Face Hub',
      'zoo:icon-clip',
    )
    .option('-o, --out <dir>', 'where meta.safetensors, checkpoint and metrics go (default: runs/gram-HOST)')
    .option('--resume', 'continue from the checkpoint there')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  attune meta-train --steps 200\n  attune meta-train --on maple --pairs ./captioned --model openai/clip-vit-base-patch32',
    )
    .action(async () => {
      const started = performance.now();
      const flags = command.opts<{ model: string; out?: string; resume?: boolean; json?: boolean }>();
      const options = checkFlags(metaOptions, givenFlags(command, metaOptions));
      const dir = flags.out ?? join('runs', `gram-${options.on}`);
      await requireFresh(dir, flags.resume);
      const progress = new Progress(io);
      const model = await loadClip(flags.model, { signal: io.signal });
      let loss: number | undefined;
      const events = metaTrain({
        model,
        options,
        dir,
        resume: flags.resume ?? false,
        signal: io.signal,
        onProgress: (text, done, total) => progress.update(text, done, total),
      });
      const result = await drain(events, (event) => {
        if (event.type === 'step') loss = event.metrics.loss;
        progress.train(event);
      }).finally(() => progress.clear());
      if (!result) throw new InterruptedError('interrupted; continue with the same command and --resume');
      const seconds = Math.round((performance.now() - started) / 1000);
      const { file, concepts } = result;
      io.out(
        flags.json
          ? `${JSON.stringify({ file, options, loss, concepts, seconds })}\n`
          : `${file}: ${concepts.length} concepts, ${seconds} s\n\nNext:\n` +
              `  npx attune tune --method gram --on ${options.on} --model ${flags.model} --meta ${file}\n`,
      );
    });
  addFlags(command, metaOptions, 'Options:');
  return command;
}
