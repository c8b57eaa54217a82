import { Random } from '../../runtime/index.ts';
import { subsetSize } from '../../train/index.ts';
import type { Outputs, RoundSelector } from '../classify/classifier.ts';
import type { Rows } from '../gram/k-means.ts';
import { gradientNorms, lastLayer, norms } from './last-layer.ts';
import { uncertainties } from './scores.ts';
import { everyone, lowest } from './selector.ts';

type Score = (i: number) => number;

const byLogits =
  (score: (logits: Rows) => Score) =>
  ({ logits }: Outputs): Score =>
    score(logits);

const largest =
  (values: Float64Array): Score =>
  (i) =>
    -values[i]!;

/** Scores that need no more than what one network says of the images; low is kept. */
const scores = {
  'least-confidence': byLogits(uncertainties['least-confidence']),
  entropy: byLogits(uncertainties.entropy),
  margin: byLogits(uncertainties.margin),
  el2n: (outputs: Outputs, labels: ArrayLike<number>) => largest(norms(lastLayer(outputs, labels).delta)),
  grand: (outputs: Outputs, labels: ArrayLike<number>) => largest(gradientNorms(lastLayer(outputs, labels))),
} as const;

/**
 * The RC ablation of RS2: every round scores all images with the network in training and takes the first
 * max(1, round(share · N)), in an order drawn from seed and round. The first round asks an untrained network.
 */
export const rescored = (
  method: keyof typeof scores,
  labels: ArrayLike<number>,
  share: number,
  seed: number,
): RoundSelector => {
  const size = subsetSize(labels.length, share);
  return {
    size,
    select(outputs, epoch) {
      const chosen = lowest(everyone(labels.length), scores[method](outputs, labels), size);
      return Int32Array.from(new Random(seed, 'order', epoch).shuffle(chosen));
    },
  };
};

/** One sampler for each score, `rescored-NAME`. */
export const rescoredSamplers = Object.fromEntries(
  (Object.keys(scores) as (keyof typeof scores)[]).map((method) => [
    `rescored-${method}`,
    {
      summary: `what ${method} selects, anew every round by the network in training`,
      of: (labels: ArrayLike<number>, share: number, seed: number) => rescored(method, labels, share, seed),
    },
  ]),
);
