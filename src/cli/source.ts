import { type Command, Option } from 'commander';
import { type ClipModel, type LoadOptions, loadClip } from '../hub/index.ts';
import { type Adapter, findMethod, openRun, type RunSettings, readSettings } from '../methods/index.ts';
import { list } from './flags.ts';
import { type Io, UsageError } from './io.ts';
import type { Progress } from './progress.ts';

export interface SourceFlags {
  readonly run?: string;
  readonly model?: string;
  readonly labels?: string[];
  readonly template?: string;
  readonly allowUnusedWeights?: boolean;
}

/** A model with what it learned: a run, or a model as it is. */
export interface Source {
  readonly model: ClipModel;
  readonly adapter: Adapter;
  readonly method: string;
  readonly template: string;
  /** Class names of the run, or those that the user gave. */
  readonly classes: readonly string[] | undefined;
  readonly settings: RunSettings | undefined;
  /** Of the result on standard output. */
  readonly names: { readonly run?: string; readonly model: string; readonly method: string };
}

/** The flags that name a classifier. */
export const addSource = (command: Command): Command =>
  command
    .option('-r, --run <dir>', 'run folder of `attune tune`')
    .option(
      '-m, --model <spec>',
      'without --run: classify with this model, untuned; with it: where its base model is',
    )
    .addOption(new Option('--labels <a,b,…>', "class names (default: the run's)").argParser(list))
    .option('--template <text>', "hand-written prompt, {} is the class name (default: the run's)")
    .option('--allow-unused-weights', 'load checkpoints with weights that the model does not read');

export async function openSource(flags: SourceFlags, io: Io, progress: Progress): Promise<Source> {
  const { run, model: spec, labels } = flags;
  const load = loadOptions(flags, io, progress);
  if (run === undefined) {
    if (spec === undefined) throw new UsageError('give --run DIR, or --model SPEC for a model as it is');
    const zeroShot = findMethod('zero-shot');
    const model = await loadClip(spec, load);
    return {
      model,
      adapter: zeroShot.restore({ options: zeroShot.options.parse({}), tensors: {} }),
      method: zeroShot.name,
      template: flags.template ?? 'a photo of a {}.',
      classes: labels,
      settings: undefined,
      names: { model: spec, method: zeroShot.name },
    };
  }
  const { config, model, adapter } = await openRun(run, { ...load, model: spec });
  if (labels && adapter.fixedClasses) {
    throw new UsageError(`--labels: ${config.method} holds only for the classes it was trained on`);
  }
  return {
    model,
    adapter,
    method: config.method,
    template: flags.template ?? config.template,
    classes: labels ?? config.classes,
    // A run folder that was copied without it is enough to predict.
    settings: await readSettings<RunSettings>(run).catch(() => undefined),
    names: { run, model: model.spec, method: config.method },
  };
}

/** How a model is loaded: with progress, and unused weights as the user wants them. */
export const loadOptions = (
  { allowUnusedWeights }: { readonly allowUnusedWeights?: boolean },
  io: Io,
  progress: Progress,
): LoadOptions => ({
  signal: io.signal,
  onProgress: ({ bytes, totalBytes }) => progress.update('download (bytes)', bytes, totalBytes),
  onUnusedWeights: allowUnusedWeights ? (text) => progress.say(`warning: ${text}`) : undefined,
});

/** The class names, which a model as it is does not know by itself. */
export function needClasses({ classes }: Source): readonly string[] {
  if (!classes?.length) throw new UsageError('a model without --run needs the class names: --labels a,b,c');
  return classes;
}
