import { z } from 'zod';
import { type ImageSet, loadImages, openData } from '../../data/index.ts';
import type { SubsetFile } from '../classify/subset-file.ts';
import { findSelector } from './list.ts';
import { Scoring, scoringOptions } from './scoring.ts';
import { type Deviation, deviations, type Selection } from './selector.ts';

const names = Object.keys(deviations) as [Deviation, ...Deviation[]];

/** What decides a selection besides the images. */
export const selectionOptions = z.strictObject({
  method: z.string().default('random').describe('a selector: attune select lists them'),
  fraction: z.number().positive().max(1).default(0.1).describe('share of the images to keep'),
  seed: z.int().nonnegative().default(1).describe('of draws and of the scoring networks'),
  released: z
    .array(z.enum(names))
    .default([])
    .describe('deviations of the released code to follow, by name (docs/methods/rs2.md)'),
  activeStep: z.int().positive().default(1000).describe('images that active learning adds at a time'),
  hardCutoff: z.number().min(0).max(1).default(0.1).describe('share of hardest images that CCS drops first'),
  ...scoringOptions.shape,
});
export type SelectionOptions = z.output<typeof selectionOptions>;

type Hooks = ConstructorParameters<typeof Scoring>[3];

/**
 * Selects images for training. `scoring` keeps networks that several selections share.
 * @returns with the seconds that it took, pre-training of scoring networks included.
 * @throws where a deviation is asked for that does not concern the method.
 */
export async function selectImages(
  images: ImageSet,
  options: SelectionOptions,
  { scoring, ...hooks }: Hooks & { scoring?: Scoring } = {},
): Promise<Selection & { seconds: number }> {
  const { method, fraction, seed, released, activeStep, hardCutoff, ...training } = options;
  const selector = findSelector(method);
  const foreign = released.find((r) => !selector.released?.includes(r));
  if (foreign) {
    const own = selector.released?.length ? `it knows ${selector.released.join(', ')}` : 'it knows none';
    throw new Error(`${method} has no released deviation "${foreign}"; ${own}`);
  }
  const scores = scoring ?? new Scoring(images, training, seed, hooks);
  try {
    const { result, seconds } = await scores.timed(() =>
      selector.select({
        labels: images.labels,
        share: fraction,
        seed,
        scores,
        released: new Set(released),
        settings: { learningRate: training.learningRate, activeStep, hardCutoff },
      }),
    );
    return { ...result, seconds };
  } finally {
    if (!scoring) await scores.release();
  }
}

/** Selects from the training images of a data set: what `attune select` writes. */
export async function selectFrom(
  data: string,
  size: number,
  options: SelectionOptions,
  hooks: Hooks = {},
): Promise<SubsetFile & { seconds: number; options: SelectionOptions; perClass: Record<string, number> }> {
  const { train } = await openData(data);
  const images = await loadImages(train, size ? { size } : {});
  const { indices, weights, seconds } = await selectImages(images, options, hooks);
  const perClass = Object.fromEntries(
    images.classes.map((name, c) => [name, indices.filter((i) => images.labels[i] === c).length]),
  );
  return {
    format: 'attune-subset-1',
    method: options.method,
    data,
    count: images.labels.length,
    indices,
    ids: indices.map((i) => images.ids[i]!),
    ...(weights && { weights }),
    perClass,
    options,
    seconds,
  };
}
