import { join } from 'node:path';
import { z } from 'zod';
import { findCorruptions, type Severity } from '../../data/index.ts';
import { writeAtomic, writeSafetensors } from '../../hub/index.ts';
import { RunFolder } from '../../train/folder.ts';
import { openClassifier, type SavedClassifier } from '../classify/saved.ts';
import { frozenModel, needsSource, prepareAdaptation } from './adaptation.ts';
import { knownImages, sourceImages, unknownImages } from './data.ts';
import { folderStream } from './folder-stream.ts';
import { meanReport, type Report, reportOf } from './metrics.ts';
import type { SourceModel } from './model.ts';
import { adaptOnline, type OnlineEvent } from './online.ts';
import { adaptationOptions } from './options.ts';
import { corruptedStream, type Domain } from './stream.ts';

/** What `attune adapt` does: a trained classifier on a stream that it learns from. */
export const adaptOptions = z.strictObject({
  data: z
    .string()
    .default('')
    .describe('data whose test images make the stream; empty: what the classifier was trained on'),
  corruptions: z
    .array(z.string())
    .default(['all'])
    .describe('in this order, one domain each; all is the standard fifteen'),
  severity: z.int().min(1).max(5).default(5).describe('of the corruptions, 1 to 5'),
  images: z.int().nonnegative().default(0).describe('known images of each domain; 0: all'),
  unknown: z
    .string()
    .default('')
    .describe('data of classes that the classifier does not know: as many images in every batch'),
  stream: z
    .string()
    .default('')
    .describe(
      'in place of corruptions, a folder with one sub-folder a domain, and class folders or images in each',
    ),
  rounds: z.int().positive().default(1).describe('how often the domains come'),
  reset: z.boolean().default(false).describe('back to the trained classifier before each domain'),
  ...adaptationOptions.shape,
});
export type AdaptOptions = z.output<typeof adaptOptions>;

export interface AdaptResult {
  readonly runDir: string;
  readonly classifier: string;
  readonly settings: AdaptOptions;
  /** Reports of each round: of its domains, and their mean. */
  readonly rounds: readonly {
    readonly mean: Report;
    readonly domains: readonly { readonly domain: string; readonly report: Report }[];
  }[];
  readonly seconds: number;
}

export type AdaptEvent =
  | { readonly type: 'stage'; readonly text: string }
  | { readonly type: 'warning'; readonly text: string }
  | { readonly type: 'resumed'; readonly domains: number; readonly of: number }
  | (OnlineEvent & { readonly done: number; readonly total: number });

interface DomainLine {
  /** Domains that are done with it. */
  readonly step: number;
  readonly domain: string;
  readonly report: Report;
}

/**
 * Adapts the classifier in the folder `classifier` to a stream, into `dir`: `metrics.jsonl` with a line a batch and a domain,
 * `model.safetensors` with the adapted weights, `result.json`. Stopped and resumed, it goes on at the beginning of the domain
 * that it was in, and ends with the same weights; returns undefined where `signal` stopped it.
 */
export async function* adaptClassifier(
  classifier: string,
  settings: AdaptOptions,
  run: { readonly dir: string; readonly resume?: boolean; readonly signal?: AbortSignal },
): AsyncGenerator<AdaptEvent, AdaptResult | undefined> {
  const started = performance.now();
  const saved = await openClassifier(classifier);
  const model: SourceModel = {
    ...saved,
    network: (s, x, norm) => saved.network(s, x, norm).logits,
    classes: saved.classes.length,
  };
  const domains = yield* domainsOf(saved, settings);
  let source: Awaited<ReturnType<typeof sourceImages>> | undefined;
  if (needsSource(settings)) {
    yield { type: 'stage', text: `looking at training images of ${saved.data}` };
    source = await sourceImages(saved, settings.fisherImages, settings.seed);
  }
  const { data, corruptions, severity, images, unknown, stream, rounds, reset, ...options } = settings;
  const adaptation = await prepareAdaptation(model, options, source);
  const frozen = settings.method === 'source' ? undefined : frozenModel(model);
  const total = rounds * domains.length;
  const batches = domains.reduce((n, d) => n + d.sizes.length, 0);

  const folder = await RunFolder.open(run.dir, JSON.stringify({ classifier, ...settings }));
  const checkpoint = run.resume ? await folder.load() : undefined;
  let done = checkpoint?.step ?? 0;
  const lines = await folder.keepMetrics(done);
  if (checkpoint && done > 0) {
    const before = domains.slice(0, done % domains.length).reduce((n, d) => n + d.sizes.length, 0);
    const steps = Math.floor(done / domains.length) * batches + before;
    const { state } = checkpoint;
    adaptation.resume(Object.keys(state.params).length ? state : undefined, steps);
    yield { type: 'resumed', domains: done, of: total };
  }
  let doneBatches = 0;
  const totalBatches = domains.length ? Math.round((batches * (total - done)) / domains.length) : 0;
  try {
    const events = adaptOnline({
      adaptation,
      domains,
      rounds,
      reset,
      done,
      signal: run.signal,
      ...(frozen && { frozen }),
    });
    for (;;) {
      const next = await events.next();
      if (next.done) {
        if (!next.value) return undefined;
        break;
      }
      const event = next.value;
      if (event.type === 'batch') {
        doneBatches++;
        lines.push(JSON.stringify({ step: done + 1, ...batchLine(event, saved.classes) }));
      } else {
        done++;
        lines.push(
          JSON.stringify({ step: done, round: event.round, domain: event.domain, report: event.report }),
        );
        await folder.writeMetrics(lines);
        const state = adaptation.state ?? { params: {}, optimizer: {} };
        await folder.save({ state, step: done, best: undefined });
      }
      yield { ...event, done: doneBatches, total: totalBatches };
    }
    const reports = lines.map((line) => JSON.parse(line) as DomainLine).filter((line) => line.report);
    const result: AdaptResult = {
      runDir: run.dir,
      classifier,
      settings,
      rounds: Array.from({ length: rounds }, (_, round) => {
        const own = reports.slice(round * domains.length, (round + 1) * domains.length);
        return {
          mean: meanReport(own.map((r) => r.report)),
          domains: own.map(({ domain, report }) => ({ domain, report })),
        };
      }),
      seconds: (performance.now() - started) / 1000,
    };
    await writeSafetensors(join(run.dir, 'model.safetensors'), adaptation.weights(), { format: 'pt' });
    await writeAtomic(join(run.dir, 'result.json'), [`${JSON.stringify(result, null, 2)}\n`]);
    return result;
  } finally {
    await adaptation.release();
    await frozen?.release();
  }
}

async function* domainsOf(
  model: SavedClassifier,
  { data, corruptions, severity, images, unknown, stream, batch, seed }: AdaptOptions,
): AsyncGenerator<AdaptEvent, Domain[]> {
  if (stream) {
    yield { type: 'stage', text: `reading ${stream}` };
    const { domains, warnings } = await folderStream(stream, model, { batch, seed });
    for (const text of warnings) yield { type: 'warning', text };
    return domains;
  }
  const names = findCorruptions(corruptions);
  const source = data || model.data;
  yield { type: 'stage', text: `reading ${[source, ...(unknown ? [unknown] : [])].join(' and ')}` };
  const known = await knownImages(model, source, images, seed);
  if (known.others)
    yield {
      type: 'warning',
      text: `${known.others} images of ${source} are of classes that the model does not know: left out (--unknown takes such)`,
    };
  if (known.images.images.length < 2) throw new Error(`${source} has one image; batch statistics need two`);
  return corruptedStream(
    {
      known: known.images,
      ...(unknown && { unknown: await unknownImages(model, unknown, images, seed) }),
      batch,
      seed,
    },
    names,
    severity as Severity,
  );
}

function batchLine(event: OnlineEvent & { type: 'batch' }, classes: readonly string[]) {
  const { round, domain, index, batch, outcomes, selected } = event;
  const { energy: _e, confidence: _c, ...report } = reportOf(outcomes);
  return {
    round,
    domain,
    batch: index,
    ...report,
    ...(selected !== undefined && { selected }),
    ...(batch.ids && {
      predictions: batch.ids.map((id, i) => {
        const { predicted, confidence } = outcomes[i]!;
        return [id, classes[predicted]!, +confidence.toFixed(4)];
      }),
    }),
  };
}
