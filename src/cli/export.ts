import { join } from 'node:path';
import { Command, Option } from 'commander';
import { exportClassifier, isLanguageRun, version } from '../methods/index.ts';
import { type Io, UsageError } from './io.ts';
import { Progress } from './progress.ts';
import { addSource, needClasses, openSource, type SourceFlags } from './source.ts';
import { exportTexts } from './text-run.ts';

export function exportCommand(io: Io): Command {
  const command = addSource(new Command('export'))
    .summary('an ONNX model that runs without Attune')
    .description(
      'Writes an ONNX model, image in and label probabilities out, and a .json with labels and\n' +
        'preprocessing. Of a run on texts: the language model with its adapter, a folder that\n' +
        'transformers.js loads.',
    )
    .option(
      '-o, --out <path>',
      'default: classifier.onnx, of a run on texts exported, in the run folder, or here',
    )
    .addOption(
      new Option(
        '--format <name>',
        'of a run on texts: ONNX, or weights in the layout of Hugging Face, for Python',
      )
        .choices(['onnx', 'safetensors'])
        .default('onnx'),
    )
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExample:\n  attune export --run runs/icons-unseen-coop-16shot-seed1 --out app/icons.onnx',
    )
    .action(async () => {
      const { json, out, format, ...flags } = command.opts<
        SourceFlags & { out?: string; format: 'onnx' | 'safetensors'; json?: boolean }
      >();
      if (flags.run !== undefined && (await isLanguageRun(flags.run))) {
        return exportTexts({ ...flags, run: flags.run, ...(json && { json }) }, { out, format }, io);
      }
      if (format !== 'onnx') throw new UsageError(`--format ${format} is for runs on texts`);
      const source = await openSource(flags, io, new Progress(io));
      const labels = needClasses(source);
      const { model, template, method } = source;
      const classifier = await source.adapter.classifier(model, labels, template);
      const file = out ?? join(flags.run ?? '.', 'classifier.onnx');
      const producer = `attune ${version}`;
      const files = await exportClassifier(file, model, classifier, { labels, template, method, producer });
      io.out(json ? `${JSON.stringify({ ...source.names, ...files })}\n` : `${files.onnx}\n${files.json}\n`);
    });
  return command;
}
