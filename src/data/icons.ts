/**
 * The built-in icon data: drawings of named things from the 243 sets of `@iconify/json`, rendered at 48×48.
 *
 * - `common`: a hundred everyday names in held-out families of sets, split into train, val and test.
 * - `unseen`: names that no pretraining caption has; train and val from families of pretraining, test from held-out ones.
 * - themes (animals, flags, …): train and val from families that pretraining saw, or that nobody saw; test from held-out ones.
 * - `pretrain`: what a base model may see: frequent names in all other families, without copies of `common` and `unseen`.
 */
import type { Dataset } from './dataset.ts';
import { type IconSplit, type OnProgress, openCorpus } from './icons/corpus.ts';
import { exclusionOf, familyOf, type IconDomain, roleOf } from './icons/families.ts';
import { renderVersion } from './icons/render.ts';
import { openSource } from './icons/source.ts';
import { commonNames } from './icons/task.ts';
import type { ThemeName } from './icons/themes.ts';

export interface IconOptions {
  /**
   * `train`, `val` and `test` share their classes; `pretrain` has its own few thousand.
   * Drawings of one family and class are all in one of train, val and test, and so are copies between families.
   */
  readonly split: IconSplit;
  /** `unseen`: names kept out of pretraining, as if they were a user's own; or a theme. Default `common`. */
  readonly task?: 'common' | 'unseen' | ThemeName;
  /** Keep only drawings of these styles. */
  readonly domains?: readonly IconDomain[];
  /** Called while icons are rendered for the first time (about a thousand a second on two cores). */
  readonly onProgress?: OnProgress;
}

/** Counts behind a data card. */
export interface IconReport {
  readonly package: string;
  readonly splits: Record<string, { images: number; classes: number; families: number }>;
  /** Drawings left out, by reason. */
  readonly dropped: Record<string, number>;
  readonly families: { readonly pretrain: readonly string[]; readonly heldOut: readonly string[] };
  readonly heldOutNames: readonly string[];
  readonly sets: readonly {
    prefix: string;
    name: string;
    author: string;
    license: string;
    role: string;
    images: number;
  }[];
}

/**
 * Built-in icons as a data set of 48×48 RGB pictures on white.
 *
 * The first call renders them and keeps them in the cache folder (`ATTUNE_CACHE`, else `~/.cache/attune`): a few
 * seconds for the default task, a minute or two for `pretrain`.
 * @throws where the package `@iconify/json` is missing, the cache folder cannot be written, or the split is empty.
 */
export async function icons({ split, task = 'common', domains, onProgress }: IconOptions): Promise<Dataset> {
  const { version } = await openSource();
  const { meta, pixels } = await openCorpus(split === 'pretrain' ? 'pretrain' : task, onProgress);
  const examples = meta.ids.flatMap((id, i) => {
    const domain = meta.domains[i]!;
    if (meta.splits[i] !== split || (domains && !(domains as readonly string[]).includes(domain))) return [];
    return [{ id, label: meta.labels[i]!, domain, image: async () => pixels(i) }];
  });
  if (!examples.length && domains)
    throw new Error(`no icons of the styles ${domains?.join(', ')} in the split '${split}'`);
  return {
    name: task === 'common' ? 'icons' : task === 'unseen' ? 'icons-unseen' : task,
    version: `${version} v${renderVersion}`,
    classes: meta.classes,
    examples,
  };
}

/** What the icon data is made of: counts for every split, families, sets with authors and licences. Renders all of it. */
export async function iconReport(onProgress?: OnProgress): Promise<IconReport> {
  const src = await openSource();
  const metas = {
    pretrain: (await openCorpus('pretrain', onProgress)).meta,
    common: (await openCorpus('common')).meta,
    unseen: (await openCorpus('unseen')).meta,
  };
  const prefixOf = (id: string) => id.slice(0, id.indexOf(':'));
  const splits: Record<string, { images: number; classes: number; families: number }> = {};
  const dropped: Record<string, number> = {};
  const images = new Map<string, number>();
  for (const [kind, meta] of Object.entries(metas)) {
    for (const [reason, n] of Object.entries(meta.dropped)) dropped[`${kind}: ${reason}`] = n;
    for (const split of new Set(meta.splits)) {
      const rows = meta.ids.map((_, i) => i).filter((i) => meta.splits[i] === split);
      splits[kind === 'unseen' ? `unseen ${split}` : split] = {
        images: rows.length,
        classes: new Set(rows.map((i) => meta.labels[i])).size,
        families: new Set(rows.map((i) => familyOf(prefixOf(meta.ids[i]!)))).size,
      };
    }
    for (const id of meta.ids) images.set(prefixOf(id), (images.get(prefixOf(id)) ?? 0) + 1);
  }
  const used = [...images.keys()].sort();
  const familiesOf = (role: string) => [
    ...new Set(used.filter((p) => roleOf(p) === role).map((p) => familyOf(p))),
  ];
  return {
    package: `@iconify/json ${src.version}`,
    splits,
    dropped,
    families: { pretrain: familiesOf('pretrain').sort(), heldOut: familiesOf('heldOut').sort() },
    heldOutNames: metas.pretrain.heldOutNames,
    sets: Object.entries(src.collections).map(([prefix, info]) => ({
      prefix,
      name: info.name,
      author: info.author.name,
      license: info.license.spdx ?? info.license.title,
      role: exclusionOf(prefix) ? `excluded: ${exclusionOf(prefix)}` : roleOf(prefix),
      images: images.get(prefix) ?? 0,
    })),
  };
}

export { iconDomains } from './icons/families.ts';
export { minPerClass } from './icons/split.ts';
export { type ThemeName, themeNames } from './icons/themes.ts';
export { commonNames, type IconDomain, type IconSplit };
