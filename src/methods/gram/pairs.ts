import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { byClass, type Dataset, decodeImage, icons } from '../../data/index.ts';
import { constant, type HostTensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import { textTower } from '../../models/clip/index.ts';
import { Random } from '../../runtime/index.ts';
import { caption, drawTemplate, styleWords } from '../pretrain/captions.ts';
import { textFeatures } from '../vlm/prompts.ts';
import type { Rows } from './k-means.ts';
import { inStyle, styles, stylesVersion } from './styles.ts';

/** Images with captions and without labels. */
export interface Pairs {
  /** Without classes: all have the label 0. */
  readonly images: Dataset;
  /** One an image, in the order of `images.examples`. */
  readonly captions: readonly string[];
}

/** The built-in pairs: drawings that the zoo's models were trained on, each in one of a few styles, with captions as there. */
export const builtInPairs = 'icons';

/**
 * `icons`, a JSONL file with the keys `image` (or `file_name`) and `caption` (or `text`), or a folder whose
 * `metadata.jsonl` that is. Paths are relative to the file.
 */
export async function openPairs(
  source: string,
  onProgress?: (done: number, total: number) => void,
): Promise<Pairs> {
  if (source === builtInPairs) return captionedIcons(onProgress);
  const info = await stat(source).catch(() => undefined);
  if (!info) {
    throw new Error(
      `no pairs "${source}": give ${builtInPairs}, a .jsonl file with an image and a caption a line, or a folder ` +
        'with such a metadata.jsonl',
    );
  }
  return readPairs(resolve(info.isDirectory() ? join(source, 'metadata.jsonl') : source));
}

/** Names with fewer drawings are left out. */
const leastDrawings = 40;

async function captionedIcons(onProgress?: (done: number, total: number) => void): Promise<Pairs> {
  const all = await icons({ split: 'pretrain', onProgress });
  const drawings = byClass(all).filter((group) => group.length >= leastDrawings);
  const pairs = drawings.flat().map((e) => {
    const random = (what: string) => new Random('icon pairs', what, e.id);
    const style = styles[random('style').int(styles.length)]!;
    const word = style === 'plain' ? styleWords[e.domain!] : style;
    return {
      caption: caption(drawTemplate(random('caption')), all.classes[e.label]!, word),
      example: {
        ...e,
        label: 0,
        domain: style,
        image: async () => inStyle(await e.image(), style, random('noise')),
      },
    };
  });
  return {
    images: {
      name: 'icon pairs',
      version: `${all.version} ${stylesVersion}`,
      classes: [],
      examples: pairs.map((p) => p.example),
    },
    captions: pairs.map((p) => p.caption),
  };
}

async function readPairs(file: string): Promise<Pairs> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new Error(`cannot read the pairs ${file}: ${error.message}`, { cause: error });
  });
  const pairs = text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    const where = `${file}, line ${i + 1}`;
    let row: Record<string, unknown>;
    try {
      row = JSON.parse(line);
    } catch (error) {
      throw new Error(`${where} is not JSON: ${(error as Error).message}`);
    }
    const value = (...keys: string[]): string => {
      const found = keys.map((key) => row?.[key]).find((v) => typeof v === 'string' && v.trim() !== '');
      if (found === undefined) throw new Error(`${where} has no ${keys.map((k) => `"${k}"`).join(' or ')}`);
      return found as string;
    };
    const id = value('image', 'file_name');
    return [{ id, path: resolve(dirname(file), id), caption: value('caption', 'text') }];
  });
  if (pairs.length === 0) throw new Error(`${file} has no pairs`);
  return {
    images: {
      name: basename(file),
      classes: [],
      examples: pairs.map(({ id, path }) => ({ id, label: 0, image: () => decodeImage(path) })),
    },
    captions: pairs.map((p) => p.caption),
  };
}

/** At most `count` of them, drawn by `seed`, in their order. */
export function samplePairs({ images, captions }: Pairs, count: number, seed: number): Pairs {
  const kept = [...new Random(seed, 'pairs').permutation(captions.length).slice(0, count)].sort(
    (a, b) => a - b,
  );
  return {
    images: { ...images, examples: kept.map((i) => images.examples[i]!) },
    captions: kept.map((i) => captions[i]!),
  };
}

const captionsPerRun = 512;

/** Text features of captions; each text goes through the tower once, cut to the model's context. */
export async function captionFeatures(model: ClipModel, captions: readonly string[]): Promise<Rows> {
  const { config, tokenizer } = model;
  const texts = [...new Set(captions)];
  const position = new Map(texts.map((text, i) => [text, i]));
  const width = config.projection;
  const unique = new Float32Array(texts.length * width);
  for (let i = 0; i < texts.length; i += captionsPerRun) {
    const ids = tokenizer.encodeBatch(texts.slice(i, i + captionsPerRun), {
      maxLength: config.text.context,
    }).ids;
    const features = await textFeatures(model, (s) => textTower(s, constant(ids), config).features);
    unique.set(features.data as Float32Array, i * width);
  }
  const data = new Float32Array(captions.length * width);
  captions.forEach((text, i) => {
    const at = position.get(text)! * width;
    data.set(unique.subarray(at, at + width), i * width);
  });
  return { data, width };
}

export const rowsOf = ({ data, shape }: HostTensor<'float32'>): Rows => ({ data, width: shape[1]! });
