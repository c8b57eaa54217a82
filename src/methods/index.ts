/** The published methods by name, and what runs them: tuning, evaluation, prediction, export. */
export { findMethod, methods } from './list.ts';
export { defineMethod, type Method, type MethodKind } from './method.ts';
export { evaluate, ontoClasses, predict } from './vlm/evaluate.ts';
export { type ExportDescription, exportClassifier } from './vlm/export.ts';
export { ImageFeatures } from './vlm/features.ts';
export {
  InterruptedError,
  type RunEvent,
  type RunResult,
  type RunSettings,
  readSettings,
  type TuneOptions,
  tune,
  version,
} from './vlm/run.ts';
export { openRun, type SavedRun } from './vlm/saved.ts';
export type { Adapter, Classifier, TuneTask, Tuning } from './vlm/task.ts';
