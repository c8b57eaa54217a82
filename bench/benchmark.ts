/** One comparison: the same step here and in PyTorch. */
export interface Benchmark {
  readonly name: string;
  /** The peer's script under `bench/torch` and what it is told. */
  readonly torch: { readonly script: string; readonly settings: object };
  /** Prepares the step; only `step` is timed. */
  start(threads: number): Promise<{ step(): Promise<void>; close(): Promise<void> }>;
}

export interface Measurement {
  readonly name: string;
  /** Median milliseconds of a step. */
  readonly attuneMs: number;
  readonly torchMs: number | null;
  /** torchMs / attuneMs by medians: above 1, Attune is faster. */
  readonly ratio: number | null;
}
