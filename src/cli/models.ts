import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { sizeOf } from '../graph/index.ts';
import { readSafetensors, zooRoot } from '../hub/index.ts';
import { type Io, table } from './io.ts';

interface ZooModel {
  readonly name: string;
  /** Absent where only the recipe is there. */
  readonly parameters?: number;
  readonly bytes?: number;
  readonly licence?: string;
}

async function describe(name: string): Promise<ZooModel> {
  const folder = join(zooRoot, name);
  const files = await readdir(folder);
  if (!files.includes('config.json')) return { name };
  const weights = await readSafetensors(folder);
  const all = weights.names().map((n) => weights.get(n)!);
  const card = files.includes('README.md') ? await readFile(join(folder, 'README.md'), 'utf8') : '';
  const licence = /^license:\s*(\S+)/m.exec(card)?.[1];
  return {
    name,
    parameters: all.reduce((n, w) => n + sizeOf(w.shape), 0),
    bytes: all.reduce((n, w) => n + (w.file?.length ?? 0), 0),
    ...(licence && { licence }),
  };
}

export function modelsCommand(io: Io): Command {
  const command = new Command('models')
    .summary('the models at hand')
    .description('Lists the zoo, and says how other models are named.')
    .option('--json', 'one JSON object on standard output')
    .action(async () => {
      const entries = await readdir(zooRoot, { withFileTypes: true });
      const names = entries.flatMap((e) => (e.isDirectory() ? [e.name] : [])).sort();
      const models = await Promise.all(names.map(describe));
      if (command.opts<{ json?: boolean }>().json) return io.out(`${JSON.stringify({ models })}\n`);
      const row = ({ name, parameters, bytes, licence = 'see its README.md' }: ZooModel) =>
        parameters === undefined
          ? [`zoo:${name}`, `not trained yet: attune pretrain ${name}`]
          : [
              `zoo:${name}`,
              `${(parameters / 1e6).toFixed(1)} M parameters`,
              `${(bytes! / 1e6).toFixed(1)} MB`,
              `licence ${licence}`,
            ];
      io.out(
        `${table(models.map(row))}\n\nAny CLIP or language model in the layout of Hugging Face works too:\n` +
          '  --model openai/clip-vit-base-patch32    from the Hub, kept in the cache that Python shares\n' +
          '  --model laion/CLIP-ViT-B-32-laion2B-s34B-b79K@main    at a branch, tag or commit\n' +
          '  --model ./folder    with config.json, model.safetensors, tokenizer.json\n',
      );
    });
  return command;
}
