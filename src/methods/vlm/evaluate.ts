import type { Dataset, Pixels } from '../../data/index.ts';
import { input } from '../../graph/index.ts';
import { didYouMean } from '../../graph/nearest.ts';
import type { ClipModel } from '../../hub/index.ts';
import { trace } from '../../nn/index.ts';
import { compile } from '../../runtime/index.ts';
import { probabilities, type Score, score, scoreFeatures } from './classify.ts';
import { type FeatureOptions, ImageFeatures } from './features.ts';
import { labelsOf } from './loop.ts';
import type { Classifier } from './task.ts';

/** Top-1 accuracy on `data`. The frozen model's `features` serve unless the classifier has a vision tower of its own. */
export async function evaluate(
  model: ClipModel,
  classifier: Classifier,
  data: Dataset,
  features: ImageFeatures,
  options: FeatureOptions = {},
): Promise<Score> {
  const own = classifier.imageFeatures && new ImageFeatures(model, options, classifier.imageFeatures);
  const x = await (own ?? features).of(data);
  await own?.release();
  return score(await scoreFeatures(model, classifier, x), labelsOf(data));
}

/** Class probabilities of each image, by the graph that is exported. */
export async function predict(
  model: ClipModel,
  classifier: Classifier,
  images: readonly (() => Promise<Pixels>)[],
  options: FeatureOptions = {},
): Promise<Float32Array[]> {
  const batch = Math.min(options.batch ?? 16, images.length, classifier.imagesPerRun ?? 16);
  const { channels, imageSize } = model.config.vision;
  const shape = [batch, channels, imageSize, imageSize];
  const { result } = trace(model.weights, (s) => probabilities(model, classifier, s, input('pixels', shape)));
  const program = await compile({ result }, { name: 'classifier' });
  const rows: Float32Array[] = [];
  for (let i = 0; i < images.length; i += batch) {
    options.signal?.throwIfAborted();
    const part = images.slice(i, i + batch);
    const { data } = model.images.batch(await Promise.all(part.map((image) => image())));
    const pixels = new Float32Array(shape.reduce((a, b) => a * b, 1));
    pixels.set(data);
    const out = (await program.run({ pixels: { dtype: 'float32', shape, data: pixels } })).result;
    const classes = out.shape[1]!;
    for (let j = 0; j < part.length; j++) {
      rows.push((out.data as Float32Array).slice(j * classes, (j + 1) * classes));
    }
    options.onProgress?.(rows.length, images.length);
  }
  await program.release();
  return rows;
}

/** The same images with labels among `classes`. Throws where one of their classes is not there. */
export function ontoClasses(data: Dataset, classes: readonly string[]): Dataset {
  const position = data.classes.map((name) => classes.indexOf(name));
  const unknown = position.indexOf(-1);
  if (unknown >= 0) {
    const name = data.classes[unknown]!;
    throw new Error(
      `class "${name}" of ${data.name} is not among the ${classes.length} classes of the classifier` +
        didYouMean(name, classes),
    );
  }
  const { sourceClasses: _names, ...rest } = data;
  return { ...rest, classes, examples: data.examples.map((e) => ({ ...e, label: position[e.label]! })) };
}
