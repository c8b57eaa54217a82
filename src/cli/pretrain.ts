import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { didYouMean } from '../graph/nearest.ts';
import { readJson, zooRoot } from '../hub/index.ts';
import { InterruptedError } from '../methods/index.ts';
import { clipRecipe, pretrainClip } from '../methods/pretrain/clip.ts';
import { pretrainWords, wordsRecipe } from '../methods/pretrain/words.ts';
import { addFlags, checkFlags, givenFlags } from './flags.ts';
import { type Io, requireFresh, UsageError } from './io.ts';
import { drain, Progress } from './progress.ts';

export function pretrainCommand(io: Io): Command {
  const command = new Command('pretrain')
    .summary('train a model of the zoo from nothing')
    .description('Trains a model of the zoo from nothing, by its recipe.json.')
    .argument('<name>', 'e.g. icon-clip')
    .option('-o, --out <dir>', 'where model and checkpoint go (default: runs/pretrain-NAME)')
    .option('--resume', 'continue from the checkpoint there')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExample:\n  attune pretrain icon-clip --out ./my-clip --steps 500')
    .action(async (name: string) => {
      const started = performance.now();
      const flags = command.opts<{ out?: string; resume?: boolean; json?: boolean }>();
      const stored = /[/\\]|^\./.test(name) ? undefined : await readJson(join(zooRoot, name, 'recipe.json'));
      if (!stored) {
        const names = await readdir(zooRoot);
        throw new UsageError(`no recipe "${name}"${didYouMean(name, names)}; there are ${names.join(', ')}`);
      }
      const dir = flags.out ?? join('runs', `pretrain-${name}`);
      await requireFresh(dir, flags.resume);
      const progress = new Progress(io);
      let loss: number | undefined;
      const shared = { dir, resume: flags.resume ?? false, signal: io.signal };
      const words = 'objective' in stored;
      const schema = words ? wordsRecipe : clipRecipe;
      const recipe = checkFlags(schema, { ...stored, ...givenFlags(command, schema) });
      const events = words
        ? pretrainWords({
            ...shared,
            recipe: wordsRecipe.parse(recipe),
            onProgress: (text) => progress.say(text),
          })
        : pretrainClip({
            ...shared,
            recipe: clipRecipe.parse(recipe),
            onRender: (done, total) => progress.update('rendering icons', done, total),
          });
      await drain(events, (event) => {
        if (event.type === 'step') loss = event.metrics.loss;
        progress.train(event);
      }).finally(() => progress.clear());
      if (io.signal.aborted) {
        throw new InterruptedError('interrupted; continue with the same command and --resume');
      }
      const seconds = Math.round((performance.now() - started) / 1000);
      io.out(
        flags.json
          ? `${JSON.stringify({ model: dir, recipe, loss, seconds })}\n`
          : `${dir}: trained in ${seconds} s\n${words ? '' : `\nNext:\n  npx attune eval --model ${dir} --data icons\n`}`,
      );
    });
  addFlags(command, clipRecipe, "In place of the recipe's values:");
  return command;
}
