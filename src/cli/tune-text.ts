import { Command, Option } from 'commander';
import {
  type LanguageMethod,
  type LanguageResult,
  type LanguageSettings,
  languageMethods,
  tuneLanguage,
} from '../methods/index.ts';
import { addFlags, count, counts, list } from './flags.ts';
import { type Io, percent, table } from './io.ts';
import { drain, Progress } from './progress.ts';
import { jobOf, percentOver } from './tune-job.ts';

const defaults = { model: 'zoo:words-bert', method: 'lora', data: 'gloss-class', count: 0, seed: 1 };

const settingKeys = [
  'model',
  'method',
  'data',
  'config',
  'text',
  'label',
  'count',
  'seed',
  'allowUnusedWeights',
] as const;

/** `attune tune` with a method for language models. */
export function tuneTextCommand(method: LanguageMethod, io: Io): Command {
  const command = new Command('tune')
    .summary('adapt a language model to texts')
    .description(
      'Adapts a language model to texts: a BERT to classes or numbers, a T5 or a decoder (GPT-2, LLaMA, Mistral, Qwen) to writing\n' +
        'the answer. Writes the adapter, metrics and test scores into a run folder (docs/text.md).',
    )
    .option('-m, --model <spec>', 'zoo:NAME, a folder, or owner/name of the Hugging Face Hub', defaults.model)
    .option('--method <name>', `one of ${languageMethods.map((m) => m.name).join(', ')}`, defaults.method)
    .option(
      '-d, --data <source>',
      'a built-in task, a .csv, .tsv, .jsonl or .parquet, a folder with train, validation and test, owner/name of the Hub',
      defaults.data,
    )
    .option('--config <name>', 'of a folder with several data sets, the one to read')
    .addOption(
      new Option('--text <a,b,…>', 'columns of the text, where they have unusual names').argParser(list),
    )
    .option('--label <column>', 'column of the answer, where it has an unusual name')
    .option('--count <n>', 'training texts, drawn by the seed; 0: all', count(0), defaults.count)
    .option('--seed <n>', 'of the draw of texts, initial values and order', count(0), defaults.seed)
    .addOption(
      new Option('--seeds <a,b,…>', 'several runs, with mean and deviation')
        .argParser(counts)
        .conflicts('seed'),
    )
    .option('--allow-unused-weights', 'load checkpoints with weights that the model does not read')
    .option('-o, --out <dir>', 'run folder (default: runs/DATA-METHOD-seedSEED)')
    .option('--resume [dir]', 'continue the run in DIR, or the run of these settings if there is one')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  attune tune --method lora --data ./reviews.csv\n' +
        '  attune tune --method prompt-tuning --model google/flan-t5-small --data ./questions.jsonl --seeds 1,2,3',
    )
    .action(async () => {
      const job = await jobOf<LanguageSettings>(command, method.options, settingKeys, defaults);
      const progress = new Progress(io);
      const events = tuneLanguage({ ...job, signal: io.signal });
      const results = await drain(events, progress.run).finally(() => progress.clear());
      const [only] = results;
      io.out(
        command.opts<{ json?: boolean }>().json
          ? `${JSON.stringify(results.length === 1 ? only : { runs: results })}\n`
          : report(results),
      );
    });
  addFlags(command, method.options, `Options of ${method.name}:`);
  return command;
}

function report(results: readonly LanguageResult[]): string {
  const { data, model, method, runDir, majority, texts } = results[0]!;
  const metrics = Object.keys(results[0]!.scores) as (keyof LanguageResult['scores'])[];
  const rows = [
    ['seed', ...metrics, 'trained parameters', 'seconds'],
    ...results.map((r) => [
      String(r.seed),
      ...metrics.map((m) => percent(r.scores[m]!)),
      r.trainableParameters.toLocaleString('en'),
      r.seconds.toFixed(1),
    ]),
  ];
  if (results.length > 1) {
    rows.push(['mean', ...metrics.map((m) => percentOver(results.map((r) => r.scores[m]!)))]);
  }
  const always =
    majority === undefined ? '' : `Always saying the most frequent class: ${percent(majority)}\n\n`;
  return (
    `\n${texts.test} test texts: ${method} on ${model}, ${data}, ${texts.train} training texts\n\n${table(rows)}\n\n${always}` +
    `${results.map((r) => r.runDir).join('\n')}\n\nNext:\n  npx attune predict "a text" --run ${runDir}\n` +
    `  npx attune eval --run ${runDir}\n  npx attune export --run ${runDir}    # for transformers.js\n`
  );
}
