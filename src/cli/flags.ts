import { type Command, Option } from 'commander';
import { z } from 'zod';
import { didYouMean } from '../graph/nearest.ts';
import { UsageError } from './io.ts';

interface Property {
  readonly type?: 'boolean' | 'number' | 'integer' | 'string' | 'array' | 'object';
  readonly enum?: readonly string[];
  readonly items?: Property;
  readonly default?: unknown;
  readonly description?: string;
}

const propertiesOf = (schema: z.ZodObject): Record<string, Property> =>
  (z.toJSONSchema(schema, { io: 'input' }).properties ?? {}) as Record<string, Property>;

export const kebab = (key: string): string => key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

const isNumber = ({ type }: Property): boolean => type === 'number' || type === 'integer';

/** Texts from the command line as the values that the schema checks; what is no number stays for it to reject. */
const parseValue = (p: Property, text: string): unknown => {
  if (p.type === 'array') return text.split(',').map((part) => parseValue(p.items ?? {}, part.trim()));
  return isNumber(p) && text.trim() !== '' && !Number.isNaN(Number(text)) ? Number(text) : text;
};

/** One flag for each key of the schema: `contextLength` becomes `--context-length <n>`. Objects have none. */
function flagsOf(schema: z.ZodObject): Option[] {
  const flags: Option[] = [];
  for (const [key, p] of Object.entries(propertiesOf(schema))) {
    if (p.type === 'object') continue;
    const name = kebab(key);
    const hint = p.type === 'array' ? 'a,b,…' : isNumber(p) ? 'n' : 'text';
    const flag =
      p.type === 'boolean' ? (p.default === true ? `--no-${name}` : `--${name}`) : `--${name} <${hint}>`;
    const standard =
      p.default === undefined || p.type === 'boolean' ? '' : ` (default: ${JSON.stringify(p.default)})`;
    const option = new Option(flag, (p.description ?? '') + standard);
    flags.push(p.enum ? option.choices([...p.enum]) : option);
  }
  return flags;
}

/** Adds the flags of a schema under a heading of their own. */
export function addFlags(command: Command, schema: z.ZodObject, heading: string): void {
  for (const option of flagsOf(schema)) command.addOption(option.helpGroup(heading));
}

/** Flags and what they mean, for a table. */
export const helpRows = (schema: z.ZodObject): string[][] =>
  flagsOf(schema).map(({ flags, description, argChoices }) => [
    flags,
    description + (argChoices ? ` (choices: ${argChoices.join(', ')})` : ''),
  ]);

/** The values of the flags that the user gave, by key. */
export function givenFlags(command: Command, schema: z.ZodObject): Record<string, unknown> {
  const given = Object.entries(propertiesOf(schema)).flatMap(([key, p]) => {
    if (command.getOptionValueSource(key) !== 'cli') return [];
    const value: unknown = command.getOptionValue(key);
    return [[key, typeof value === 'string' ? parseValue(p, value) : value] as const];
  });
  return Object.fromEntries(given);
}

/** Options of a method from names and texts, checked; `true` stands for a name without a value. */
export function parseOptions(
  schema: z.ZodObject,
  given: readonly (readonly [name: string, text: string | true])[],
  where: string,
): Record<string, unknown> {
  const properties = propertiesOf(schema);
  const options = Object.fromEntries(
    given.map(([name, text]) => {
      const key = Object.keys(properties).find((k) => k === name || kebab(k) === name);
      if (key === undefined) {
        const names = Object.keys(properties).map(kebab);
        const known = names.length ? `its options are ${names.join(', ')}` : 'it has none';
        throw new UsageError(`${where}: no option "${name}"${didYouMean(name, names)}; ${known}`);
      }
      const p = properties[key]!;
      if (p.type !== 'boolean') {
        if (text === true) throw new UsageError(`${where}: ${name} needs a value, ${name}=…`);
        return [key, parseValue(p, text)];
      }
      if (text !== true && text !== 'true' && text !== 'false') {
        throw new UsageError(`${where}: ${name} is true or false, not "${text}"`);
      }
      return [key, text === true || text === 'true'];
    }),
  );
  const parsed = schema.safeParse(options);
  if (parsed.success) return options;
  const [issue] = parsed.error.issues;
  throw new UsageError(`${where}: ${kebab(String(issue!.path[0] ?? ''))}: ${issue!.message}`);
}

/** Checks values by the schema; a UsageError names the flag. */
export function checkFlags<S extends z.ZodObject>(schema: S, values: Record<string, unknown>): z.output<S> {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UsageError(`--${kebab(String(issue!.path[0] ?? ''))}: ${issue!.message}`);
}

/** For commander: a whole number from `least` on. */
export const count =
  (least: number) =>
  (text: string): number => {
    const n = Number(text);
    if (text.trim() !== '' && Number.isSafeInteger(n) && n >= least) return n;
    throw new UsageError(`"${text}" is no whole number from ${least} on`);
  };

/** For commander: `1,2,3`. */
export const counts = (text: string): number[] => text.split(',').map(count(0));

export const list = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
