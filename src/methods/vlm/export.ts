import { dirname, join, parse } from 'node:path';
import { encodeFree, input } from '../../graph/index.ts';
import { type ClipModel, type JsonObject, readJson, writeAtomic } from '../../hub/index.ts';
import { trace } from '../../nn/index.ts';
import { probabilities } from './classify.ts';
import type { Classifier } from './task.ts';

export interface ExportDescription {
  readonly labels: readonly string[];
  readonly template: string;
  readonly method: string;
  readonly producer: string;
}

/**
 * Writes an ONNX model, `pixel_values` [batch, 3, H, W] to `probabilities` [batch, C], that holds all its weights in
 * the precision in which they were stored. The batch is free. Labels and preprocessing are in its metadata, and once more in a
 * `.json` beside it, since ONNX Runtime does not show metadata to JavaScript. Returns the paths of both.
 */
export async function exportClassifier(
  file: string,
  model: ClipModel,
  classifier: Classifier,
  { labels, template, method, producer }: ExportDescription,
): Promise<{ onnx: string; json: string }> {
  const { channels, imageSize } = model.config.vision;
  const preprocessing = await preprocessingOf(model);
  const { bytes } = await encodeFree(
    { batch_size: { input: 'pixel_values', axis: 0 } },
    ({ batch_size }) =>
      trace(model.weights, (s) => {
        const pixels = input('pixel_values', [batch_size!, channels, imageSize, imageSize]);
        return { probabilities: probabilities(model, classifier, s, pixels) };
      }).result,
    {
      weights: 'inline',
      metadata: {
        labels: JSON.stringify(labels),
        preprocessing: JSON.stringify(preprocessing),
        template,
        method,
        producer,
      },
    },
  );
  const plain = preprocessing.do_normalize === false;
  const description = {
    labels,
    size: imageSize,
    rescale: preprocessing.do_rescale === false ? 1 : (preprocessing.rescale_factor ?? 1 / 255),
    mean: plain ? [0, 0, 0] : model.images.mean,
    std: plain ? [1, 1, 1] : model.images.std,
    preprocessing,
    template,
    method,
    producer,
  };
  const json = join(dirname(file), `${parse(file).name}.json`);
  await writeAtomic(file, [bytes]);
  await writeAtomic(json, [`${JSON.stringify(description, null, 2)}\n`]);
  return { onnx: file, json };
}

async function preprocessingOf(model: ClipModel): Promise<JsonObject> {
  const { imageSize } = model.config.vision;
  return (
    (await readJson(join(model.folder, 'preprocessor_config.json'))) ?? {
      size: { shortest_edge: imageSize },
      crop_size: { height: imageSize, width: imageSize },
    }
  );
}
