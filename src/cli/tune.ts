import { Command, Option } from 'commander';
import {
  findMethod,
  type LanguageMethod,
  languageMethods,
  type Method,
  methods,
  type RunResult,
  type RunSettings,
  readSettings,
  type TuneOptions,
  tune,
} from '../methods/index.ts';
import { addFlags, checkFlags, count, counts, givenFlags } from './flags.ts';
import { type Io, percent, table, UsageError } from './io.ts';
import { usage } from './methods.ts';
import { drain, Progress } from './progress.ts';
import { tuneTextCommand } from './tune-text.ts';

const defaults = { model: 'zoo:icon-clip', method: 'coop', data: 'icons-unseen', shots: 16, seed: 1 };

/** The method whose flags the command line must know before it is parsed. */
async function methodOf(
  argv: readonly string[],
): Promise<{ kind: 'images'; method: Method } | { kind: 'text'; method: LanguageMethod }> {
  const valueAfter = (flag: string) => {
    const at = argv.findIndex((a) => a === flag || a.startsWith(`${flag}=`));
    return at < 0 ? undefined : argv[at]!.includes('=') ? argv[at]!.slice(flag.length + 1) : argv[at + 1];
  };
  const dir = valueAfter('--resume');
  const stored =
    dir && !dir.startsWith('-') ? await readSettings<RunSettings>(dir).catch(() => undefined) : undefined;
  const name = valueAfter('--method') ?? stored?.method ?? defaults.method;
  const text = languageMethods.find((m) => m.name === name);
  return text ? { kind: 'text', method: text } : { kind: 'images', method: usage(() => findMethod(name)) };
}

/** Flags of `tune` that hold for any method. */
interface Flags extends Omit<RunSettings, 'options'> {
  readonly seeds?: number[];
  readonly out?: string;
  readonly resume?: string | true;
  readonly json?: boolean;
}

const settingKeys = [
  'model',
  'method',
  'data',
  'shots',
  'seed',
  'template',
  'allowFewer',
  'onBadImage',
  'allowUnusedWeights',
] as const;

export async function tuneCommand(argv: readonly string[], io: Io): Promise<Command> {
  const chosen = await methodOf(argv);
  if (chosen.kind === 'text') return tuneTextCommand(chosen.method, io);
  const { method } = chosen;
  const command = new Command('tune')
    .summary('adapt a model to a few labelled images')
    .description(
      'Adapts a CLIP to image classification with a few images a class. Writes the adapter, metrics and an ONNX\n' +
        'classifier into a run folder.',
    )
    .option('-m, --model <spec>', 'zoo:NAME, a folder, or owner/name of the Hugging Face Hub', defaults.model)
    .option(
      '--method <name>',
      `one of ${methods.map((m) => m.name).join(', ')}; for texts: ${languageMethods.map((m) => m.name).join(', ')}`,
      defaults.method,
    )
    .option(
      '-d, --data <source>',
      'a built-in set (attune data), a folder with one sub-folder a class, a .csv or .jsonl',
      defaults.data,
    )
    .option('--shots <n>', 'training images a class', count(1), defaults.shots)
    .option('--seed <n>', 'of the draw of images, initial values and order', count(0), defaults.seed)
    .addOption(
      new Option('--seeds <a,b,…>', 'several runs, with mean and deviation')
        .argParser(counts)
        .conflicts('seed'),
    )
    .option('--template <text>', "hand-written prompt, {} is the class name (default: the data set's)")
    .option('--allow-fewer', 'take what there is from classes with fewer images than shots')
    .addOption(new Option('--on-bad-image <what>', 'with unreadable images').choices(['error', 'skip']))
    .option('--allow-unused-weights', 'load checkpoints with weights that the model does not read')
    .option('-o, --out <dir>', 'run folder (default: runs/DATA-METHOD-SHOTSshot-seedSEED)')
    .option('--resume [dir]', 'continue the run in DIR, or the run of these settings if there is one')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      `\nThe flags of another method: attune tune --method NAME --help\n\nExamples:\n` +
        `  attune tune\n  attune tune --data ./photos --shots 8 --seeds 1,2,3\n` +
        `  attune tune --model openai/clip-vit-base-patch32 --data ./photos\n  attune tune --resume runs/icons-unseen-coop-16shot-seed1`,
    )
    .action(async () => {
      const job = await jobOf(command, method);
      const { json = false } = command.opts<Flags>();
      const progress = new Progress(io);
      const results = await drain(tune({ ...job, signal: io.signal }), progress.run).finally(() =>
        progress.clear(),
      );
      io.out(json ? `${JSON.stringify(summary(results))}\n` : report(results));
    });
  addFlags(command, method.options, `Options of ${method.name}:`);
  return command;
}

/** From flags alone, or from the run folder that is resumed, which flags must not contradict. */
async function jobOf(command: Command, method: Method): Promise<TuneOptions> {
  const flags = command.opts<Flags>();
  const options = givenFlags(command, method.options);
  checkFlags(method.options, options);
  const dir = typeof flags.resume === 'string' ? flags.resume : undefined;
  if (dir !== undefined && (flags.seeds || flags.out !== undefined)) {
    throw new UsageError('--resume DIR takes neither --seeds nor --out');
  }
  const stored = dir === undefined ? undefined : await readSettings<RunSettings>(dir);
  const given: Partial<RunSettings> = Object.fromEntries(
    settingKeys.filter((key) => command.getOptionValueSource(key) === 'cli').map((key) => [key, flags[key]]),
  );
  const { seed, ...settings } = {
    ...(stored ?? defaults),
    ...given,
    options: { ...stored?.options, ...options } as RunSettings['options'],
  };
  return {
    settings,
    seeds: flags.seeds ?? [seed],
    resume: flags.resume !== undefined,
    out: dir ?? flags.out,
  };
}

const meanAndDeviation = (values: readonly number[]) => {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { accuracy: mean, std: Math.sqrt(square) };
};

/** The `--json` object: the run's own, or several seeds with mean and deviation. */
function summary(results: readonly RunResult[]): object {
  const [first] = results;
  if (results.length === 1) return first!;
  const { seed: _seed, runDir: _dir, images: _images, ...shared } = first!;
  return {
    ...shared,
    seeds: results.map((r) => r.seed),
    zeroShot: meanAndDeviation(results.map((r) => r.zeroShot.accuracy)),
    tuned: meanAndDeviation(results.map((r) => r.tuned.accuracy)),
    seconds: results.reduce((n, r) => n + r.seconds, 0),
    runs: results,
  };
}

function report(results: readonly RunResult[]): string {
  const { method, runDir, shots, data, model } = results[0]!;
  const rows = [
    ['seed', 'zero-shot', method, 'trained parameters', 'seconds'],
    ...results.map((r) => [
      String(r.seed),
      percent(r.zeroShot.accuracy),
      percent(r.tuned.accuracy),
      r.trainableParameters.toLocaleString('en'),
      r.seconds.toFixed(1),
    ]),
  ];
  if (results.length > 1) {
    const cell = (values: number[]) => {
      const { accuracy, std } = meanAndDeviation(values);
      return `${percent(accuracy)} ± ${(100 * std).toFixed(1)}`;
    };
    const [zero, tuned] = [results.map((r) => r.zeroShot.accuracy), results.map((r) => r.tuned.accuracy)];
    rows.push(['mean', cell(zero), cell(tuned)]);
  }
  const helped = results.some((r) => r.tuned.accuracy > r.zeroShot.accuracy);
  const advice =
    helped || method === 'zero-shot'
      ? ''
      : 'Tuning did not help: the model knows these classes better than the shots can teach them. Try more shots,\n' +
        'fewer epochs or another method, or keep to the model as it is (--method zero-shot).\n\n';
  return (
    `\nAccuracy on test images: ${model}, ${data}, ${shots} shots\n\n${table(rows)}\n\n${advice}` +
    `${results.map((r) => r.runDir).join('\n')}\n\nNext:\n` +
    `  npx attune predict IMAGE… --run ${runDir}\n  npx attune eval --run ${runDir} --per-class\n` +
    `  ${runDir}/classifier.onnx runs in your app without Attune (docs/export.md)\n`
  );
}
