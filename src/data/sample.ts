/** Few-shot draws, base and new halves, domains: the protocols of `vlm-prompt-baselines`, seeded. */
import { didYouMean } from '../graph/nearest.ts';
import { Random } from '../runtime/random.ts';
import { byClass, type Dataset, filterExamples, subsetClasses } from './dataset.ts';
import { byCode } from './files.ts';

export interface ShotOptions {
  readonly seed: number;
  /** Take what there is from classes with fewer images, instead of an error. Default false. */
  readonly allowFewer?: boolean;
}

/**
 * `shots` images of every class, without replacement. The draw depends on the seed and the images' ids only: not on
 * the order in which they were listed, nor on `shots`, so that 4 shots are among the 8 shots of the same seed.
 * @throws where a class has fewer images, unless `allowFewer`.
 */
export function fewShot(data: Dataset, shots: number, { seed, allowFewer = false }: ShotOptions): Dataset {
  if (!Number.isInteger(shots) || shots < 1)
    throw new Error(`shots must be a whole number from 1, not ${shots}`);
  const groups = byClass(data);
  const short = groups.findIndex((g) => g.length < shots);
  if (short >= 0 && !allowFewer) {
    const n = groups.filter((g) => g.length < shots).length;
    throw new Error(
      `class "${data.classes[short]}" of ${data.name} has ${groups[short]!.length} images for ${shots} shots` +
        `${n > 1 ? `, and ${n - 1} more classes have too few` : ''}: lower --shots to ` +
        `${Math.max(1, Math.min(...groups.map((g) => g.length)))}, add images, or pass --allow-fewer`,
    );
  }
  const examples = groups.flatMap((group, label) => {
    const sorted = group.toSorted((a, b) => byCode(a.id, b.id));
    return new Random(seed, 'shots', data.classes[label]!).shuffle(sorted).slice(0, shots);
  });
  return { ...data, examples };
}

/** The validation images of a few-shot run: min(shots, 4) of every class, fewer where a class has fewer. */
export const fewShotVal = (data: Dataset, shots: number, seed: number): Dataset =>
  fewShot(data, Math.min(shots, 4), { seed, allowFewer: true });

/**
 * Base and new classes: the first ceil(C/2) labels and the rest, each relabelled from 0. Draw the shots before
 * splitting, so that both halves keep the draw of the whole.
 */
export function baseAndNew(data: Dataset): { base: Dataset; new: Dataset } {
  const order = data.classes.map((_, i) => i);
  const half = Math.ceil(order.length / 2);
  return { base: subsetClasses(data, order.slice(0, half)), new: subsetClasses(data, order.slice(half)) };
}

/** Harmonic mean of base and new accuracy: the H of base-to-new tables. */
export const harmonicMean = (base: number, fresh: number): number =>
  base + fresh === 0 ? 0 : (2 * base * fresh) / (base + fresh);

/** The domains that occur, sorted. */
export const domainsOf = (data: Dataset): string[] =>
  [...new Set(data.examples.flatMap((e) => e.domain ?? []))].sort(byCode);

/** Only the images of these domains. Throws where the data has no such domain. */
export function inDomains(data: Dataset, domains: readonly string[]): Dataset {
  const known = domainsOf(data);
  for (const d of domains) {
    if (!known.includes(d)) {
      throw new Error(
        `${data.name} has no domain "${d}"${didYouMean(d, known)}; ${known.length ? `it has ${known.join(', ')}` : 'it has none'}`,
      );
    }
  }
  return filterExamples(data, (e) => e.domain !== undefined && domains.includes(e.domain));
}

/** One domain left out for test: `source` to adapt on, `target` to test on. */
export function leaveDomainOut(data: Dataset, domain: string): { source: Dataset; target: Dataset } {
  return { target: inDomains(data, [domain]), source: filterExamples(data, (e) => e.domain !== domain) };
}
