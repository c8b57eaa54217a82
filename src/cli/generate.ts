import { Command } from 'commander';
import { loadLanguageModel, type Tokenizer } from '../hub/index.ts';
import { Generator, generationOptions, parseGenerationOptions } from '../models/generation/index.ts';
import { addFlags, checkFlags, givenFlags } from './flags.ts';
import { type Io, UsageError } from './io.ts';
import { usage } from './methods.ts';
import { drain, Progress } from './progress.ts';
import { loadOptions } from './source.ts';

export function generateCommand(io: Io): Command {
  const command = new Command('generate')
    .summary('write text with a language model')
    .description(
      'Continues a prompt (GPT-2, LLaMA, Mistral, Qwen), or answers it (T5, mT5), token by token\n' +
        '(docs/generation.md).',
    )
    .argument('[prompt]', 'the text; without it, standard input')
    .requiredOption('-m, --model <spec>', 'a folder in the layout of Hugging Face, owner/name of the Hub')
    .option('--allow-unused-weights', 'load checkpoints with weights that the model does not read')
    .option('--json', 'one JSON object on standard output, when all is written')
    .addHelpText(
      'after',
      '\nExamples:\n  attune generate "Once upon a time" --model openai-community/gpt2 --sample --top-p 0.9\n' +
        '  attune generate --model google/flan-t5-small --beams 4 < question.txt',
    )
    .action(async (given: string | undefined) => {
      const flags = command.opts<{ model: string; allowUnusedWeights?: boolean; json?: boolean }>();
      const options = checkFlags(generationOptions, givenFlags(command, generationOptions));
      usage(() => parseGenerationOptions(options));
      // The line break at the end of a file is no part of the prompt.
      const prompt = given ?? (await io.input()).replace(/\r?\n$/, '');
      if (prompt === '') throw new UsageError('the prompt is empty');
      const progress = new Progress(io);
      const model = await loadLanguageModel(flags.model, loadOptions(flags, io, progress)).finally(() =>
        progress.clear(),
      );
      if (model.kind === 'encoder') {
        throw new UsageError(`${flags.model}: a ${model.modelType} reads text, but does not write it`);
      }
      const { tokenizer } = model;
      const eosIds = model.eosIds.length ? model.eosIds : [tokenizer.eosId ?? []].flat();
      const generator = new Generator(model);
      const read = tokenizer.encode(prompt);
      const textOf = continuation(tokenizer, model.kind === 'causal' ? read : []);
      const live = flags.json ? undefined : new TextStream(textOf, io);
      try {
        const inputs = { ids: [read], eosIds, signal: io.signal };
        const steps = generator.stream(inputs, options);
        const { ids, scores } = await drain(steps, ({ step, tokens: [token] }) => {
          if (token !== undefined) live?.add(token);
          else progress.update('token', step, options.maxNewTokens);
        });
        progress.clear();
        const written = ids[0]!;
        if (live) return live.end(written);
        const text = textOf(written);
        const ended = eosIds.includes(written.at(-1)!);
        const score = scores ? { score: scores[0]! } : {};
        io.out(`${JSON.stringify({ model: flags.model, prompt, text, ids: written, ended, ...score })}\n`);
      } finally {
        await generator.release();
      }
    });
  addFlags(command, generationOptions, 'Decoding:');
  return command;
}

/** What ids say after those that were read: some tokenizers drop the space that a text begins with. */
function continuation(tokenizer: Tokenizer, read: readonly number[]): (ids: readonly number[]) => string {
  const start = tokenizer.decode(read).length;
  return (ids) => tokenizer.decode([...read, ...ids]).slice(start);
}

/** Text that grows on standard output, only ever by whole characters. */
class TextStream {
  private readonly ids: number[] = [];
  private shown = '';

  constructor(
    private readonly textOf: (ids: readonly number[]) => string,
    private readonly io: Io,
  ) {}

  add(id: number): void {
    this.ids.push(id);
    const text = this.textOf(this.ids);
    // The bytes of a character may come as several tokens.
    if (!text.endsWith('\ufffd')) this.show(text);
  }

  end(ids: readonly number[]): void {
    this.show(this.textOf(ids));
    this.io.out('\n');
  }

  private show(text: string): void {
    this.io.out(text.slice(this.shown.length));
    this.shown = text;
  }
}
