import { argMax } from '../classify/classifier.ts';
import type { Adaptation } from './adaptation.ts';
import { energyOf, type Outcome, type Report, reportOf, rowsOf, softmaxOf } from './metrics.ts';
import type { Batch, Domain } from './stream.ts';

export interface OnlineOptions {
  readonly adaptation: Adaptation;
  readonly domains: readonly Domain[];
  readonly rounds: number;
  /** Back to the source model before each domain. */
  readonly reset?: boolean;
  /** The model to compare with. */
  readonly frozen?: Adaptation;
  /** Domains that are done already; `adaptation` is as it was after them. */
  readonly done?: number;
  readonly signal?: AbortSignal | undefined;
}

export type OnlineEvent =
  | {
      readonly type: 'batch';
      readonly round: number;
      readonly domain: string;
      /** In its domain. */
      readonly index: number;
      readonly batch: Batch;
      readonly outcomes: readonly Outcome[];
      readonly selected?: number;
    }
  | { readonly type: 'domain'; readonly round: number; readonly domain: string; readonly report: Report };

/**
 * Predicts and adapts to each batch of each domain, round after round. Returns whether it came to the end; where `signal` stops
 * it, the domain that it is in has no report.
 */
export async function* adaptOnline(options: OnlineOptions): AsyncGenerator<OnlineEvent, boolean> {
  const { adaptation, domains, rounds, reset = false, frozen, done = 0, signal } = options;
  for (let at = done; at < rounds * domains.length; at++) {
    const round = Math.floor(at / domains.length);
    const domain = domains[at % domains.length]!;
    const own = { round, domain: domain.name };
    if (reset) adaptation.reset();
    const all: Outcome[] = [];
    for (let index = 0; index < domain.sizes.length; index++) {
      if (signal?.aborted) return false;
      const batch = await domain.batch(index, round);
      const before = frozen && rowsOf((await frozen.step(batch.images)).logits).map(argMax);
      const { logits, kept, selected } = await adaptation.step(batch.images);
      const outcomes = rowsOf(logits).map((row, i): Outcome => {
        const predicted = argMax(row);
        return {
          label: batch.labels[i]!,
          predicted,
          energy: energyOf(row),
          confidence: softmaxOf(row)[predicted]!,
          ...(before && { frozen: before[i]! }),
          ...(kept && { kept: Number(kept.data[i]) === 1 }),
        };
      });
      all.push(...outcomes);
      yield { type: 'batch', ...own, index, batch, outcomes, ...(selected !== undefined && { selected }) };
    }
    yield { type: 'domain', ...own, report: reportOf(all) };
  }
  return true;
}
