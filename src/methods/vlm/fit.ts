import { createHash } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset } from '../../data/index.ts';
import type { ClipModel, JsonObject } from '../../hub/index.ts';
import type { TrainEvent } from '../../train/index.ts';
import { type EventQueue, InterruptedError } from '../events.ts';
import { findMethod } from '../list.ts';
import { version } from '../version.ts';
import type { ImageFeatures } from './features.ts';
import type { Adapter } from './task.ts';

/** What runs on one model share. */
export interface Base {
  readonly model: ClipModel;
  /** SHA-256 of its weights. */
  readonly digest: string;
  readonly features: ImageFeatures;
}

/** One fit: what decides its result, and where its checkpoints go. */
export interface Fit {
  readonly method: string;
  readonly options: JsonObject;
  readonly shots: number;
  readonly seed: number;
  readonly template: string;
  readonly train: Dataset;
  readonly val: Dataset;
  readonly dir: string;
  readonly resume: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Names the images and their labels. */
export const imagesDigest = (...sets: readonly Dataset[]): string =>
  createHash('sha256')
    .update(JSON.stringify(sets.map((set) => set.examples.map((e) => [e.id, e.label]))))
    .digest('hex');

/** Fits an adapter in its run folder. Throws InterruptedError where the signal stopped it. */
export async function* fitAdapter<E>(
  { model, digest, features }: Base,
  { method: name, options: given, shots, seed, template, train, val, dir, resume, signal }: Fit,
  events: EventQueue<E>,
): AsyncGenerator<E | { readonly type: 'train'; readonly event: TrainEvent }, Adapter> {
  const method = findMethod(name);
  const options = method.options.parse(given);
  for (const file of await readdir(dir)) {
    // Left by a process that was killed while it wrote.
    if (/\.[0-9a-f]{8}\.tmp$/.test(file)) await rm(join(dir, file), { force: true });
  }
  const fingerprint = JSON.stringify({
    method: name,
    options,
    files: await method.digest?.(model, options),
    shots,
    seed,
    template,
    classes: train.classes,
    images: imagesDigest(train, val),
    base: digest,
    config: model.config,
  });
  const fit = method.fit(
    { model, train, val, template, seed, fingerprint, features, dir, resume, signal },
    options,
  );
  let next = yield* events.during(fit.next());
  for (; !next.done; next = yield* events.during(fit.next())) yield { type: 'train', event: next.value };
  if (next.value.stopped === 'interrupted') throw new InterruptedError();
  return next.value.adapter;
}

/** What a saved adapter says about itself: all that `openRun` needs. */
export const adapterConfig = (
  spec: string,
  { digest }: Base,
  data: string,
  { method, options, shots, seed, template, train }: Fit,
): JsonObject => ({
  attune: version,
  method,
  options,
  base_model_name_or_path: spec,
  base_model_sha256: digest,
  classes: train.classes,
  template,
  data,
  shots,
  seed,
});
