/** What is measured of a stream: errors, detection of unknown classes, and what the filter kept. */
import type { HostTensor } from '../../graph/index.ts';

/** Labels that are no class of the model. */
export const UNKNOWN = -1;
export const UNLABELLED = -2;

/** The logits of each sample. */
export function rowsOf({ data, shape }: HostTensor): Float32Array[] {
  const [n, width] = shape as [number, number];
  return Array.from({ length: n }, (_, i) => (data as Float32Array).subarray(i * width, (i + 1) * width));
}

export function softmaxOf(logits: Float32Array): Float64Array {
  const most = Math.max(...logits);
  const p = Float64Array.from(logits, (z) => Math.exp(z - most));
  const sum = p.reduce((a, b) => a + b);
  return p.map((v) => v / sum);
}
/** log Σ exp z: high for what the model knows. */
export function energyOf(logits: Float32Array): number {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - most), 0));
}

/** One image as it was predicted. */
export interface Outcome {
  /** Of the model's classes, UNKNOWN or UNLABELLED. */
  readonly label: number;
  readonly predicted: number;
  /** What the source model predicted, where it was asked. */
  readonly frozen?: number;
  readonly energy: number;
  readonly confidence: number;
  /** Φ, with the filter. */
  readonly kept?: boolean;
}

/** How well a score tells known from unknown classes: shares from 0 to 1. */
export interface Detection {
  readonly auroc: number;
  /** Of the unknown, the share whose score reaches that of 95 % of the known. */
  readonly fpr95: number;
  /** Area under correct classification against false positive rate (Dhamija et al. 2018). */
  readonly oscr: number;
}

/** What the filter did with correct predictions of known classes and with all others, noise. */
export interface Filtering {
  readonly keptCorrect: number;
  readonly keptNoisy: number;
  /** Of what was kept, the share that is correct; beside it, of all. */
  readonly precision: number;
  readonly correct: number;
}

export interface Report {
  readonly images: number;
  /** On known classes. */
  readonly error?: number;
  readonly frozenError?: number;
  /** By energy, and by the largest probability. */
  readonly energy?: Detection;
  readonly confidence?: Detection;
  readonly filter?: Filtering;
}

/** What `outcomes` say; what they cannot say is left out: errors without labels, detection without unknown classes. */
export function reportOf(outcomes: readonly Outcome[]): Report {
  const known = outcomes.filter((o) => o.label >= 0);
  const unknown = outcomes.filter((o) => o.label === UNKNOWN);
  const right = (o: Outcome) => o.label >= 0 && o.predicted === o.label;
  const filtered = [...known, ...unknown].filter((o) => o.kept !== undefined);
  const correct = filtered.filter(right);
  const noisy = filtered.filter((o) => !right(o));
  const kept = (list: readonly Outcome[]) => list.filter((o) => o.kept);
  const by = (score: 'energy' | 'confidence') =>
    detection(
      known.map((o) => o[score]),
      known.map(right),
      unknown.map((o) => o[score]),
    );
  const open = known.length > 0 && unknown.length > 0;
  const compared = known.length > 0 && known.every((o) => o.frozen !== undefined);
  return {
    images: outcomes.length,
    ...(known.length && { error: 1 - share(known.filter(right), known) }),
    ...(compared && {
      frozenError:
        1 -
        share(
          known.filter((o) => o.frozen === o.label),
          known,
        ),
    }),
    ...(open && { energy: by('energy'), confidence: by('confidence') }),
    ...(filtered.length && {
      filter: {
        keptCorrect: share(kept(correct), correct),
        keptNoisy: share(kept(noisy), noisy),
        precision: share(kept(correct), kept(filtered)),
        correct: share(correct, filtered),
      },
    }),
  };
}

/** 0 of nothing. */
const share = (some: readonly unknown[], all: readonly unknown[]): number =>
  all.length ? some.length / all.length : 0;

/** `known` and `unknown` scores, neither empty; `right`: which of the known were classified correctly. */
export function detection(
  known: readonly number[],
  right: readonly boolean[],
  unknown: readonly number[],
): Detection {
  const samples = [
    ...known.map((score, i) => ({ score, known: 1, right: right[i] ? 1 : 0 })),
    ...unknown.map((score) => ({ score, known: 0, right: 0 })),
  ].sort((a, b) => b.score - a.score);
  const curve = [{ tpr: 0, fpr: 0, ccr: 0 }];
  let [positives, hits] = [0, 0];
  samples.forEach((sample, i) => {
    positives += sample.known;
    hits += sample.right;
    // Equal scores pass a threshold together.
    if (sample.score === samples[i + 1]?.score) return;
    const [tpr, fpr] = [positives / known.length, (i + 1 - positives) / unknown.length];
    curve.push({ tpr, fpr, ccr: hits / known.length });
  });
  let [auroc, oscr, fpr95] = [0, 0, Number.NaN];
  for (let i = 1; i < curve.length; i++) {
    const [a, b] = [curve[i - 1]!, curve[i]!];
    auroc += ((b.fpr - a.fpr) * (a.tpr + b.tpr)) / 2;
    oscr += ((b.fpr - a.fpr) * (a.ccr + b.ccr)) / 2;
    if (Number.isNaN(fpr95) && b.tpr >= 0.95)
      fpr95 = a.fpr + ((b.fpr - a.fpr) * (0.95 - a.tpr)) / (b.tpr - a.tpr);
  }
  return { auroc, oscr, fpr95 };
}

/** The mean of reports, figure by figure, over those that have it; images are added up. */
export function meanReport(reports: readonly Report[]): Report {
  const mean = (values: readonly (number | undefined)[]): number | undefined => {
    const there = values.filter((v) => v !== undefined);
    return there.length ? there.reduce((a, b) => a + b, 0) / there.length : undefined;
  };
  const each = <F extends object>(of: (r: Report) => F | undefined): F | undefined => {
    const there = reports.flatMap((r) => of(r) ?? []) as Record<string, number>[];
    const names = Object.keys(there[0] ?? {});
    return there.length
      ? (Object.fromEntries(names.map((n) => [n, mean(there.map((r) => r[n]))])) as F)
      : undefined;
  };
  const figures = {
    error: mean(reports.map((r) => r.error)),
    frozenError: mean(reports.map((r) => r.frozenError)),
    energy: each((r) => r.energy),
    confidence: each((r) => r.confidence),
    filter: each((r) => r.filter),
  };
  return {
    images: reports.reduce((sum, r) => sum + r.images, 0),
    ...Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined)),
  };
}
