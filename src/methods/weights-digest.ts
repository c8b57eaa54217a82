import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { WeightSource } from '../graph/index.ts';

/** SHA-256 of the model's weight files; of a single file, what `sha256sum` prints. */
export async function weightsDigest({ weights }: { readonly weights: WeightSource }): Promise<string> {
  const paths = new Set(weights.names().flatMap((name) => weights.get(name)?.file?.path ?? []));
  const digest = createHash('sha256');
  for (const path of [...paths].sort()) {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) digest.update(chunk);
  }
  return digest.digest('hex');
}
