/**
 * The built-in icon data: drawings of named things from the 243 sets of `@iconify/json`, rendered at 48×48.
 *
 * - `common`: a hundred everyday names in held-out families of sets, split into train, val and test.
 * - `unseen`: names that no pretraining caption has; train and val from families of pretraining, test from held-out ones.
 * - `pretrain`: what a base model may see: frequent names in all other families, without copies of any drawing above.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Dataset } from './dataset.ts';
import { domainOf, exclusionOf, familyOf, type IconDomain, roleOf } from './icons/families.ts';
import { parseIconName } from './icons/names.ts';
import { cacheFolder, deflate, type Packed, readPack, writePack } from './icons/pack.ts';
import { fingerprint, type IconSource, iconSize, renderIcon, renderVersion } from './icons/render.ts';
import { commonByLabel, commonNames } from './icons/task.ts';
import { mapParallel } from './parallel.ts';

export type IconSplit = 'train' | 'val' | 'test' | 'pretrain';

export interface IconOptions {
  /**
   * `train`, `val` and `test` share their classes; `pretrain` has its own few thousand.
   * Drawings of one family and class are all in one of train, val and test, and so are copies between families.
   */
  readonly split: IconSplit;
  /** `unseen`: names kept out of pretraining, as if they were a user's own. Default `common`. */
  readonly task?: 'common' | 'unseen';
  /** Keep only drawings of these styles. */
  readonly domains?: readonly IconDomain[];
  /** Called while icons are rendered for the first time (about a thousand a second on two cores). */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
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

interface Corpus {
  readonly classes: readonly string[];
  readonly ids: readonly string[];
  readonly labels: readonly number[];
  readonly domains: readonly IconDomain[];
  readonly splits: readonly IconSplit[];
  /** Fingerprints, by which pretraining avoids copies. */
  readonly prints: readonly string[];
  readonly dropped: Record<string, number>;
  readonly heldOutNames: readonly string[];
}

interface Candidate extends IconSource {
  readonly id: string;
  readonly prefix: string;
  readonly family: string;
  readonly label: string;
  readonly domain: IconDomain;
}

interface IconSetJson {
  icons: Record<string, { body: string; hidden?: boolean } & Partial<IconSource>>;
  suffixes?: Record<string, string>;
  prefixes?: Record<string, string>;
  left?: number;
  top?: number;
  width?: number;
  height?: number;
}
interface SetInfo {
  name: string;
  palette?: boolean;
  author: { name: string };
  license: { title: string; spdx?: string };
}

/** A name needs this many pretraining sets to be a caption: rarer ones are mostly trademarks and odd spellings. */
const minSets = 4;
const minFamilies = 2;
/** At most this many drawings of one name in one set, so that sets with many weights do not outvote the others. */
const maxPerSet = 4;
/** The unseen task: how many names, and how many held-out drawings each must have. */
const unseenNames = 50;
const unseenImages = 10;

const hash = (text: string) => createHash('sha1').update(text).digest();
/** One name in ten is kept out of pretraining; the hundred common names never are. */
const isHeldOutName = (label: string) =>
  !commonByLabel.has(label) && hash(`name:${label}`).readUInt32BE(0) % 10 === 0;

interface Source {
  readonly folder: string;
  readonly version: string;
  readonly collections: Record<string, SetInfo>;
}

let source: Promise<Source> | undefined;

async function findSource(): Promise<Source> {
  let file: string;
  try {
    file = createRequire(import.meta.url).resolve('@iconify/json/package.json');
  } catch {
    throw new Error('the icon data needs the package @iconify/json: run `npm install @iconify/json`');
  }
  const folder = dirname(file);
  const [pkg, collections] = await Promise.all(
    [file, join(folder, 'collections.json')].map(async (f) => JSON.parse(await readFile(f, 'utf8'))),
  );
  return { folder, version: pkg.version, collections };
}

function openSource(): Promise<Source> {
  source ??= findSource().catch((error) => {
    source = undefined;
    throw error;
  });
  return source;
}

/** The drawings of one set that `keep` accepts by name: one for each name and style, the size nearest to 24 px. */
async function readSet(src: Source, prefix: string, keep: (label: string) => boolean): Promise<Candidate[]> {
  const set: IconSetJson = JSON.parse(await readFile(join(src.folder, 'json', `${prefix}.json`), 'utf8'));
  const affixes = { suffixes: Object.keys(set.suffixes ?? {}), prefixes: Object.keys(set.prefixes ?? {}) };
  const best = new Map<string, { candidate: Candidate; distance: number }>();
  const { left = 0, top = 0, width = 16, height = 16 } = set;
  for (const [name, icon] of Object.entries(set.icons)) {
    if (icon.hidden) continue;
    const { label, style, size, stem } = parseIconName(prefix, name, affixes);
    if (!keep(label)) continue;
    const distance = Math.abs(size - 24);
    const key = `${stem}|${style}`;
    if (distance >= (best.get(key)?.distance ?? Number.POSITIVE_INFINITY)) continue;
    const candidate: Candidate = {
      id: `${prefix}:${name}`,
      prefix,
      family: familyOf(prefix),
      label,
      domain: domainOf(prefix, style, src.collections[prefix]?.palette ?? false),
      left,
      top,
      width,
      height,
      ...icon,
    };
    best.set(key, { candidate, distance });
  }
  const perLabel = new Map<string, number>();
  return [...best.values()].flatMap(({ candidate }) => {
    const n = (perLabel.get(candidate.label) ?? 0) + 1;
    perLabel.set(candidate.label, n);
    return n > maxPerSet ? [] : [candidate];
  });
}

async function readSets(
  src: Source,
  role: 'pretrain' | 'heldOut',
  keep: (label: string) => boolean,
): Promise<Candidate[]> {
  const prefixes = Object.keys(src.collections).filter((p) => roleOf(p) === role);
  const all: Candidate[] = [];
  for (const prefix of prefixes.sort()) all.push(...(await readSet(src, prefix, keep)));
  return all;
}

/** Labels that enough sets and families have. */
function frequentLabels(candidates: readonly Candidate[]): Set<string> {
  const where = new Map<string, { sets: Set<string>; families: Set<string> }>();
  for (const c of candidates) {
    const entry = where.get(c.label) ?? { sets: new Set(), families: new Set() };
    where.set(c.label, entry);
    entry.sets.add(c.prefix);
    entry.families.add(c.family);
  }
  return new Set(
    [...where]
      .filter(([, w]) => w.sets.size >= minSets && w.families.size >= minFamilies)
      .map(([label]) => label),
  );
}

/** No numbers, symbols, single letters or variants of people's skin. */
const isUsable = (label: string) =>
  /^[a-z0-9 ]{2,40}$/.test(label) &&
  /[a-z]{2}/.test(label) &&
  !/skin tone| (?:light|medium|dark) (?:light|dark)$/.test(label);

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const k = key(item);
    const group = groups.get(k);
    if (group) group.push(item);
    else groups.set(k, [item]);
  }
  return groups;
}

interface Rendered extends Candidate {
  readonly print: string;
  readonly blob: Buffer;
}

/** Renders the candidates; broken and blank ones, and drawings that an earlier candidate already shows, fall out. */
async function renderAll(
  candidates: readonly Candidate[],
  dropped: Record<string, number>,
  forbidden: ReadonlySet<string>,
  onProgress?: IconOptions['onProgress'],
): Promise<Rendered[]> {
  const seen = new Set<string>();
  const drop = (reason: string) => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
    return [];
  };
  const drawn = await mapParallel(
    candidates,
    async (c) => {
      const pixels = await renderIcon(c);
      return pixels && { print: fingerprint(pixels), blob: deflate(pixels) };
    },
    onProgress,
  );
  return candidates.flatMap((c, i) => {
    const result = drawn[i];
    if (!result) return drop('broken, blank or animated');
    if (forbidden.has(result.print)) return drop('looks like a held-out drawing');
    const key = `${c.label}|${result.print}`;
    if (seen.has(key)) return drop('copy of another drawing of the same name');
    seen.add(key);
    return [{ ...c, ...result }];
  });
}

/** The least images of a class in each split, where its families allow. */
export const minPerClass = { train: 16, val: 4, test: 10 };

/**
 * Splits the drawings of one class. A family's drawings of it stay together, and families that copied a drawing from
 * one another count as one. Test gets about a third, val about an eighth. The first of a hundred fixed orders
 * of the families that fills `minPerClass` is taken.
 */
function splitClass(items: readonly Rendered[]): IconSplit[] {
  const parent = new Map<string, string>();
  const root = (x: string): string => {
    const up = parent.get(x) ?? x;
    return up === x ? x : root(up);
  };
  for (const item of items) {
    const a = root(`family:${item.family}`);
    const b = root(`print:${item.print}`);
    if (a !== b) parent.set(b, a);
  }
  const groups = [...groupBy(items, (item) => root(`family:${item.family}`))];
  const target = {
    test: Math.max(minPerClass.test, items.length * 0.33),
    val: Math.max(minPerClass.val, items.length * 0.12),
  };
  let splitOf = new Map<string, IconSplit>();
  for (let salt = 0; salt < 100; salt++) {
    const rank = new Map(
      groups.map(([name]) => [name, hash(`${salt}|${items[0]!.label}|${name}`).readUInt32BE(0)]),
    );
    const filled = { train: 0, val: 0, test: 0 };
    splitOf = new Map();
    for (const [name, group] of groups.toSorted((a, b) => rank.get(a[0])! - rank.get(b[0])!)) {
      const half = group.length / 2;
      const split =
        filled.test + half < target.test ? 'test' : filled.val + half < target.val ? 'val' : 'train';
      filled[split] += group.length;
      splitOf.set(name, split);
    }
    if (Object.entries(minPerClass).every(([split, n]) => filled[split as 'train'] >= n)) break;
  }
  return items.map((item) => splitOf.get(root(`family:${item.family}`))!);
}

/** Held-out families are test; of the others, whole families are val until it is filled, as long as train keeps enough. */
function splitUnseen(items: readonly Rendered[]): IconSplit[] {
  const pool = items.filter((item) => roleOf(item.prefix) !== 'heldOut');
  const rank = (family: string) => hash(`${items[0]!.label}|${family}`).readUInt32BE(0);
  const families = [...groupBy(pool, (item) => item.family)].sort((a, b) => rank(a[0]) - rank(b[0]));
  const val = new Set<string>();
  let filled = 0;
  for (const [name, group] of families) {
    if (filled >= minPerClass.val || pool.length - filled - group.length < minPerClass.train) continue;
    val.add(name);
    filled += group.length;
  }
  return items.map((item) =>
    roleOf(item.prefix) === 'heldOut' ? 'test' : val.has(item.family) ? 'val' : 'train',
  );
}

/** Draws the corpus. `evaluation` are the corpora whose drawings it must not contain. */
async function build(
  src: Source,
  kind: 'common' | 'unseen' | 'pretrain',
  evaluation: readonly Corpus[],
  onProgress?: IconOptions['onProgress'],
): Promise<{ corpus: Corpus; blobs: Buffer[] }> {
  const dropped: Record<string, number> = {};
  let heldOutNames: string[] = [];
  let candidates: Candidate[];
  if (kind === 'common') {
    candidates = (await readSets(src, 'heldOut', (label) => commonByLabel.has(label))).map((c) => ({
      ...c,
      label: commonByLabel.get(c.label)!,
    }));
  } else if (kind === 'unseen') {
    const all = await readSets(src, 'heldOut', (label) => isHeldOutName(label) && isUsable(label));
    const counted = [...groupBy(all, (c) => c.label)].filter(([, items]) => items.length >= unseenImages);
    const largest = counted.sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
    heldOutNames = largest.slice(0, unseenNames).map(([label]) => label);
    // The shots come from families that pretraining knows, under names that it does not; the test from families apart.
    const shots = await readSets(src, 'pretrain', (label) => heldOutNames.includes(label));
    candidates = [...all.filter((c) => heldOutNames.includes(c.label)), ...shots];
  } else {
    const all = await readSets(src, 'pretrain', isUsable);
    const frequent = frequentLabels(all);
    heldOutNames = [...frequent].filter(isHeldOutName).sort();
    candidates = all.filter((c) => frequent.has(c.label) && !isHeldOutName(c.label));
  }
  const forbidden = new Set(evaluation.flatMap((corpus) => corpus.prints));
  const rendered = await renderAll(candidates, dropped, forbidden, onProgress);
  const groups = groupBy(rendered, (r) => r.label);
  const splitOf = new Map<Rendered, IconSplit>();
  for (const [label, items] of groups) {
    const splits =
      kind === 'common'
        ? splitClass(items)
        : kind === 'unseen'
          ? splitUnseen(items)
          : items.map(() => 'pretrain' as const);
    if (splits.filter((s) => s === 'train').length < minPerClass.train && kind === 'unseen') {
      groups.delete(label);
      dropped['too few drawings for 16 shots'] =
        (dropped['too few drawings for 16 shots'] ?? 0) + items.length;
      continue;
    }
    items.forEach((item, i) => {
      splitOf.set(item, splits[i]!);
    });
  }
  const classes = [...groups.keys()].sort();
  const position = new Map(classes.map((label, i) => [label, i]));
  const kept = rendered.filter((r) => splitOf.has(r));
  return {
    corpus: {
      classes,
      ids: kept.map((r) => r.id),
      labels: kept.map((r) => position.get(r.label)!),
      domains: kept.map((r) => r.domain),
      splits: kept.map((r) => splitOf.get(r)!),
      prints: rendered.flatMap((r) => (roleOf(r.prefix) === 'heldOut' ? [r.print] : [])),
      dropped,
      heldOutNames,
    },
    blobs: kept.map((r) => r.blob),
  };
}

const corpora = new Map<string, Promise<Packed<Corpus>>>();

/** The corpus from this process, from the cache folder, or drawn now. */
async function openCorpus(
  kind: 'common' | 'unseen' | 'pretrain',
  onProgress?: IconOptions['onProgress'],
): Promise<Packed<Corpus>> {
  const src = await openSource();
  const file = join(cacheFolder(), 'icons', `${kind}-${src.version}-${iconSize}px-v${renderVersion}.pack`);
  let pending = corpora.get(file);
  if (!pending) {
    pending = (async () => {
      const cached = await readPack<Corpus>(file);
      if (cached) return cached;
      const evaluation =
        kind === 'pretrain' ? [(await openCorpus('common')).meta, (await openCorpus('unseen')).meta] : [];
      const { corpus, blobs } = await build(src, kind, evaluation, onProgress);
      await writePack(file, corpus, iconSize, blobs);
      return (await readPack<Corpus>(file))!;
    })();
    corpora.set(file, pending);
    pending.catch(() => corpora.delete(file));
  }
  return pending;
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
    if (meta.splits[i] !== split || (domains && !domains.includes(domain))) return [];
    return [{ id, label: meta.labels[i]!, domain, image: async () => pixels(i) }];
  });
  if (!examples.length)
    throw new Error(`no icons of the styles ${domains?.join(', ')} in the split '${split}'`);
  return {
    name: task === 'common' ? 'icons' : 'icons-unseen',
    version: `${version} v${renderVersion}`,
    classes: meta.classes,
    examples,
  };
}

/** What the icon data is made of: counts for every split, families, sets with authors and licences. Renders all of it. */
export async function iconReport(onProgress?: IconOptions['onProgress']): Promise<IconReport> {
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
export { commonNames, type IconDomain };
