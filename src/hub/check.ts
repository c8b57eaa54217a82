import type { WeightSource } from '../graph/index.ts';
import type { Traced } from '../nn/index.ts';
import { matchKeys } from './adapter.ts';
import type { ResolveOptions } from './hub.ts';

export interface LoadOptions extends ResolveOptions {
  /** Is told of weights that the model does not read, which are an error otherwise. */
  readonly onUnusedWeights?: ((message: string) => void) | undefined;
}

/**
 * Throws unless every weight of the file is read by a model that was traced from scratch, and has the shape that the
 * configuration gives; `ignored` are names that are no weights of it.
 */
export function checkWeights(
  weights: WeightSource,
  read: Traced<unknown>,
  ignored: RegExp,
  onUnused: LoadOptions['onUnusedWeights'],
): void {
  const stored = weights.names().filter((name) => read.weights.has(name) || !ignored.test(name));
  const { missing, unknown, message } = matchKeys([...read.weights], stored);
  if (missing.length || (unknown.length && !onUnused)) {
    const why = message.replaceAll('\n', '; ');
    const way = missing.length ? '' : ' (--allow-unused-weights loads the model without them)';
    throw new Error(`${weights.label} does not fit config.json: ${why}${way}`);
  }
  if (unknown.length)
    onUnused?.(
      `${weights.label} holds weights that the model does not read: ${message.replaceAll('\n', '; ')}`,
    );
  for (const { name, shape } of read.params) {
    const got = weights.get(name)!.shape;
    if (String(got) !== String(shape)) {
      throw new Error(`${weights.label}: "${name}" is [${got}], but config.json asks for [${shape}]`);
    }
  }
}
