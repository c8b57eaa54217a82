/** A CLIP too small to be good, and coloured pictures for it, made where the tests run. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { input } from '../../graph/index.ts';
import { clipTokenizer, trainBpe, writeClipTokenizer, writeSafetensors } from '../../hub/index.ts';
import {
  logitScale,
  parseClipConfig,
  textTower,
  visionTower,
  writeClipConfig,
} from '../../models/clip/index.ts';
import { trace } from '../../nn/index.ts';
import { initParams } from '../../train/index.ts';
import type { Io } from '../io.ts';

export const imageSize = 16;

/** Writes a random CLIP of a few thousand weights in the layout of Hugging Face. */
export async function writeTinyClip(dir: string, seed = 1): Promise<string> {
  await mkdir(dir, { recursive: true });
  const vocabulary = trainBpe(['a photo of a red green blue square'], { vocabSize: 514 });
  const tokenizer = clipTokenizer(vocabulary);
  const tower = { hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32 };
  const config = parseClipConfig({
    projection_dim: 8,
    text_config: {
      ...tower,
      vocab_size: tokenizer.vocabSize,
      max_position_embeddings: 48,
      eos_token_id: tokenizer.eosId,
    },
    vision_config: { ...tower, image_size: imageSize, patch_size: 8 },
  });
  const { params } = trace('scratch', (s) => {
    logitScale(s, config);
    textTower(s, input('ids', [1, 2], 'int64'), config);
    visionTower(s, input('pixels', [1, 3, imageSize, imageSize]), config);
  });
  const write = (name: string, value: unknown) => writeFile(join(dir, name), JSON.stringify(value));
  await writeSafetensors(join(dir, 'model.safetensors'), await initParams(params, seed));
  await writeClipTokenizer(dir, vocabulary, { maxLength: 48 });
  const tokens = { bos: tokenizer.bosId!, eos: tokenizer.eosId!, pad: tokenizer.padId! };
  await write('config.json', writeClipConfig(config, tokens));
  const half = [0.5, 0.5, 0.5];
  const size = { size: { shortest_edge: imageSize }, crop_size: imageSize };
  await write('preprocessor_config.json', { ...size, image_mean: half, image_std: half });
  return dir;
}

const colours = { red: [220, 30, 30], green: [30, 200, 40], blue: [20, 40, 210] } as const;

/** A folder with `count` pictures of each colour, no two the same. */
export async function writeColours(dir: string, count = 12): Promise<string> {
  for (const [name, rgb] of Object.entries(colours)) {
    await mkdir(join(dir, name), { recursive: true });
    for (let i = 0; i < count; i++) {
      const [r, g, b] = rgb.map((c) => Math.min(255, c + ((i * 7 + c) % 25)));
      const image = sharp({
        create: { width: imageSize, height: imageSize, channels: 3, background: { r, g, b } },
      });
      await image.png().toFile(join(dir, name, `${i}.png`));
    }
  }
  return dir;
}

/** An Io that keeps what is written. */
export function recorder(signal = new AbortController().signal, input = '') {
  const text = { out: '', err: '' };
  const io: Io = {
    out: (s) => {
      text.out += s;
    },
    err: (s) => {
      text.err += s;
    },
    input: async () => input,
    tty: false,
    signal,
  };
  return { io, text };
}
