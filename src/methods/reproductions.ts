import { didYouMean } from '../graph/nearest.ts';
import type { Reproduction } from './reproduction.ts';

/** Every system whose claims can be measured, loaded when asked for. */
export const reproductions: Readonly<Record<string, () => Promise<Reproduction>>> = {
  coop: async () => (await import('./baselines/coop.reproduce.ts')).coopClaims,
  gram: async () => (await import('./gram/reproduce.ts')).gramClaims,
  mocoop: async () => (await import('./mocoop/reproduce.ts')).mocoopClaims,
  restore: async () => (await import('./restore/reproduce.ts')).restoreClaims,
  'r-amt': async () => (await import('./r-amt/reproduce.ts')).ramtClaims,
  'open-set-tta': async () => (await import('./open-set-tta/reproduce.ts')).openSetClaims,
  dcc: async () => (await import('./dcc/reproduce.ts')).dccClaims,
  'lm-baselines': async () => (await import('./lm-baselines/reproduce.ts')).baselineClaims,
  panda: async () => (await import('./panda/reproduce.ts')).pandaClaims,
  dept: async () => (await import('./dept/reproduce.ts')).deptClaims,
  ept: async () => (await import('./ept/reproduce.ts')).eptClaims,
  rs2: async () => (await import('./rs2/reproduce.ts')).rs2Claims,
};

/** The claims of that system; otherwise an error that suggests one. */
export function findReproduction(slug: string, list = reproductions): Promise<Reproduction> {
  const names = Object.keys(list);
  if (!Object.hasOwn(list, slug)) {
    throw new Error(
      `There are no claims of "${slug}"${didYouMean(slug, names)}; there are ${names.join(', ')}`,
    );
  }
  return list[slug]!();
}
