import { Command } from 'commander';
import { decodeImage } from '../data/index.ts';
import { isLanguageRun, predict } from '../methods/index.ts';
import { count } from './flags.ts';
import { type Io, percent } from './io.ts';
import { Progress } from './progress.ts';
import { addSource, needClasses, openSource, type SourceFlags } from './source.ts';
import { predictTexts } from './text-run.ts';

export function predictCommand(io: Io): Command {
  const command = addSource(new Command('predict'))
    .summary('rank labels for image files, or say what a run on texts says')
    .description(
      'Ranks the labels of a run, or of your choice, for image files. Of a run on texts: its classes, or what it writes.',
    )
    .argument(
      '<input...>',
      'PNG, JPEG, WebP, GIF, SVG, TIFF or AVIF files; of a run on texts the texts, parts of pairs by |||',
    )
    .option('--top <n>', 'labels an image', count(1), 3)
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  attune predict cat.jpg --run runs/photos-coop-16shot-seed1\n' +
        '  attune predict "not worth the money" --run runs/reviews-lora-seed1\n' +
        '  attune predict *.png --model zoo:icon-clip --labels "cat,dog,light bulb"',
    )
    .action(async (files: string[]) => {
      const { top, json, ...flags } = command.opts<SourceFlags & { top: number; json?: boolean }>();
      if (flags.run !== undefined && (await isLanguageRun(flags.run))) {
        const { run } = flags;
        return predictTexts(files, { ...flags, run, top, ...(json && { json }) }, io);
      }
      const progress = new Progress(io);
      const source = await openSource(flags, io, progress);
      const classes = needClasses(source);
      const classifier = await source.adapter.classifier(source.model, classes, source.template);
      const rows = await predict(
        source.model,
        classifier,
        files.map((file) => () => decodeImage(file)),
        { signal: io.signal, onProgress: (done, total) => progress.update('images', done, total) },
      ).finally(() => progress.clear());
      const images = rows.map((row, i) => ({
        image: files[i]!,
        predictions: Array.from(row, (probability, c) => ({ label: classes[c]!, probability }))
          .sort((a, b) => b.probability - a.probability)
          .slice(0, top),
      }));
      if (json) return io.out(`${JSON.stringify({ ...source.names, images })}\n`);
      for (const { image, predictions } of images) {
        const lines = predictions.map((p) => `${percent(p.probability).padStart(9)}  ${p.label}\n`);
        io.out(`${image}\n${lines.join('')}`);
      }
    });
  return command;
}
