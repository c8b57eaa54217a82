import { findMethod, type MethodChoice } from '../methods/index.ts';
import { parseOptions } from './flags.ts';
import { UsageError } from './io.ts';
import { usage } from './methods.ts';

/**
 * A method with options, as `compare` reads it: `coop`, or `coop:unified:epochs=20`. Options are named as in
 * `attune methods NAME`, with or without capitals; one without a value is set to true.
 */
export function parseMethod(spec: string): MethodChoice {
  const [name = '', ...parts] = spec.split(':').map((part) => part.trim());
  const { options: schema } = usage(() => findMethod(name));
  const texts = parts.map((part): [string, string | true] => {
    const at = part.indexOf('=');
    return at < 0 ? [part, true] : [part.slice(0, at), part.slice(at + 1)];
  });
  const twice = texts.find(([key], i) => texts.findIndex(([other]) => other === key) !== i);
  if (twice) throw new UsageError(`--methods ${spec}: ${twice[0]} is given twice`);
  return { method: name, options: parseOptions(schema, texts, `--methods ${spec}`), label: spec };
}
