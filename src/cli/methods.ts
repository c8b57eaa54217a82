import { Command } from 'commander';
import { z } from 'zod';
import { findMethod, type LanguageMethod, languageMethods, type Method, methods } from '../methods/index.ts';
import { helpRows } from './flags.ts';
import { type Io, table, UsageError } from './io.ts';

const all: readonly (Method | LanguageMethod)[] = [...methods, ...languageMethods];

const describe = ({ name, summary, paper, options, ...rest }: Method | LanguageMethod) => ({
  name,
  kind: 'kind' in rest ? rest.kind : 'tune',
  adapts: 'kind' in rest ? 'CLIP' : 'language models',
  summary,
  paper,
  options: z.toJSONSchema(options, { io: 'input' }).properties,
});

export function methodsCommand(io: Io): Command {
  const command = new Command('methods')
    .summary('the methods and their options')
    .description('Lists the methods, or tells about one.')
    .argument('[name]')
    .option('--json', 'one JSON object on standard output')
    .action((name: string | undefined) => {
      const { json } = command.opts<{ json?: boolean }>();
      if (name === undefined) {
        if (json) return io.out(`${JSON.stringify({ methods: all.map(describe) })}\n`);
        const rows = (list: typeof all) => table(list.map((m) => [`  ${m.name}`, m.summary]));
        return io.out(
          `On CLIP, for images:\n${rows(methods)}\n\nOn language models, for texts:\n${rows(languageMethods)}\n\n` +
            'More: attune methods NAME\n',
        );
      }
      const method = languageMethods.find((m) => m.name === name) ?? usage(() => findMethod(name));
      if (json) return io.out(`${JSON.stringify(describe(method))}\n`);
      io.out(
        `${method.name}: ${method.summary}\n${method.paper}\n\n${table(helpRows(method.options))}\n\n` +
          `attune tune --method ${method.name}\n`,
      );
    });
  return command;
}

/** Turns an error about a name into one about the command line. */
export function usage<T>(find: () => T): T {
  try {
    return find();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
