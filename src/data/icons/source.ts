/** The drawings of `@iconify/json`, read by name. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../package.ts';
import { domainOf, familyOf } from './families.ts';
import { parseIconName } from './names.ts';
import type { IconSource } from './render.ts';

export interface Candidate extends IconSource {
  readonly id: string;
  readonly prefix: string;
  readonly family: string;
  readonly label: string;
  /** How it is drawn, or by whom. */
  readonly domain: string;
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
export interface SetInfo {
  name: string;
  palette?: boolean;
  author: { name: string };
  license: { title: string; spdx?: string };
}

/** At most this many drawings of one name in one set, so that sets with many weights do not outvote the others. */
export const maxPerSet = 4;

export interface Source {
  readonly folder: string;
  readonly version: string;
  readonly collections: Record<string, SetInfo>;
}

let source: Promise<Source> | undefined;

async function findSource(): Promise<Source> {
  const folder = packageFolder('@iconify/json/package.json', 'the icon data needs');
  const [pkg, collections] = await Promise.all(
    ['package.json', 'collections.json'].map(async (f) =>
      JSON.parse(await readFile(join(folder, f), 'utf8')),
    ),
  );
  return { folder, version: pkg.version, collections };
}

export function openSource(): Promise<Source> {
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

/** The drawings of all sets that `wanted` accepts. */
export async function readSets(
  src: Source,
  wanted: (prefix: string) => boolean,
  keep: (label: string) => boolean,
): Promise<Candidate[]> {
  const prefixes = Object.keys(src.collections).filter(wanted);
  const all: Candidate[] = [];
  for (const prefix of prefixes.sort()) all.push(...(await readSet(src, prefix, keep)));
  return all;
}
