import { basename, join } from 'node:path';
import { type ImageProcessor, imageProcessor } from '../data/index.ts';
import type { WeightSource } from '../graph/index.ts';
import { input } from '../graph/index.ts';
import {
  type ClipConfig,
  logitScale,
  parseClipConfig,
  textTower,
  visionTower,
} from '../models/clip/index.ts';
import { trace } from '../nn/index.ts';
import { matchKeys } from './adapter.ts';
import { type ResolveOptions, resolveFolder } from './hub.ts';
import { readJson } from './json.ts';
import { readSafetensors } from './safetensors.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

/** A CLIP with all that it needs to read images and text. */
export interface ClipModel {
  /** What the user called it: `zoo:icon-clip`, a folder, `owner/name`. */
  readonly spec: string;
  readonly folder: string;
  readonly config: ClipConfig;
  readonly weights: WeightSource;
  readonly tokenizer: Tokenizer;
  readonly images: ImageProcessor;
}

/** Buffers that old checkpoints store though they are no weights. */
const buffers = /(^|\.)position_ids$/;

export interface ClipOptions extends ResolveOptions {
  /** Is told of weights that the model does not read, which are an error otherwise. */
  readonly onUnusedWeights?: (message: string) => void;
}

/**
 * Loads a CLIP from `zoo:NAME`, a folder in the layout of Hugging Face, or the Hub. Only headers of the weights are
 * read. Throws when the weights and config.json do not belong together: a missing, unknown or misshapen weight is
 * named.
 */
export async function loadClip(spec: string, options: ClipOptions = {}): Promise<ClipModel> {
  const folder = await resolveFolder(spec, options);
  const json = await readJson(join(folder, 'config.json'));
  if (!json) throw new Error(`${folder} has no config.json`);
  const config = parseClipConfig(json);
  const weights = await readSafetensors(folder);
  checkWeights(weights, config, options.onUnusedWeights);
  const tokenizer = await loadTokenizer(folder);
  if (tokenizer.vocabSize > config.text.vocabulary) {
    throw new Error(
      `${basename(folder)}: the tokenizer has ${tokenizer.vocabSize} tokens, the text tower only ${config.text.vocabulary}`,
    );
  }
  const images = imageProcessor(
    (await readJson(join(folder, 'preprocessor_config.json'))) ?? {
      size: config.vision.imageSize,
      crop_size: config.vision.imageSize,
    },
  );
  return { spec, folder, config, weights, tokenizer, images };
}

/** Traces both towers once: every weight of the file must be read, with the shape that the configuration gives. */
function checkWeights(
  weights: WeightSource,
  config: ClipConfig,
  onUnused: ClipOptions['onUnusedWeights'],
): void {
  const { imageSize, channels } = config.vision;
  const read = trace('scratch', (s) => {
    logitScale(s, config);
    textTower(s, input('ids', [1, 1], 'int64'), config);
    visionTower(s, input('pixels', [1, channels, imageSize, imageSize]), config);
  });
  const stored = weights.names().filter((name) => !buffers.test(name));
  const { missing, unknown, message } = matchKeys([...read.weights], stored);
  if (missing.length || (unknown.length && !onUnused)) {
    const why = message.replaceAll('\n', '; ');
    const way = missing.length ? '' : ' (--allow-unused-weights loads the model without them)';
    throw new Error(`${weights.label} does not fit config.json: ${why}${way}`);
  }
  if (unknown.length)
    onUnused?.(
      `${weights.label} holds weights that the model does not read: ${message.replaceAll('\n', '; ')}`,
    );
  for (const { name, shape } of read.params) {
    const got = weights.get(name)!.shape;
    if (String(got) !== String(shape)) {
      throw new Error(`${weights.label}: "${name}" is [${got}], but config.json asks for [${shape}]`);
    }
  }
}
