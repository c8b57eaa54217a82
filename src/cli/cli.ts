import { Command, CommanderError } from 'commander';
import { InterruptedError, version } from '../methods/index.ts';
import { adaptCommand } from './adapt.ts';
import { compareCommand } from './compare.ts';
import { dataCommand } from './data.ts';
import { distillCommand } from './distill.ts';
import { evalCommand } from './eval.ts';
import { exportCommand } from './export.ts';
import { generateCommand } from './generate.ts';
import { causeOf, type Io, UsageError } from './io.ts';
import { metaTrainCommand } from './meta-train.ts';
import { methodsCommand } from './methods.ts';
import { modelsCommand } from './models.ts';
import { multitaskCommand } from './multitask.ts';
import { predictCommand } from './predict.ts';
import { pretrainCommand } from './pretrain.ts';
import { reproduceCommand } from './reproduce.ts';
import { selectCommand } from './select.ts';
import { trainCommand } from './train.ts';
import { tuneCommand } from './tune.ts';

async function programOf(argv: readonly string[], io: Io): Promise<Command> {
  const program = new Command('attune')
    .description('Adapts pretrained models cheaply: few examples, few trained parameters, few steps.')
    .version(version)
    .addHelpText('after', '\nMore: attune COMMAND --help');
  const commands = [
    await tuneCommand(argv[0] === 'tune' ? argv : [], io),
    evalCommand(io),
    predictCommand(io),
    exportCommand(io),
    compareCommand(io),
    reproduceCommand(io),
    metaTrainCommand(io),
    multitaskCommand(io),
    selectCommand(io),
    trainCommand(io),
    distillCommand(io),
    adaptCommand(io),
    pretrainCommand(io),
    generateCommand(io),
    methodsCommand(io),
    modelsCommand(io),
    dataCommand(io),
  ];
  for (const command of [program, ...commands]) {
    command
      .exitOverride()
      .configureOutput({ writeOut: io.out, writeErr: () => {}, getOutHelpWidth: () => 110 });
    if (command !== program) program.addCommand(command);
  }
  return program;
}

/** Runs one command line; returns the exit code. Results go to `io.out`, all else to `io.err`. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    const program = await programOf(argv, io);
    await program.parseAsync(argv.length ? argv : ['--help'], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (process.env.ATTUNE_DEBUG) io.err(`${error instanceof Error ? error.stack : error}\n`);
    const interrupted = io.signal.aborted;
    const cause = interrupted && !(error instanceof InterruptedError) ? 'interrupted' : causeOf(error);
    io.err(`attune: ${cause.replace(/^error: /, '')}\n`);
    if (interrupted) return 130;
    return error instanceof UsageError || error instanceof CommanderError ? 2 : 1;
  }
}
