import type { Command } from 'commander';
import type { z } from 'zod';
import type { JsonObject } from '../hub/index.ts';
import { figureOf, type Runs, readSettings } from '../methods/index.ts';
import { checkFlags, givenFlags } from './flags.ts';
import { percent, UsageError } from './io.ts';

type RunSettingsBase = { readonly seed: number; readonly options: JsonObject };

/** Runs from flags alone, or from the run folder that is resumed, which flags must not contradict. `keys` are the settings that are flags. */
export async function jobOf<S extends RunSettingsBase>(
  command: Command,
  schema: z.ZodObject,
  keys: readonly (keyof S & string)[],
  defaults: Omit<S, 'options'>,
): Promise<Runs<S>> {
  const flags = command.opts<{ seeds?: number[]; out?: string; resume?: string | true }>();
  const options = givenFlags(command, schema);
  checkFlags(schema, options);
  const dir = typeof flags.resume === 'string' ? flags.resume : undefined;
  if (dir !== undefined && (flags.seeds || flags.out !== undefined)) {
    throw new UsageError('--resume DIR takes neither --seeds nor --out');
  }
  const stored = dir === undefined ? undefined : await readSettings<S>(dir);
  const given = keys
    .filter((key) => command.getOptionValueSource(key) === 'cli')
    .map((key) => [key, command.getOptionValue(key)]);
  const { seed, ...settings } = {
    ...(stored ?? defaults),
    ...Object.fromEntries(given),
    options: { ...stored?.options, ...options },
  } as S;
  return {
    settings,
    seeds: flags.seeds ?? [seed],
    resume: flags.resume !== undefined,
    out: dir ?? flags.out,
  };
}

/** Mean and deviation over seeds, in percent. */
export function percentOver(values: readonly number[]): string {
  const { mean, std } = figureOf(values);
  return `${percent(mean)} ± ${(100 * std).toFixed(1)}`;
}
