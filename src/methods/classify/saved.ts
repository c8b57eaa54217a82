import { join } from 'node:path';
import { z } from 'zod';
import type { ImageSet, Normalisation } from '../../data/index.ts';
import { input } from '../../graph/index.ts';
import { readJson, readSafetensors } from '../../hub/index.ts';
import { type ImageClassifier, imageClassifier } from '../../models/classifiers/index.ts';
import { trace } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';

const resultSchema = z.object({
  settings: z.object({ network: z.string(), data: z.string() }),
  condensedFrom: z.string().optional(),
  classes: z.array(z.string()).min(2),
  shape: z.tuple([z.int().positive(), z.int().positive(), z.int().positive()]),
  normalisation: z.object({ mean: z.array(z.number()), std: z.array(z.number()) }),
});

/** A classifier that `attune train` trained. */
export interface SavedClassifier {
  readonly dir: string;
  readonly network: ImageClassifier;
  readonly weights: Values;
  readonly classes: readonly string[];
  readonly shape: ImageSet['shape'];
  readonly normalisation: Normalisation;
  /** The data it was trained on, itself or condensed. */
  readonly data: string;
}

/** @throws where the folder is no finished run of `attune train`, or its weights are not those of its network. */
export async function openClassifier(dir: string): Promise<SavedClassifier> {
  const path = join(dir, 'result.json');
  const json = await readJson(path);
  if (!json)
    throw new Error(`${path}: there is no such file; give the run folder of a finished attune train`);
  const parsed = resultSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(
      `${path}: ${issue!.path.join('.')}: ${issue!.message}: this is no run of attune train, or of an older one; train again`,
    );
  }
  const { settings, condensedFrom, classes, shape, normalisation } = parsed.data;
  const network = imageClassifier(settings.network, classes.length);
  const file = await readSafetensors(join(dir, 'model.safetensors'));
  const weights: Values = {};
  for (const { name, shape: wanted } of trace('scratch', (s) => network(s, input('images', [1, ...shape])))
    .params) {
    const stored = file.get(name);
    if (!stored || String(stored.shape) !== String(wanted))
      throw new Error(
        `${file.label}: "${name}" is ${stored ? `[${stored.shape}]` : 'missing'}, but ${settings.network} has [${wanted}]`,
      );
    weights[name] = await stored.load();
  }
  return { dir, network, weights, classes, shape, normalisation, data: condensedFrom ?? settings.data };
}
