import type { Random } from '../../runtime/index.ts';

/** A sequence with hidden tokens: what is read, where tokens are to be told (−1 as padding), and which they are. */
export interface Masked {
  readonly ids: number[];
  readonly places: number[];
  readonly labels: number[];
}

/**
 * BERT's masked language model (Devlin et al. 2019, section 3.1): `count` of the positions that may be hidden are chosen; of these 80 %
 * become [MASK], 10 % a random token, 10 % stay.
 */
export function maskTokens(
  ids: readonly number[],
  mayHide: readonly number[],
  count: number,
  { maskId, tokens }: { maskId: number; tokens: readonly [from: number, to: number] },
  random: Random,
): Masked {
  const places = Array.from(random.permutation(mayHide.length).subarray(0, count), (i) => mayHide[i]!);
  const read = [...ids];
  for (const place of places) {
    const what = random.uniform(0, 1);
    if (what < 0.8) read[place] = maskId;
    else if (what < 0.9) read[place] = tokens[0] + random.int(tokens[1] - tokens[0]);
  }
  return { ids: read, places, labels: places.map((place) => ids[place]!) };
}

/**
 * T5's span corruption (Raffel et al. 2020, section 3.1.4): `noise` tokens in `spans` spans are replaced by sentinels, one each, and the
 * target lists them behind their sentinels. Lengths of spans, and of what is between, are a uniformly drawn split, as in the
 * released `random_spans_noise_mask`; the text begins with what is kept.
 */
export function corruptSpans(
  ids: readonly number[],
  noise: number,
  spans: number,
  sentinel: (i: number) => number,
  random: Random,
): { source: number[]; target: number[] } {
  const hidden = segments(noise, spans, random);
  const kept = segments(ids.length - noise, spans, random);
  const source: number[] = [];
  const target: number[] = [];
  let at = 0;
  for (let i = 0; i < spans; i++) {
    source.push(...ids.slice(at, at + kept[i]!), sentinel(i));
    at += kept[i]!;
    target.push(sentinel(i), ...ids.slice(at, at + hidden[i]!));
    at += hidden[i]!;
  }
  return { source, target };
}

/** `total` as a sum of `count` numbers above zero. */
function segments(total: number, count: number, random: Random): number[] {
  const cuts = Array.from(random.permutation(total - 1).subarray(0, count - 1), (c) => c + 1).sort(
    (a, b) => a - b,
  );
  return [...cuts, total].map((cut, i) => cut - (cuts[i - 1] ?? 0));
}
