/** Seconds since some moment. */
export type Clock = () => number;

export const wallClock: Clock = () => performance.now() / 1000;

/** Of all threads of this process; on a machine that others use too, what waiting for them took is left out. */
export const cpuClock: Clock = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** A training after one of its rounds. */
export interface Round {
  readonly steps: number;
  readonly accuracy: number;
}

export interface TimedRound extends Round {
  /** Since the selection began. */
  readonly seconds: number;
}

/** The rounds on the clock that starts when selection does: its time is added once, before the first. */
export const timed = (
  rounds: readonly Round[],
  selection: number,
  stepSeconds: number,
): readonly TimedRound[] => rounds.map((r) => ({ ...r, seconds: selection + r.steps * stepSeconds }));

/** The first round at which `target` is reached; undefined where it never is. */
export const roundOf = (rounds: readonly TimedRound[], target: number): TimedRound | undefined =>
  rounds.find((r) => r.accuracy >= target);

/** Rounds of several seeds as one: the means of steps and accuracies. */
export const meanRounds = (seeds: readonly (readonly Round[])[]): readonly Round[] =>
  seeds[0]!.map((_, i) => {
    const mean = (of: (r: Round) => number) => seeds.reduce((sum, s) => sum + of(s[i]!), 0) / seeds.length;
    return { steps: mean((r) => r.steps), accuracy: mean((r) => r.accuracy) };
  });
