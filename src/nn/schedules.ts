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
 * Dassl's schedule behind CoOp and its successors, per epoch e of E: epoch 0 at the constant `warmup`, then
 * peak·(1 + cos(π(e − 1)/E))/2, so that the last epoch is not at zero.
 */
export const coopCosine =
  (peak: number, warmup = 1e-5): Schedule =>
  ({ epoch, stepsPerEpoch, totalSteps }) => {
    const epochs = Math.ceil(totalSteps / stepsPerEpoch);
    return epoch === 0 ? warmup : (peak * (1 + Math.cos((Math.PI * (epoch - 1)) / epochs))) / 2;
  };

/** Multiplies by `factor` every `every` epochs. */
export const stepDecay =
  (start: number, every: number, factor = 0.1): Schedule =>
  ({ epoch }) =>
    start * factor ** Math.floor(epoch / every);
