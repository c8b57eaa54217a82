import { didYouMean } from '../../graph/nearest.ts';
import { dept } from '../dept/method.ts';
import { ept } from '../ept/method.ts';
import { adapters } from '../lm-baselines/adapters.ts';
import { attempt } from '../lm-baselines/attempt.ts';
import { bitfit } from '../lm-baselines/bitfit.ts';
import { fullFineTuning } from '../lm-baselines/full-fine-tuning.ts';
import { ia3 } from '../lm-baselines/ia3.ts';
import { lora } from '../lm-baselines/lora.ts';
import { mpt } from '../lm-baselines/mpt.ts';
import { pTuning } from '../lm-baselines/p-tuning.ts';
import { prefixTuning } from '../lm-baselines/prefix-tuning.ts';
import { promptTuning } from '../lm-baselines/prompt-tuning.ts';
import { panda } from '../panda/method.ts';
import type { LanguageMethod } from './method.ts';

/** All methods that adapt a language model, in the order of lists. */
export const languageMethods: readonly LanguageMethod[] = [
  fullFineTuning,
  bitfit,
  lora,
  adapters,
  ia3,
  promptTuning,
  pTuning,
  prefixTuning,
  attempt,
  mpt,
  panda,
  dept,
  ept,
];

/** The method of that name; otherwise an error that suggests one. */
export function findLanguageMethod(name: string): LanguageMethod {
  const found = languageMethods.find((m) => m.name === name);
  if (found) return found;
  const names = languageMethods.map((m) => m.name);
  throw new Error(
    `There is no method "${name}" for language models${didYouMean(name, names)}; methods are ${names.join(', ')}`,
  );
}
