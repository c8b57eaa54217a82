/** Where training stands when a step is about to be taken; all counts from 0. */
export interface Progress {
  readonly step: number;
  readonly epoch: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
}

/** A learning rate (or any other scalar) as a function of progress. */
export type Schedule = (t: Progress) => number;

/** Linear warm-up over `warmupSteps`, then half a cosine down to `end` at the last step. */
export const cosine =
  (peak: number, options: { warmupSteps?: number; end?: number } = {}): Schedule =>
  ({ step, totalSteps }) => {
    const { warmupSteps = 0, end = 0 } = options;
    if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
    const part = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
    return end + ((peak - end) * (1 + Math.cos(Math.PI * part))) / 2;
  };

/**
 * Dassl's schedule behind CoOp and its successors, per epoch e of E: the first W epochs (one) at the constant `warmup`,
 * then peak·(1 + cos(π(e − W)/E))/2, so that the last epoch is not at zero.
 */
export const coopCosine =
  (peak: number, warmup = 1e-5, warmupEpochs = 1): Schedule =>
  ({ epoch, stepsPerEpoch, totalSteps }) => {
    const epochs = Math.ceil(totalSteps / stepsPerEpoch);
    const after = epoch - warmupEpochs;
    return after < 0 ? warmup : (peak * (1 + Math.cos((Math.PI * after) / epochs))) / 2;
  };

/** Multiplies by `factor` every `every` epochs. */
export const stepDecay =
  (start: number, every: number, factor = 0.1): Schedule =>
  ({ epoch }) =>
    start * factor ** Math.floor(epoch / every);

/** Multiplies by `factor` at each of the `milestones`, in epochs (torch.optim.lr_scheduler.MultiStepLR). */
export const multiStep =
  (start: number, milestones: readonly number[], factor = 0.1): Schedule =>
  ({ epoch }) =>
    start * factor ** milestones.filter((m) => m <= epoch).length;

/** Multiplies by `factor` every epoch (torch.optim.lr_scheduler.ExponentialLR). */
export const exponential =
  (start: number, factor: number): Schedule =>
  ({ epoch }) =>
    start * factor ** epoch;

/**
 * transformers' schedules: from 0 at step 0 linearly up to `peak` at step `warmupSteps`, then `after` of the share of
 * the remaining steps that is done.
 */
const warmedUp =
  (peak: number, warmupSteps: number, after: (share: number) => number): Schedule =>
  ({ step, totalSteps }) =>
    step < warmupSteps
      ? (peak * step) / Math.max(1, warmupSteps)
      : peak * after((step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));

/** get_constant_schedule_with_warmup of transformers. */
export const constantWithWarmup = (peak: number, warmupSteps = 0): Schedule =>
  warmedUp(peak, warmupSteps, () => 1);
/** get_linear_schedule_with_warmup of transformers: down to 0 at the last step. */
export const linearWithWarmup = (peak: number, warmupSteps = 0): Schedule =>
  warmedUp(peak, warmupSteps, (share) => Math.max(0, 1 - share));
/** get_cosine_schedule_with_warmup of transformers; `cycles` waves, half a one by default. */
export const cosineWithWarmup = (peak: number, warmupSteps = 0, cycles = 0.5): Schedule =>
  warmedUp(peak, warmupSteps, (share) => Math.max(0, 0.5 * (1 + Math.cos(2 * Math.PI * cycles * share))));
/** get_cosine_with_hard_restarts_schedule_with_warmup of transformers. */
export const cosineWithRestarts = (peak: number, warmupSteps = 0, cycles = 1): Schedule =>
  warmedUp(peak, warmupSteps, (share) =>
    share >= 1 ? 0 : 0.5 * (1 + Math.cos(Math.PI * ((cycles * share) % 1))),
  );
/** get_polynomial_decay_schedule_with_warmup of transformers. */
export const polynomial = (
  peak: number,
  options: { warmupSteps?: number; end?: number; power?: number } = {},
): Schedule => {
  const { warmupSteps = 0, end = 1e-7, power = 1 } = options;
  return warmedUp(
    peak,
    warmupSteps,
    (share) => (share >= 1 ? end : (peak - end) * (1 - share) ** power + end) / peak,
  );
};
/** get_inverse_sqrt_schedule of transformers; `timescale` is the warm-up by default, or 10 000 without one. */
export const inverseSqrt =
  (peak: number, warmupSteps = 0, timescale = warmupSteps || 10_000): Schedule =>
  ({ step }) =>
    step < warmupSteps
      ? (peak * step) / warmupSteps
      : peak / Math.sqrt((step + timescale - warmupSteps) / timescale);

/**
 * Up to `peak` and down again over the whole run (Smith & Topin 2019), as torch.optim.lr_scheduler.OneCycleLR: from
 * peak / `divide` up to peak after the share `rise` of the steps, then down to the start divided by `finalDivide`.
 */
export const oneCycle =
  (
    peak: number,
    options: { rise?: number; divide?: number; finalDivide?: number; anneal?: 'cos' | 'linear' } = {},
  ): Schedule =>
  ({ step, totalSteps }) => {
    const { rise = 0.3, divide = 25, finalDivide = 1e4, anneal = 'cos' } = options;
    const start = peak / divide;
    const top = rise * totalSteps - 1;
    const up = step <= top;
    const share = up ? step / top : (step - top) / (totalSteps - 1 - top);
    const [from, to] = up ? [start, peak] : [peak, start / finalDivide];
    return anneal === 'linear'
      ? from + (to - from) * share
      : to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
  };
