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
import { checkWeights, type LoadOptions } from './check.ts';
import { resolveFolder } from './hub.ts';
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

export type ClipOptions = LoadOptions;

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
  checkWeights(weights, traced(config), buffers, options.onUnusedWeights);
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

/** Traces both towers once. */
const traced = (config: ClipConfig) =>
  trace('scratch', (s) => {
    const { imageSize, channels } = config.vision;
    logitScale(s, config);
    textTower(s, input('ids', [1, 1], 'int64'), config);
    visionTower(s, input('pixels', [1, channels, imageSize, imageSize]), config);
  });
