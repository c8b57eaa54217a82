import { Command, CommanderError } from 'commander';
import { InterruptedError, version } from '../methods/vlm/run.ts';
import { causeOf, type Io, UsageError } from './io.ts';
import { tuneCommand } from './tune.ts';

/** Runs one command line; returns the exit code. Results go to `io.out`, all else to `io.err`. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    const program = new Command('attune')
      .description('Adapts pretrained models cheaply: few examples, few trained parameters, few steps.')
      .version(version)
      .showHelpAfterError(false);
    const commands = [await tuneCommand(argv[0] === 'tune' ? argv : [], io)];
    for (const command of [program, ...commands]) {
      command
        .exitOverride()
        .configureOutput({ writeOut: io.out, writeErr: () => {}, getOutHelpWidth: () => 110 });
      if (command !== program) program.addCommand(command);
    }
    if (argv.length === 0) {
      io.out(program.helpInformation());
      return 0;
    }
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (error instanceof InterruptedError) {
      io.err(
        `attune: interrupted${error.dir ? `; continue with: attune tune --resume ${error.dir}` : '; nothing was begun'}\n`,
      );
      return 130;
    }
    if (process.env.ATTUNE_DEBUG) io.err(`${error instanceof Error ? error.stack : error}\n`);
    const usage = error instanceof UsageError || error instanceof CommanderError;
    io.err(`attune: ${causeOf(error).replace(/^error: /, '')}\n`);
    return usage ? 2 : 1;
  }
}
