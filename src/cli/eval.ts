import { Command, Option } from 'commander';
import { type Dataset, openData, templateFor } from '../data/index.ts';
import { evaluate, findMethod, ImageFeatures, isLanguageRun, ontoClasses } from '../methods/index.ts';
import { type Io, percent, table, UsageError } from './io.ts';
import { Progress } from './progress.ts';
import { addSource, openSource, type SourceFlags } from './source.ts';
import { evaluateTexts } from './text-run.ts';

interface Flags extends SourceFlags {
  readonly data?: string;
  readonly split: 'train' | 'val' | 'test' | 'all';
  readonly onBadImage?: 'error' | 'skip';
  readonly perClass?: boolean;
  readonly json?: boolean;
}

export function evalCommand(io: Io): Command {
  const command = addSource(new Command('eval'))
    .summary('accuracy of a run, or of a model as it is')
    .description("Measures accuracy beside zero-shot accuracy: on a run's test images, or on other data.")
    .option('-d, --data <source>', "icons, an image folder or a manifest (default: the run's)")
    .addOption(new Option('--split <name>').choices(['train', 'val', 'test', 'all']).default('test'))
    .addOption(new Option('--on-bad-image <what>', 'with unreadable images').choices(['error', 'skip']))
    .option('--per-class', 'accuracy of each class too')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  attune eval --run runs/icons-unseen-coop-16shot-seed1 --per-class\n' +
        '  attune eval --run runs/icons-unseen-coop-16shot-seed1 --data ./photos\n' +
        '  attune eval --model zoo:icon-clip --data icons',
    )
    .action(async () => {
      const flags = command.opts<Flags>();
      if (flags.run !== undefined && (await isLanguageRun(flags.run))) {
        return evaluateTexts({ ...flags, run: flags.run }, io);
      }
      const progress = new Progress(io);
      const source = await openSource(flags, io, progress);
      const { model, adapter, settings } = source;
      const spec = flags.data ?? settings?.data;
      if (spec === undefined) throw new UsageError('say on which data: --data SOURCE');
      const splits = await openData(spec, {
        minTrain: settings?.shots,
        onBadImage: flags.onBadImage ?? settings?.onBadImage,
        onProgress: (done, total) => progress.update('rendering icons', done, total),
      });
      for (const warning of splits.warnings) progress.say(`warning: ${warning}`);
      const parts = flags.split === 'all' ? (['train', 'val', 'test'] as const) : [flags.split];
      const found: Dataset = { ...splits.test, examples: parts.flatMap((part) => splits[part].examples) };
      const fixed = flags.labels ?? (adapter.fixedClasses ? source.classes : undefined);
      const data = fixed ? ontoClasses(found, fixed) : found;
      const options = {
        signal: io.signal,
        onProgress: (done: number, total: number) => progress.update('image features', done, total),
      };
      const features = new ImageFeatures(model, options);
      const template = flags.template ?? (flags.run === undefined ? templateFor(data.name) : source.template);
      const measure = async (of: typeof adapter) =>
        evaluate(model, await of.classifier(model, data.classes, template), data, features, options);
      const score = await measure(adapter);
      const zeroShot = findMethod('zero-shot');
      const base = await measure(zeroShot.restore({ options: zeroShot.options.parse({}), tensors: {} }));
      await features.release();
      progress.clear();
      const perClass = score.perClass.map((accuracy, i) => ({
        class: data.classes[i]!,
        // JSON has no NaN: a class without images has no accuracy.
        accuracy: Number.isNaN(accuracy) ? null : accuracy,
      }));
      const result = {
        ...source.names,
        data: spec,
        split: flags.split,
        images: score.images,
        classes: data.classes.length,
        accuracy: score.accuracy,
        zeroShot: { accuracy: base.accuracy },
        ...(flags.perClass && { perClass }),
        warnings: splits.warnings,
      };
      if (flags.json) return io.out(`${JSON.stringify(result)}\n`);
      io.out(
        `${table([
          ['zero-shot', percent(base.accuracy)],
          ...(source.names.run ? [[source.method, percent(score.accuracy)]] : []),
          ['images', `${score.images} of ${data.classes.length} classes`],
        ])}\n`,
      );
      if (flags.perClass) {
        const rows = perClass.map((c) => [c.class, c.accuracy === null ? 'no images' : percent(c.accuracy)]);
        io.out(`\n${table(rows)}\n`);
      }
    });
  return command;
}
