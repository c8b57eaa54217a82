import { didYouMean } from '../graph/nearest.ts';
import { coop } from './baselines/coop.ts';
import { linearProbe } from './baselines/linear-probe.ts';
import { zeroShot } from './baselines/zero-shot.ts';
import type { Method } from './method.ts';

/** All methods that tune a model to images, in the order of lists. */
export const methods: readonly Method[] = [zeroShot, linearProbe, coop];

/** The method of that name; otherwise an error that suggests one. */
export function findMethod(name: string): Method {
  const found = methods.find((m) => m.name === name);
  if (found) return found;
  const names = methods.map((m) => m.name);
  throw new Error(`There is no method "${name}"${didYouMean(name, names)}; methods are ${names.join(', ')}`);
}
