/** What a method's `reproduce.ts` holds: the claims of its paper, each with the measurement that decides it. */
import type { StudySettings, StudyTrial } from './study/study.ts';

/** Where claims are measured. */
export interface Lab {
  /** Under a minute in all, on two cores: fewer seeds, shots, epochs, data sets. Otherwise under fifteen. */
  readonly quick: boolean;
  /** For intermediate results that a second run reuses. */
  readonly dir: string;
  readonly signal: AbortSignal | undefined;
  /** A line of progress. */
  say(text: string): void;
  /** Runs a study on CLIP, or returns what it measured before; claims may ask for the same trials. */
  study(settings: StudySettings): Promise<StudyTrial[]>;
}

/** Lines over numbers, or bars over words. */
export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly {
    readonly name: string;
    /** `error`: half the length of the error bar, in units of y. */
    readonly points: readonly { readonly x: number | string; readonly y: number; readonly error?: number }[];
  }[];
}

/** A table of numbers as colours; cells that are not finite are empty. */
export interface HeatMap {
  readonly title: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** [rows][columns], in percent. */
  readonly values: readonly (readonly number[])[];
}

export interface Finding {
  readonly holds: boolean;
  /** The figures that decided, by name; accuracies are shares from 0 to 1. */
  readonly measured: Readonly<Record<string, number>>;
  /** Why it does not hold, or what to know about the figures. */
  readonly note?: string;
  readonly chart?: Chart | HeatMap;
}

export interface Claim {
  /** As the paper's card numbers it: `a`, `b`. */
  readonly id: string;
  /** One sentence that the figures can contradict. */
  readonly statement: string;
  measure(lab: Lab): Promise<Finding>;
}

export interface Reproduction {
  readonly slug: string;
  readonly paper: string;
  readonly claims: readonly Claim[];
}
