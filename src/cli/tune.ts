import { Command, Option } from 'commander';
import {
  figureOf,
  findMethod,
  type LanguageMethod,
  languageMethods,
  type Method,
  methods,
  type RunResult,
  type RunSettings,
  readSettings,
  tune,
} from '../methods/index.ts';
import { addFlags, count, counts } from './flags.ts';
import { type Io, percent, table } from './io.ts';
import { usage } from './methods.ts';
import { drain, Progress } from './progress.ts';
import { jobOf, percentOver } from './tune-job.ts';
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
      const job = await jobOf<RunSettings>(command, method.options, settingKeys, defaults);
      const { json = false } = command.opts<{ json?: boolean }>();
      const progress = new Progress(io);
      const results = await drain(tune({ ...job, signal: io.signal }), progress.run).finally(() =>
        progress.clear(),
      );
      io.out(json ? `${JSON.stringify(summary(results))}\n` : report(results));
    });
  addFlags(command, method.options, `Options of ${method.name}:`);
  return command;
}

const meanAndDeviation = (values: readonly number[]) => {
  const { mean, std } = figureOf(values);
  return { accuracy: mean, std };
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
    const [zero, tuned] = [results.map((r) => r.zeroShot.accuracy), results.map((r) => r.tuned.accuracy)];
    rows.push(['mean', percentOver(zero), percentOver(tuned)]);
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
