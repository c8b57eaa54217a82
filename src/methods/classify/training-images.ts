import { stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import {
  type ImageSet,
  isBuiltIn,
  loadImages,
  type Normalisation,
  normalisationOf,
  openData,
} from '../../data/index.ts';
import { readJson } from '../../hub/index.ts';
import type { LabelledImages } from '../dcc/images.ts';
import { readSynthetic, syntheticImages } from '../dcc/synthetic.ts';

/** What a classifier is trained and measured on. */
export interface TrainingImages {
  readonly train: ImageSet | LabelledImages;
  readonly test: ImageSet;
  /** `train` where the data has no test images: these are its real training images then. */
  readonly measuredOn: 'test' | 'train';
  /** That of the real training images. */
  readonly normalisation: Normalisation;
  /** The data set that was condensed, where the training images are condensed ones. */
  readonly condensedFrom?: string;
}

/**
 * Images of a data set; or those that `attune distill` made, from its run folder or the file in it, with the test images of
 * the data set that it condensed. `size`: pixels of a side, 0 for those of the data.
 * @throws where the data cannot be read, and where a condensed set has lost its settings or its data other classes.
 */
export async function trainingImages(data: string, size: number): Promise<TrainingImages> {
  const file = await condensedFile(data);
  if (file !== undefined) return condensedImages(file, size);
  const splits = await openData(data);
  const train = await loadImages(splits.train, size ? { size } : {});
  const measuredOn = splits.test.examples.length ? 'test' : 'train';
  const test = measuredOn === 'test' ? await loadImages(splits.test, { like: train }) : train;
  return { train, test, measuredOn, normalisation: normalisationOf(train) };
}

async function condensedFile(data: string): Promise<string | undefined> {
  if (isBuiltIn(data)) return undefined;
  const file = extname(data) === '.safetensors' ? data : join(data, 'synthetic.safetensors');
  return file === data || (await stat(file).catch(() => undefined)) ? file : undefined;
}

async function condensedImages(file: string, size: number): Promise<TrainingImages> {
  if (size)
    throw new Error(`${file} holds condensed images, which have the size they have: leave --size out`);
  const set = await readSynthetic(file);
  const train = syntheticImages(set);
  const config = join(dirname(file), 'config.json');
  const source = (await readJson(config))?.data;
  if (typeof source !== 'string')
    throw new Error(
      `${config} does not name the data that was condensed, whose test images are needed: keep ${file} in its run folder`,
    );
  const splits = await openData(source);
  if (String(splits.train.classes) !== String(set.classes))
    throw new Error(`${source} has other classes than ${file}, which was made of it: has it changed?`);
  const measuredOn = splits.test.examples.length ? 'test' : 'train';
  const test = await loadImages(splits[measuredOn], { like: train });
  return { train, test, measuredOn, normalisation: set.normalisation, condensedFrom: source };
}
