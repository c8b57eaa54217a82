import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheFolder, type Dataset } from '../../data/index.ts';
import { readJson, readSafetensors, writeSafetensors } from '../../hub/index.ts';
import type { Base } from '../vlm/fit.ts';

/**
 * Features of the frozen vision tower in the cache folder, one file for each model (weights, architecture,
 * preprocessing) and version of a data set. Data without a version is not kept.
 */
export class FeatureCache {
  private readonly files = new Map<string, Promise<Map<string, Float32Array>>>();

  constructor(private readonly base: Base) {}

  /** Makes the features of `data` known to `base.features`: read, or computed and kept. */
  async warm(data: Dataset): Promise<void> {
    const { features, model } = this.base;
    if (data.version === undefined) return void (await features.of(data));
    const file = await this.fileOf(data);
    const pending = this.files.get(file) ?? readRows(file, model.config.projection);
    this.files.set(file, pending);
    const rows = await pending;
    for (const { id } of features.missing(data)) {
      const row = rows.get(id);
      if (row) features.remember(data, id, row);
    }
    const isNew = features.missing(data).length > 0;
    const { data: all } = await features.of(data);
    if (!isNew) return;
    const width = model.config.projection;
    data.examples.forEach((e, i) => {
      rows.set(e.id, all.subarray(i * width, (i + 1) * width));
    });
    await writeRows(file, rows, width);
  }

  private async fileOf({ name, version }: Dataset): Promise<string> {
    const { model, digest } = this.base;
    const preprocessing = await readJson(join(model.folder, 'preprocessor_config.json'));
    const key = createHash('sha256')
      .update(JSON.stringify({ digest, config: model.config, preprocessing, name, version }))
      .digest('hex');
    const plain = name.replace(/[^\w.-]+/g, '-');
    return join(cacheFolder(), 'features', `${plain}-${key.slice(0, 24)}.safetensors`);
  }
}

/** The rows of a file by image id; none where it is missing or damaged, so that it is made anew. */
async function readRows(file: string, width: number): Promise<Map<string, Float32Array>> {
  const stored = await readSafetensors(file).catch(() => undefined);
  const tensor = await stored?.get('features')?.load();
  const ids: unknown = JSON.parse(stored?.metadata.ids ?? '[]');
  if (!Array.isArray(ids) || tensor?.dtype !== 'float32' || tensor.data.length !== ids.length * width) {
    return new Map();
  }
  const all = Float32Array.from(tensor.data, Number);
  return new Map(ids.map((id, i) => [String(id), all.subarray(i * width, (i + 1) * width)]));
}

async function writeRows(file: string, rows: Map<string, Float32Array>, width: number): Promise<void> {
  const data = new Float32Array(rows.size * width);
  [...rows.values()].forEach((row, i) => {
    data.set(row, i * width);
  });
  await mkdir(dirname(file), { recursive: true });
  const features = { dtype: 'float32' as const, shape: [rows.size, width], data };
  await writeSafetensors(file, { features }, { ids: JSON.stringify([...rows.keys()]) });
}
