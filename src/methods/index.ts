/** The published methods by name, and what runs them: tuning, evaluation, prediction, export; condensing data. */
export { type Condensation, condense } from './dcc/condense.ts';
export { Judge } from './dcc/evaluate.ts';
export { imagesOf, type LabelledImages, normalised } from './dcc/images.ts';
export { condensationOptions } from './dcc/options.ts';
export { readSynthetic, type SyntheticSet, syntheticImages } from './dcc/synthetic.ts';
export { InterruptedError } from './events.ts';
export { findMethod, methods } from './list.ts';
export { type AdaptedModel, attach, type LanguageAdapter } from './lm/adapter.ts';
export { fitLanguage, type LanguageFit, type LanguageFitted } from './lm/fit.ts';
export { foldWeights, saveFolded } from './lm/fold.ts';
export type { Injection } from './lm/injection.ts';
export { findLanguageMethod, languageMethods } from './lm/list.ts';
export { defineLanguageMethod, type LanguageMethod } from './lm/method.ts';
export { exportLanguage } from './lm/onnx.ts';
export { type TextPrediction, TextPredictor } from './lm/predict.ts';
export {
  type LanguageResult,
  type LanguageSettings,
  openTexts,
  tuneLanguage,
} from './lm/run.ts';
export { isLanguageRun, openLanguageRun, type SavedLanguageRun } from './lm/saved.ts';
export { defineMethod, type Method, type MethodKind } from './method.ts';
export { rankSources, type Transferability, transferability } from './panda/transferability.ts';
export { foldMasks } from './r-amt/masks.ts';
export type { Chart, Claim, Finding, HeatMap, Lab, Reproduction } from './reproduction.ts';
export { findReproduction, reproductions } from './reproductions.ts';
export { type RunProgress, type Runs, readSettings } from './run-folder.ts';
export { type Protocol, protocols } from './study/protocols.ts';
export {
  type MethodChoice,
  type StudyEvent,
  type StudyOptions,
  type StudySettings,
  type StudyTrial,
  study,
} from './study/study.ts';
export { type Figure, figure, figureOf } from './study/summary.ts';
export type { TestScore, TrialResult, TrialSettings } from './study/trial.ts';
export { version } from './version.ts';
export { evaluate, ontoClasses, predict } from './vlm/evaluate.ts';
export { type ExportDescription, exportClassifier } from './vlm/export.ts';
export { ImageFeatures } from './vlm/features.ts';
export {
  type RunEvent,
  type RunResult,
  type RunSettings,
  type TuneOptions,
  tune,
} from './vlm/run.ts';
export { openRun, type SavedRun } from './vlm/saved.ts';
export type { Adapter, Classifier, TuneTask, Tuning } from './vlm/task.ts';
