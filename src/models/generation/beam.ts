import type { GenerationOptions } from './options.ts';
import { restrict, toLogProbabilities } from './scores.ts';

interface Hypothesis {
  readonly tokens: readonly number[];
  /** Sum of log-probabilities; of a finished one divided by a power of its length. */
  readonly score: number;
}

interface Candidate {
  readonly score: number;
  readonly beam: number;
  readonly token: number;
}

const lower = -1e9;

/** Beam search for one prompt, as `transformers` 5 does it: the best `beams` texts, the unfinished followed further. */
export class BeamSearch {
  running: readonly Hypothesis[] = [{ tokens: [], score: 0 }];
  private finished: readonly Hypothesis[] = [];
  done = false;

  /** @param prompt ids that count as history for penalties. */
  constructor(
    private readonly prompt: readonly number[],
    private readonly eosIds: readonly number[],
    private readonly o: GenerationOptions,
  ) {}

  /** The best text that has ended, with its score. */
  get best(): Hypothesis {
    return this.finished[0]!;
  }

  /**
   * Goes on by a token.
   *
   * @param scores of the next token [V], one for each running text; they are overwritten.
   * @returns which of the running texts each one continues.
   */
  advance(scores: readonly Float32Array[]): number[] {
    const { o, eosIds } = this;
    const written = this.running[0]!.tokens.length;
    const length = written + 1;
    const keep = Math.max(2, 1 + eosIds.length) * o.beams;
    const candidates: Candidate[] = [];
    this.running.forEach(({ tokens, score }, beam) => {
      const own = scores[beam]!;
      toLogProbabilities(own);
      restrict(own, [...this.prompt, ...tokens], written, eosIds, o);
      for (const token of largest(own, keep)) candidates.push({ score: own[token]! + score, beam, token });
    });
    candidates.sort((a, b) => b.score - a.score);
    candidates.splice(keep);
    const textOf = ({ beam, token }: Candidate) => [...this.running[beam]!.tokens, token];
    const ends = ({ token }: Candidate) => length === o.maxNewTokens || eosIds.includes(token);

    // Those behind the first `beams` are there only to go on with, should all others have ended.
    const ended = candidates.slice(0, o.beams).filter(ends);
    const scored = ended.map((c) => ({ tokens: textOf(c), score: c.score / length ** o.lengthPenalty }));
    this.finished = [...this.finished, ...scored].sort((a, b) => b.score - a.score).slice(0, o.beams);
    const next = candidates.filter((c) => !ends(c)).slice(0, o.beams);
    this.running = next.map((c) => ({ tokens: textOf(c), score: c.score }));
    this.done = length === o.maxNewTokens || next.length === 0 || this.cannotImprove(length);
    return next.map(({ beam }) => beam);
  }

  private cannotImprove(length: number): boolean {
    const { o } = this;
    if (this.finished.length < o.beams) return false;
    if (o.earlyStopping === 'true') return true;
    const longest = o.earlyStopping === 'never' && o.lengthPenalty > 0 ? o.maxNewTokens : length;
    return this.running[0]!.score / longest ** o.lengthPenalty <= this.finished.at(-1)!.score;
  }
}

/** Indices of the k largest scores that are possible at all, the largest first. */
function largest(scores: Float32Array, k: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i]!;
    if (score <= lower || (best.length === k && score <= scores[best.at(-1)!]!)) continue;
    let at = best.length;
    while (at > 0 && scores[best[at - 1]!]! < score) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best;
}
