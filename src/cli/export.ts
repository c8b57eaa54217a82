import { join } from 'node:path';
import { Command } from 'commander';
import { exportClassifier, isLanguageRun, version } from '../methods/index.ts';
import { count } from './flags.ts';
import type { Io } from './io.ts';
import { Progress } from './progress.ts';
import { addSource, needClasses, openSource, type SourceFlags } from './source.ts';
import { exportMerged } from './text-run.ts';

export function exportCommand(io: Io): Command {
  const command = addSource(new Command('export'))
    .summary('an ONNX classifier that runs without Attune, or a language model with its adapter merged')
    .description(
      'Writes an ONNX model, image in and label probabilities out, and a .json with labels and preprocessing. Of a run on\n' +
        'texts: the model with the adapter in its weights, a folder in the layout of Hugging Face.',
    )
    .option(
      '-o, --out <path>',
      'default: classifier.onnx, of a run on texts merged, in the run folder, or here',
    )
    .option('--batch <n>', 'images a run of the ONNX model', count(1), 1)
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExample:\n  attune export --run runs/icons-unseen-coop-16shot-seed1 --out app/icons.onnx',
    )
    .action(async () => {
      const { batch, json, out, ...flags } = command.opts<
        SourceFlags & { batch: number; out?: string; json?: boolean }
      >();
      if (flags.run !== undefined && (await isLanguageRun(flags.run))) {
        return exportMerged({ ...flags, run: flags.run, ...(json && { json }) }, out, io);
      }
      const source = await openSource(flags, io, new Progress(io));
      const labels = needClasses(source);
      const { model, template, method } = source;
      const classifier = await source.adapter.classifier(model, labels, template);
      const file =
        out ?? join(flags.run ?? '.', batch === 1 ? 'classifier.onnx' : `classifier-batch${batch}.onnx`);
      const producer = `attune ${version}`;
      const files = await exportClassifier(
        file,
        model,
        classifier,
        { labels, template, method, producer },
        batch,
      );
      io.out(
        json ? `${JSON.stringify({ ...source.names, batch, ...files })}\n` : `${files.onnx}\n${files.json}\n`,
      );
    });
  return command;
}
