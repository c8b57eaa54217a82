/** From drawings to corpora: chosen, rendered, split, without copies, and kept in the cache folder. */
import { join } from 'node:path';
import { mapParallel } from '../parallel.ts';
import { roleOf } from './families.ts';
import { cacheFolder, deflate, type Packed, readPack, writePack } from './pack.ts';
import { fingerprint, iconSize, renderIcon, renderVersion } from './render.ts';
import { type Candidate, maxPerSet, openSource, readSets, type Source } from './source.ts';
import {
  type EvaluationSplit,
  groupBy,
  hash,
  minPerClass,
  type Rendered,
  splitByRole,
  splitClass,
} from './split.ts';
import { commonByLabel } from './task.ts';
import { type ThemeName, themes } from './themes.ts';

export type IconSplit = EvaluationSplit | 'pretrain';
export type CorpusKind = 'common' | 'unseen' | 'pretrain' | ThemeName;
export type OnProgress = ((done: number, total: number) => void) | undefined;

export interface Corpus {
  readonly classes: readonly string[];
  readonly ids: readonly string[];
  readonly labels: readonly number[];
  readonly domains: readonly string[];
  readonly splits: readonly IconSplit[];
  /** Fingerprints, by which pretraining avoids copies. */
  readonly prints: readonly string[];
  readonly dropped: Record<string, number>;
  readonly heldOutNames: readonly string[];
}

/** A name needs this many pretraining sets to be a caption: rarer ones are mostly trademarks and odd spellings. */
const minSets = 4;
const minFamilies = 2;
/** The unseen task: how many names, and how many held-out drawings each must have. */
const unseenNames = 50;
const unseenImages = 10;

/** One name in ten is kept out of pretraining; the hundred common names never are. */
const isHeldOutName = (label: string) =>
  !commonByLabel.has(label) && hash(`name:${label}`).readUInt32BE(0) % 10 === 0;

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

/** Renders the candidates; broken and blank ones, and drawings that an earlier candidate already shows, fall out. */
async function renderAll(
  candidates: readonly Candidate[],
  dropped: Record<string, number>,
  forbidden: ReadonlySet<string>,
  onProgress?: OnProgress,
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

/** What to draw. `evaluation` are the corpora whose drawings pretraining must not contain. */
async function candidatesOf(src: Source, kind: CorpusKind) {
  const held = (prefix: string) => roleOf(prefix) === 'heldOut';
  const seen = (prefix: string) => roleOf(prefix) === 'pretrain';
  if (kind === 'common') {
    const all = await readSets(src, held, (label) => commonByLabel.has(label));
    return { candidates: all.map((c) => ({ ...c, label: commonByLabel.get(c.label)! })), heldOutNames: [] };
  }
  if (kind === 'unseen') {
    const all = await readSets(src, held, (label) => isHeldOutName(label) && isUsable(label));
    const counted = [...groupBy(all, (c) => c.label)].filter(([, items]) => items.length >= unseenImages);
    const largest = counted.sort((a, b) => b[1].length - a[1].length || (a[0] < b[0] ? -1 : 1));
    const heldOutNames = largest.slice(0, unseenNames).map(([label]) => label);
    // The shots come from families that pretraining knows, under names that it does not; the test from families apart.
    const shots = await readSets(src, seen, (label) => heldOutNames.includes(label));
    return { candidates: [...all.filter((c) => heldOutNames.includes(c.label)), ...shots], heldOutNames };
  }
  if (kind === 'pretrain') {
    const all = await readSets(src, seen, isUsable);
    const frequent = frequentLabels(all);
    return {
      candidates: all.filter((c) => frequent.has(c.label) && !isHeldOutName(c.label)),
      heldOutNames: [...frequent].filter(isHeldOutName).sort(),
    };
  }
  const theme = themes[kind];
  const all = await readSets(src, theme.uses, (label) => theme.classOf(label) !== undefined);
  const named = all.map((c) => ({
    ...c,
    label: theme.classOf(c.label)!,
    domain: theme.domains === 'vendor' ? c.family : c.domain,
  }));
  const perSet = new Map<string, number>();
  const few = named.filter(({ prefix, label }) => {
    const n = (perSet.get(`${prefix}|${label}`) ?? 0) + 1;
    perSet.set(`${prefix}|${label}`, n);
    return n <= maxPerSet;
  });
  // Of a drawing that occurs on both sides, the test's copy is the one that falls out: pretraining may have seen it.
  const test = (c: Candidate) => theme.isTest(c.prefix);
  return { candidates: [...few.filter((c) => !test(c)), ...few.filter(test)], heldOutNames: [] };
}

function splitsOf(kind: CorpusKind, items: readonly Rendered[]): IconSplit[] {
  if (kind === 'pretrain') return items.map(() => 'pretrain');
  if (kind === 'common') return splitClass(items);
  const isTest = kind === 'unseen' ? (prefix: string) => roleOf(prefix) === 'heldOut' : themes[kind].isTest;
  return splitByRole(items, (item) => isTest(item.prefix));
}

/** Draws the corpus. `evaluation` are the corpora whose drawings it must not contain. */
async function build(
  src: Source,
  kind: CorpusKind,
  evaluation: readonly Corpus[],
  onProgress?: OnProgress,
): Promise<{ corpus: Corpus; blobs: Buffer[] }> {
  const dropped: Record<string, number> = {};
  const { candidates, heldOutNames } = await candidatesOf(src, kind);
  const forbidden = new Set(evaluation.flatMap((corpus) => corpus.prints));
  const rendered = await renderAll(candidates, dropped, forbidden, onProgress);
  const groups = groupBy(rendered, (r) => r.label);
  const splitOf = new Map<Rendered, IconSplit>();
  for (const [label, items] of groups) {
    const splits = splitsOf(kind, items);
    if (kind === 'unseen' && splits.filter((s) => s === 'train').length < minPerClass.train) {
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
export async function openCorpus(kind: CorpusKind, onProgress?: OnProgress): Promise<Packed<Corpus>> {
  const src = await openSource();
  // The rules of a theme are part of its name, so that a change of them is seen.
  const rules =
    kind in themes
      ? `-${hash(themes[kind as ThemeName].definition)
          .toString('hex')
          .slice(0, 8)}`
      : '';
  const file = join(
    cacheFolder(),
    'icons',
    `${kind}-${src.version}-${iconSize}px-v${renderVersion}${rules}.pack`,
  );
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
