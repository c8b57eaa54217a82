import { type CorruptionName, corrupt, type ImageSet, type Pixels, type Severity } from '../../data/index.ts';
import { Random } from '../../runtime/index.ts';
import { UNKNOWN } from './metrics.ts';

/** Images that arrive together. */
export interface Batch {
  readonly images: readonly Pixels[];
  /** A class of the model, UNKNOWN or UNLABELLED. */
  readonly labels: Int32Array;
  /** Where images come from files, which. */
  readonly ids?: readonly string[];
}

/** A stretch of the stream from one source, such as one corruption. */
export interface Domain {
  readonly name: string;
  /** Images of each batch. */
  readonly sizes: readonly number[];
  /** A function of its arguments alone, so that a resumed run sees the same images. */
  batch(index: number, round: number): Promise<Batch>;
}

/** `count` in as few parts of at most `most` as it takes, as equal as can be: the last batch is no small rest. */
export function evenly(count: number, most: number): number[] {
  const parts = Math.ceil(count / most);
  return Array.from(
    { length: parts },
    (_, i) => Math.floor(((i + 1) * count) / parts) - Math.floor((i * count) / parts),
  );
}

export interface MixedOptions {
  readonly known: Pick<ImageSet, 'images' | 'labels'>;
  /** Images of unknown classes: as many as known ones in every batch; they recur where they are fewer. */
  readonly unknown?: Pick<ImageSet, 'images'>;
  /** What each domain makes of an image, fresh in each round. */
  readonly domains: readonly {
    readonly name: string;
    change(image: Pixels, random: Random): Pixels | Promise<Pixels>;
  }[];
  /** Known and unknown together. */
  readonly batch: number;
  readonly seed: number;
}

/** All known images under each change, in an order of their own in each domain and round. */
export function mixedStream({ known, unknown, domains, batch, seed }: MixedOptions): Domain[] {
  const sizes = evenly(known.images.length, unknown ? Math.max(1, Math.floor(batch / 2)) : batch);
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));
  return domains.map(({ name, change }) => ({
    name,
    sizes: sizes.map((n) => (unknown ? 2 * n : n)),
    async batch(index, round) {
      const [from, size] = [starts[index]!, sizes[index]!];
      const draw = (kind: string, all: readonly Pixels[]) => {
        const order = new Random(seed, kind, name, round).permutation(all.length);
        return Array.from({ length: size }, (_, i) => order[(from + i) % all.length]!);
      };
      const changed = (kind: string, all: readonly Pixels[], picked: readonly number[]) =>
        picked.map((p, i) => change(all[p]!, new Random(seed, 'change', kind, name, round, from + i)));
      const own = draw('known', known.images);
      const others = unknown ? draw('unknown', unknown.images) : [];
      return {
        images: await Promise.all([
          ...changed('known', known.images, own),
          ...changed('unknown', unknown?.images ?? [], others),
        ]),
        labels: Int32Array.from([...own.map((p) => known.labels[p]!), ...others.map(() => UNKNOWN)]),
      };
    },
  }));
}

/** The built-in corruptions of images, one domain each. */
export const corruptedStream = (
  options: Omit<MixedOptions, 'domains'>,
  names: readonly CorruptionName[],
  severity: Severity,
): Domain[] =>
  mixedStream({
    ...options,
    domains: names.map((name) => ({
      name,
      change: (image, random) => corrupt(image, name, severity, random),
    })),
  });
