import { didYouMean } from '../../graph/nearest.ts';
import { geometrySelectors } from './geometry.ts';
import { gradientSelectors } from './gradients.ts';
import { scoreSelectors } from './scores.ts';
import type { Selector } from './selector.ts';

/** All methods that select images, in the order of lists. */
export const selectors: readonly Selector[] = [...scoreSelectors, ...geometrySelectors, ...gradientSelectors];

/** The selector of that name; otherwise an error that suggests one. */
export function findSelector(name: string): Selector {
  const found = selectors.find((s) => s.name === name);
  if (found) return found;
  const names = selectors.map((s) => s.name);
  throw new Error(`There is no selector "${name}"${didYouMean(name, names)}; there are ${names.join(', ')}`);
}
