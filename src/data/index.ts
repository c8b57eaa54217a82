/**
 * Data: labelled images and texts, how they are read, prepared, changed, drawn and split.
 *
 * Pictures are 8-bit RGB (`Pixels`) until an `ImageProcessor` makes them the float32 tensors `[3, H, W]` or
 * `[N, 3, H, W]` that a model reads.
 */
export {
  type Augmentation,
  type CropOptions,
  clipTrainTransform,
  colorJitter,
  compose,
  horizontalFlip,
  randomInvert,
  randomResizedCrop,
  randomShift,
  recolor,
  sometimes,
} from './augment.ts';
export { type BuiltIn, type BuiltInName, builtIn, builtInData, builtInSuite, isBuiltIn } from './built-in.ts';
export {
  type CorruptionName,
  corrupt,
  corruptionNames,
  findCorruptions,
  type Severity,
} from './corruptions.ts';
export {
  byClass,
  type Dataset,
  type Example,
  filterExamples,
  type Pixels,
  subsetClasses,
} from './dataset.ts';
export { type DecodeOptions, decodeImage, type ImageFormat, sniffImage } from './decode.ts';
export { type DomainFolder, domainFolders, type StreamFile } from './domains.ts';
export {
  applyDsa,
  type DsaChanges,
  type DsaOp,
  drawDsa,
  dsaOps,
  dsaTypes,
  noDsa,
} from './dsa.ts';
export type { DataSplits, FileOptions } from './files.ts';
export { imageFolder } from './folder.ts';
export { cacheFolder } from './icons/pack.ts';
export {
  commonNames,
  type IconDomain,
  type IconOptions,
  type IconReport,
  type IconSplit,
  iconDomains,
  iconReport,
  icons,
} from './icons.ts';
export {
  fitImage,
  type ImageSet,
  imageTensor,
  loadImages,
  type Normalisation,
  normalisationOf,
} from './image-set.ts';
export { imageManifest } from './manifest.ts';
export { openData } from './open.ts';
export { type ImageProcessor, imageProcessor } from './preprocess.ts';
export { publishedFolder } from './published.ts';
export { type Resampling, resamplings, resize } from './resize.ts';
export {
  baseAndNew,
  domainsOf,
  fewShot,
  fewShotVal,
  harmonicMean,
  inDomains,
  leaveDomainOut,
  type ShotOptions,
} from './sample.ts';
export { isTable } from './table.ts';
export { ensembleFor, ensembles, fillTemplate, templateFor, templates } from './templates.ts';
export { type Passage, readCorpus } from './text/corpus.ts';
export {
  inputText,
  majorityRate,
  type TextDataset,
  type TextExample,
  type TextMetric,
  type TextSplits,
} from './text/example.ts';
export {
  type FormatOptions,
  type PublishedFiles,
  publishedDataset,
  publishedSplits,
  type Row,
  type TextForm,
  type TextFormatName,
  textFormats,
} from './text/formats.ts';
export { splitFiles } from './text/layout.ts';
export { normalizeAnswer, pearson, questionExactMatch, spearman, textScores } from './text/metrics.ts';
export { openTextData, type TextOptions } from './text/open.ts';
export { isTextTask, openTextTask, type TextTaskName, textSuite, textTasks } from './text/suite.ts';
