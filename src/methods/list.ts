import { didYouMean } from '../graph/nearest.ts';
import { cocoop } from './baselines/cocoop.ts';
import { coop } from './baselines/coop.ts';
import { ivlp } from './baselines/ivlp.ts';
import { kgcoop } from './baselines/kgcoop.ts';
import { linearProbe } from './baselines/linear-probe.ts';
import { maple } from './baselines/maple.ts';
import { prograd } from './baselines/prograd.ts';
import { tipAdapter } from './baselines/tip-adapter.ts';
import { zeroShot } from './baselines/zero-shot.ts';
import { gram } from './gram/method.ts';
import type { Method } from './method.ts';
import { mocoop } from './mocoop/method.ts';
import { ramt } from './r-amt/method.ts';
import { restore } from './restore/method.ts';

/** All methods that tune a model to images, in the order of lists. */
export const methods: readonly Method[] = [
  zeroShot,
  linearProbe,
  tipAdapter,
  coop,
  cocoop,
  kgcoop,
  prograd,
  ivlp,
  maple,
  mocoop,
  restore,
  gram,
  ramt,
];

/** The method of that name; otherwise an error that suggests one. */
export function findMethod(name: string): Method {
  const found = methods.find((m) => m.name === name);
  if (found) return found;
  const names = methods.map((m) => m.name);
  throw new Error(`There is no method "${name}"${didYouMean(name, names)}; methods are ${names.join(', ')}`);
}
