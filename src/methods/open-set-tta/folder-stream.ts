import { decodeImage, domainFolders, fitImage } from '../../data/index.ts';
import { Random } from '../../runtime/index.ts';
import type { SavedClassifier } from '../classify/saved.ts';
import { UNKNOWN, UNLABELLED } from './metrics.ts';
import { type Domain, evenly } from './stream.ts';

/**
 * One domain a sub-folder, its images in an order drawn by seed and round (class folders alone would be batches of one class).
 * A class folder whose name is no class of the model holds images of an unknown class; images outside class folders are
 * unlabelled.
 * @throws where the folder cannot be read or a domain has fewer than two images.
 */
export async function folderStream(
  root: string,
  { classes, shape }: Pick<SavedClassifier, 'classes' | 'shape'>,
  { batch, seed }: { readonly batch: number; readonly seed: number },
): Promise<{ domains: Domain[]; warnings: string[] }> {
  const warnings: string[] = [];
  const domains = (await domainFolders(root)).map(({ name, files }): Domain => {
    if (files.length < 2)
      throw new Error(`the domain ${name} of ${root} has one image; batch statistics need two`);
    const others = new Set(
      files.flatMap((f) => (f.label === undefined || classes.includes(f.label) ? [] : [f.label])),
    );
    if (others.size)
      warnings.push(
        `${name}: taken as unknown, since the model has no such classes: ${[...others].join(', ')}`,
      );
    const labelOf = (label: string | undefined) =>
      label === undefined ? UNLABELLED : Math.max(UNKNOWN, classes.indexOf(label));
    const sizes = evenly(files.length, batch);
    return {
      name,
      sizes,
      async batch(index, round) {
        const from = sizes.slice(0, index).reduce((a, b) => a + b, 0);
        const order = new Random(seed, 'files', name, round).permutation(files.length);
        const picked = Array.from(order.subarray(from, from + sizes[index]!), (i) => files[i]!);
        return {
          images: await Promise.all(picked.map(async ({ path }) => fitImage(await decodeImage(path), shape))),
          labels: Int32Array.from(picked, ({ label }) => labelOf(label)),
          ids: picked.map(({ id }) => id),
        };
      },
    };
  });
  return { domains, warnings };
}
