import { z } from 'zod';
import { readJson, writeAtomic } from '../../hub/index.ts';

const schema = z.object({
  format: z.literal('attune-subset-1'),
  /** How it was selected: a method and its settings. */
  method: z.string(),
  data: z.string(),
  /** Images of the training split, of which these are some. */
  count: z.int().positive(),
  /** Positions in the training split, as the data lists it. */
  indices: z.array(z.int().nonnegative()),
  /** The ids of these images, in the same order. */
  ids: z.array(z.string()).optional(),
  /** Of the loss, in the same order. */
  weights: z.array(z.number().nonnegative()).optional(),
});

/** A selected part of a data set, as a JSON file; further keys tell how it was made. */
export type SubsetFile = z.output<typeof schema>;

export const writeSubset = (path: string, subset: SubsetFile & Record<string, unknown>): Promise<void> =>
  writeAtomic(path, [`${JSON.stringify(subset)}\n`]);

/** @throws where the file is missing or damaged, or lists positions that its data has not. */
export async function readSubset(path: string): Promise<SubsetFile> {
  const json = await readJson(path);
  if (!json) throw new Error(`${path}: there is no such file; attune select writes one`);
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`${path}: ${issue!.path.join('.') || 'the file'}: ${issue!.message}`);
  }
  const { indices, count, weights } = parsed.data;
  const wrong = indices.find((i) => i >= count);
  if (wrong !== undefined) throw new Error(`${path}: index ${wrong}, but its data has ${count} images`);
  if (new Set(indices).size !== indices.length) throw new Error(`${path}: an index occurs twice`);
  if (weights && weights.length !== indices.length)
    throw new Error(`${path}: ${weights.length} weights for ${indices.length} indices`);
  return parsed.data;
}
