import type { Benchmark } from './benchmark.ts';
import { clipBenchmarks } from './clip.ts';
import { imageBenchmarks } from './images.ts';
import { dccStep } from './methods/dcc.ts';
import { gramBenchmarks } from './methods/gram.ts';
import { mocoopStep } from './methods/mocoop.ts';
import { ramtStep } from './methods/r-amt.ts';
import { restoreStep } from './methods/restore.ts';
import { ttaStep } from './methods/tta.ts';
import { mnistEpoch } from './mnist.ts';
import { peftBenchmarks } from './peft.ts';
import { textBenchmarks } from './text.ts';

export const benchmarks: readonly Benchmark[] = [
  ...textBenchmarks,
  ...peftBenchmarks,
  ...clipBenchmarks,
  ...imageBenchmarks,
  mnistEpoch,
  ...gramBenchmarks,
  mocoopStep,
  restoreStep,
  ramtStep,
  ttaStep,
  dccStep,
];
