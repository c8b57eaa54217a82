import type { Random } from '../../runtime/index.ts';
import type { GenerationOptions } from './options.ts';

const never = Number.NEGATIVE_INFINITY;

/**
 * Changes the scores [V] of the next token by what was written, in place and in the order of `transformers`: repetition
 * penalty (Keskar et al. 2019), n-grams that occurred, no end before `minNewTokens`.
 *
 * @param history the ids of the prompt (of a decoder's start token, in a model of pairs) and of what was written.
 * @param written how many of them are new.
 */
export function restrict(
  scores: Float32Array,
  history: readonly number[],
  written: number,
  eosIds: readonly number[],
  o: GenerationOptions,
): void {
  if (o.repetitionPenalty !== 1) {
    for (const id of new Set(history)) {
      const score = scores[id]!;
      scores[id] = score < 0 ? score * o.repetitionPenalty : score / o.repetitionPenalty;
    }
  }
  const n = o.noRepeatNgramSize;
  if (n > 0 && history.length + 1 >= n) {
    const last = history.length - (n - 1);
    for (let i = 0; i + n <= history.length; i++) {
      let same = true;
      for (let j = 0; same && j < n - 1; j++) same = history[i + j] === history[last + j];
      if (same) scores[history[i + n - 1]!] = never;
    }
  }
  if (written < o.minNewTokens) for (const id of eosIds) scores[id] = never;
}

/** Leaves only what may be drawn, in place: temperature, then the top k, then the top p (Holtzman et al. 2020). */
export function narrow(scores: Float32Array, o: GenerationOptions): void {
  if (o.temperature !== 1) for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / o.temperature;
  const all = o.topP < 1 || o.topK > 0 ? Float32Array.from(scores).sort() : scores;
  if (o.topK > 0 && o.topK < scores.length) below(scores, all[all.length - o.topK]!);
  if (o.topP >= 1) return;
  // Tokens from the least likely on are dropped while their probability together is at most 1 − p.
  const order = Int32Array.from(scores.keys()).sort((a, b) => scores[a]! - scores[b]! || a - b);
  const p = softmax(scores);
  let sum = 0;
  for (let i = 0; i < order.length - 1; i++) {
    sum += p[order[i]!]!;
    if (sum > 1 - o.topP) break;
    scores[order[i]!] = never;
  }
}

function below(scores: Float32Array, least: number): void {
  for (let i = 0; i < scores.length; i++) if (scores[i]! < least) scores[i] = never;
}

export function argmax(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

function softmax(scores: Float32Array): Float64Array {
  const top = scores[argmax(scores)]!;
  const p = Float64Array.from(scores, (x) => Math.exp(x - top));
  const sum = p.reduce((a, b) => a + b, 0);
  return p.map((x) => x / sum);
}

/** log softmax, in place. */
export function toLogProbabilities(scores: Float32Array): void {
  const top = scores[argmax(scores)]!;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i]! - top);
  const shift = top + Math.log(sum);
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! - shift;
}

/** A token by its probability. */
export function draw(scores: Float32Array, random: Random): number {
  const p = softmax(scores);
  let left = random.next();
  let last = 0;
  for (let i = 0; i < p.length; i++) {
    if (p[i] === 0) continue;
    last = i;
    left -= p[i]!;
    if (left < 0) break;
  }
  return last;
}
