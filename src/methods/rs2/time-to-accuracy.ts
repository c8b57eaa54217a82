/** A training after one of its rounds. */
export interface Round {
  readonly steps: number;
  /** Of training so far: batches and steps, no evaluation. */
  readonly seconds: number;
  readonly accuracy: number;
}

/** The rounds on the clock that starts when selection does: its time is added once, before the first. */
export const timed = (rounds: readonly Round[], selection: number): readonly Round[] =>
  rounds.map((r) => ({ ...r, seconds: selection + r.seconds }));

/** The seconds after which `target` is first reached; undefined where it never is. */
export const timeToAccuracy = (rounds: readonly Round[], target: number): number | undefined =>
  rounds.find((r) => r.accuracy >= target)?.seconds;

/** Rounds of several seeds as one: the means of times and accuracies. */
export const meanRounds = (seeds: readonly (readonly Round[])[]): readonly Round[] =>
  seeds[0]!.map((first, i) => {
    const mean = (of: (r: Round) => number) => seeds.reduce((sum, s) => sum + of(s[i]!), 0) / seeds.length;
    return { steps: first.steps, seconds: mean((r) => r.seconds), accuracy: mean((r) => r.accuracy) };
  });
