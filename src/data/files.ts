/** From a list of labelled image files to checked, split data: what folders and manifests have in common. */
import { createHash } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Random } from '../runtime/random.ts';
import type { Dataset, Example } from './dataset.ts';
import { type DecodeOptions, decodeImage, sniffImage } from './decode.ts';
import { mapParallel } from './parallel.ts';

/** Data ready for a run: three sets over the same classes. */
export interface DataSplits {
  readonly train: Dataset;
  readonly val: Dataset;
  readonly test: Dataset;
  /** Where the splits come from: the source itself, or a seeded split made here. */
  readonly split: string;
  /** What was left out or looks odd, one sentence each. */
  readonly warnings: readonly string[];
}

export interface FileOptions extends DecodeOptions {
  /** What to do with a file that should be an image and cannot be read. Default `error`. */
  readonly onBadImage?: 'error' | 'skip';
  /**
   * `full` decodes every image once while loading, `header` reads first bytes only, so that a damaged image shows when
   * it is used, `none` reads nothing. Default: `full` up to 5,000 images.
   */
  readonly verify?: 'full' | 'header' | 'none';
  /** Seed of the split, where the source has none. Default 1. */
  readonly seed?: number;
  /**
   * Share of val and test in each class, where the source has no splits; as CoOp does for DTD and EuroSAT.
   * Default `{ val: 0.2, test: 0.3 }`, at least one test image a class.
   */
  readonly fractions?: { readonly val: number; readonly test: number };
  /** Small classes give less to val and test (at least one image to test) so that train keeps this many. Default 16. */
  readonly minTrain?: number;
}

export type SplitName = 'train' | 'val' | 'test';
export const splitNames: Readonly<Record<string, SplitName>> = {
  train: 'train',
  training: 'train',
  val: 'val',
  valid: 'val',
  validation: 'val',
  dev: 'val',
  test: 'test',
  testing: 'test',
};

export interface LabelledFile {
  readonly path: string;
  readonly id: string;
  /** The class as the source spells it. */
  readonly label: string;
  readonly split?: SplitName;
  readonly domain?: string;
  /** Where it is listed, for messages, e.g. "line 7". */
  readonly where?: string;
}

/** Orders by code units: the same on every machine, whatever its language. */
export const byCode = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The name of a class as prompts have it, of one as a source spells it. */
export const className = (source: string): string => source.replace(/[_\s]+/g, ' ').trim();

/** "a, b and 3 more". */
export function listed(names: readonly string[], max = 5, separator = ', '): string {
  const rest = names.length - max;
  return names.slice(0, max).join(separator) + (rest > 0 ? ` and ${rest} more` : '');
}
const quoted = (names: readonly string[]) => listed(names.map((s) => `"${s}"`));

async function readHead(path: string): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const head = new Uint8Array(1024);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The reason why a file is no readable image, or undefined. */
async function faultOf(path: string, full: boolean, options: DecodeOptions): Promise<string | undefined> {
  try {
    if (full) await decodeImage(path, options);
    else if (!sniffImage(await readHead(path)))
      return `cannot read ${path} as an image: its format is not known`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Whether a file is an image, by content. */
export const isImage = (path: string): Promise<boolean> =>
  readHead(path).then(
    (head) => sniffImage(head) !== undefined,
    () => false,
  );

/** What the reader of a source knows besides its files. */
export interface SourceNotes {
  readonly notes?: readonly string[];
  /** The classes in their own order, which decides what is base and new; default: sorted. */
  readonly classes?: readonly string[];
  /** A published data set, taken as it is: copies are not looked for, and it may be for test only. */
  readonly published?: boolean;
}

/** Checks the files, names the classes, and makes train, val and test. */
export async function assemble(
  name: string,
  files: readonly LabelledFile[],
  options: FileOptions,
  { notes = [], classes: order, published = false }: SourceNotes = {},
): Promise<DataSplits> {
  const { onBadImage = 'error', verify = files.length <= 5000 ? 'full' : 'header' } = options;
  const warnings = [...notes];
  const faults =
    verify === 'none' ? [] : await mapParallel(files, (f) => faultOf(f.path, verify === 'full', options));
  const bad = files.flatMap((f, i) => (faults[i] ? [(f.where ? `${f.where}: ` : '') + faults[i]] : []));
  if (bad.length && onBadImage === 'error') {
    throw new Error(
      `${bad.length} of ${files.length} images in ${name} cannot be read (repair or remove them, or skip them with --on-bad-image skip):\n  ` +
        listed(bad, 5, '\n  '),
    );
  }
  if (bad.length) warnings.push(`skipped ${bad.length} unreadable images: ${listed(bad)}`);
  const good = files.filter((_, i) => !faults[i]).sort((a, b) => byCode(a.id, b.id));

  const sources = order ?? [...new Set(files.map((f) => f.label))].sort(byCode);
  const readable = new Set(good.map((f) => f.label));
  const empty = sources.filter((label) => !readable.has(label));
  if (empty.length) {
    throw new Error(`no readable image in class ${quoted(empty)} of ${name}: add images or remove it`);
  }
  if (sources.length < 2) {
    throw new Error(
      `${name} has ${sources.length ? `only the class "${sources[0]}"` : 'no classes'}; classification needs at least two`,
    );
  }
  const classes = sources.map(className);
  const twin = classes.findIndex((c, i) => classes.indexOf(c) !== i);
  if (twin >= 0) {
    const first = sources[classes.indexOf(classes[twin]!)];
    throw new Error(
      `classes "${first}" and "${sources[twin]}" of ${name} are the same name "${classes[twin]}": rename one`,
    );
  }

  const copies = published ? [] : await findCopies(good);
  const identical = new Map(copies.flatMap((group) => group.map((f) => [f.id, group[0]!.id] as const)));
  for (const group of copies) {
    const other = group.find((f) => f.label !== group[0]!.label);
    if (other) {
      throw new Error(
        `the same image is in two classes of ${name}: ${group[0]!.id} ("${group[0]!.label}") and ${other.id} ` +
          `("${other.label}") are identical files; remove the wrong one`,
      );
    }
    const splits = [...new Set(group.map((f) => f.split))];
    if (splits.length > 1) {
      warnings.push(`the same image is in ${splits.join(' and ')}: ${listed(group.map((f) => f.id))}`);
    }
  }

  const version = await versionOf(good);
  const splitOf = divide(good, sources, options, (f) => identical.get(f.id) ?? f.id);
  const position = new Map(sources.map((s, i) => [s, i]));
  const part = (split: SplitName): Dataset => ({
    name,
    version,
    classes,
    sourceClasses: sources,
    examples: good
      .filter((f) => splitOf.get(f) === split)
      .map(
        (f): Example => ({
          id: f.id,
          label: position.get(f.label)!,
          ...(f.domain !== undefined && { domain: f.domain }),
          image: () => decodeImage(f.path, options),
        }),
      ),
  });
  const data = { train: part('train'), val: part('val'), test: part('test') };
  const without = (split: SplitName) => {
    const there = new Set(data[split].examples.map((e) => e.label));
    return sources.filter((_, label) => !there.has(label));
  };
  const untrained = without('train');
  if (untrained.length && !(published && untrained.length === sources.length)) {
    throw new Error(
      `no training image in class ${quoted(untrained)} of ${name}: every class needs some in train`,
    );
  }
  const untested = without('test');
  if (untested.length === sources.length) {
    throw new Error(`${name} has no image left to test on: give each class at least two images`);
  }
  if (untested.length) warnings.push(`no test image in class ${quoted(untested)}`);
  const given = [...new Set(good.flatMap((f) => f.split ?? []))].sort(byCode);
  return {
    ...data,
    split: given.length ? `${given.join(', ')} of the source` : `seeded, seed ${options.seed ?? 1}`,
    warnings,
  };
}

/** A digest of where the files lie, how long they are and when they were last changed. */
async function versionOf(files: readonly LabelledFile[]): Promise<string> {
  const lines = await mapParallel(files, async ({ path, id }) => {
    const { size, mtimeMs } = await stat(path);
    return JSON.stringify([id, resolve(path), size, mtimeMs]);
  });
  return createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16);
}

/** Groups of byte-identical files. Only files of equal length are read. */
async function findCopies(files: readonly LabelledFile[]): Promise<LabelledFile[][]> {
  const lengths = await mapParallel(files, async (f) => (await stat(f.path)).size);
  const seen = new Map<number, number>();
  for (const n of lengths) seen.set(n, (seen.get(n) ?? 0) + 1);
  const suspects = files.filter((_, i) => seen.get(lengths[i]!)! > 1);
  const digests = await mapParallel(suspects, async (f) =>
    createHash('sha1')
      .update(await readFile(f.path))
      .digest('hex'),
  );
  const groups = new Map<string, LabelledFile[]>();
  suspects.forEach((f, i) => {
    groups.set(digests[i]!, [...(groups.get(digests[i]!) ?? []), f]);
  });
  return [...groups.values()].filter((group) => group.length > 1);
}

/**
 * The split of each file. Splits that the source gives are kept; what it lacks is drawn from its training images,
 * class by class, identical files together. A source with val and no test is tested on its val.
 */
function divide(
  files: readonly LabelledFile[],
  labels: readonly string[],
  { seed = 1, fractions = { val: 0.2, test: 0.3 }, minTrain = 16 }: FileOptions,
  groupOf: (file: LabelledFile) => string,
): Map<LabelledFile, SplitName> {
  const result = new Map<LabelledFile, SplitName>();
  const given = new Set(files.flatMap((f) => f.split ?? []));
  const valIsTest = given.has('val') && !given.has('test');
  for (const f of files) if (f.split) result.set(f, valIsTest && f.split === 'val' ? 'test' : f.split);
  const needTest = !given.has('test') && !valIsTest;
  const needVal = !given.has('val') || valIsTest;
  if (!needTest && !needVal) return result;
  for (const label of labels) {
    const pool = files.filter((f) => f.label === label && (f.split ?? 'train') === 'train');
    const n = pool.length;
    const spare = Math.max(0, n - minTrain);
    const test = needTest ? Math.min(n - 1, Math.max(1, Math.min(Math.round(n * fractions.test), spare))) : 0;
    const val = needVal
      ? Math.max(0, Math.min(Math.round(n * fractions.val), spare - test, n - test - 1))
      : 0;
    const groups = new Map<string, LabelledFile[]>();
    for (const f of pool) groups.set(groupOf(f), [...(groups.get(groupOf(f)) ?? []), f]);
    let filled = 0;
    for (const group of new Random(seed, 'split', label).shuffle([...groups.values()])) {
      const split = filled < test ? 'test' : filled < test + val ? 'val' : 'train';
      filled += group.length;
      for (const f of group) result.set(f, split);
    }
  }
  return result;
}
