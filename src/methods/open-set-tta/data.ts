/** Images for streams from data sets, by the classes of a model. */
import {
  type DataSplits,
  type Dataset,
  filterExamples,
  type ImageSet,
  loadImages,
  openData,
} from '../../data/index.ts';
import { Random } from '../../runtime/index.ts';
import type { SavedClassifier } from '../classify/saved.ts';
import type { SourceImages } from './preparation.ts';

type Model = Pick<SavedClassifier, 'classes' | 'shape' | 'data'>;

/** `count` of the examples, drawn by seed; all where it is 0. */
const some = (data: Dataset, count: number, seed: number): Dataset =>
  count === 0 || count >= data.examples.length
    ? data
    : {
        ...data,
        examples: Array.from(
          new Random(seed, 'some', data.name).permutation(data.examples.length).subarray(0, count).sort(),
          (i) => data.examples[i]!,
        ),
      };

const testOf = ({ test, train }: DataSplits): Dataset => (test.examples.length ? test : train);

/** Test images of the model's classes, and how many there are of others. */
export async function knownImages(
  model: Model,
  source: string,
  count: number,
  seed: number,
): Promise<{ images: SourceImages; others: number }> {
  const data = testOf(await openData(source));
  const label = data.classes.map((name) => model.classes.indexOf(name));
  const own = filterExamples(data, (e) => label[e.label]! >= 0);
  if (!own.examples.length)
    throw new Error(
      `${source} has no image of a class that the model knows: ${model.classes.slice(0, 5).join(', ')}, …`,
    );
  const set = await loadImages(some(own, count, seed), { like: model });
  const labels = set.labels.map((l) => label[l]!);
  return { images: { images: set.images, labels }, others: data.examples.length - own.examples.length };
}

/** Test images of classes that the model does not know. */
export async function unknownImages(
  model: Model,
  source: string,
  count: number,
  seed: number,
): Promise<Pick<ImageSet, 'images'>> {
  const data = testOf(await openData(source));
  const others = filterExamples(data, (e) => !model.classes.includes(data.classes[e.label]!));
  if (!others.examples.length)
    throw new Error(`the model knows every class of ${source}: --unknown takes images of other classes`);
  return loadImages(some(others, count, seed), { like: model });
}

/** Training images of the data that the model was trained on. */
export async function sourceImages(model: Model, count: number, seed: number): Promise<SourceImages> {
  const { train } = await openData(model.data);
  if (String(train.classes) !== String(model.classes))
    throw new Error(`${model.data} has other classes than the model that was trained on it: has it changed?`);
  return loadImages(some(train, count, seed), { like: model });
}
