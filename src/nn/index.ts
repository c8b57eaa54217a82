/** Scopes and interception, layers, losses, optimizers, schedules and initialisers. */
export { type AdafactorOptions, adafactor } from './adafactor.ts';
export * from './init.ts';
export * from './layers.ts';
export * from './losses.ts';
export * from './metrics.ts';
export * from './optimizers.ts';
export * from './schedules.ts';
export * from './scope.ts';
export {
  accumulate,
  addDecayedWeights,
  ascend,
  averageParameters,
  chain,
  clipByGlobalNorm,
  clipByValue,
  type Mask,
  mapTree,
  mapUpdates,
  perGroup,
  perParameter,
  scaleByLearningRate,
  type Transform,
  type Tree,
  type UpdateContext,
} from './transforms.ts';
