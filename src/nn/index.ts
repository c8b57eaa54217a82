/** Scopes and interception, layers, losses, optimizers, schedules and initialisers. */
export * from './init.ts';
export * from './layers.ts';
export * from './losses.ts';
export * from './metrics.ts';
export * from './optimizers.ts';
export * from './schedules.ts';
export * from './scope.ts';
