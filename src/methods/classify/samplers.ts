import {
  fullSampler,
  randomSubset,
  rs2Sampler,
  rs2Stratified,
  rs2WithReplacement,
  subsetSampler,
  subsetSize,
} from '../../train/index.ts';
import { rescoredSamplers } from '../rs2/rescoring.ts';
import type { ClassifierRun } from './classifier.ts';

/** The samplers by name: `share` of the images of these labels a round. */
export const samplers: Readonly<
  Record<
    string,
    { summary: string; of(labels: ArrayLike<number>, share: number, seed: number): ClassifierRun['sampler'] }
  >
> = {
  full: { summary: 'all images every epoch', of: (labels, _, seed) => fullSampler(labels.length, seed) },
  rs2: {
    summary: 'RS2: new images every round, each once in a pass over the data',
    of: ({ length }, share, seed) => rs2Sampler(length, subsetSize(length, share), seed),
  },
  'rs2-replacement': {
    summary: 'RS2 with replacement: every round draws from all images',
    of: ({ length }, share, seed) => rs2WithReplacement(length, subsetSize(length, share), seed),
  },
  'rs2-stratified': {
    summary: 'RS2 with replacement, as many images of each class as its share',
    of: (labels, share, seed) => rs2Stratified(labels, share, seed),
  },
  random: {
    summary: 'the same random images every round',
    of: ({ length }, share, seed) =>
      subsetSampler(randomSubset(length, subsetSize(length, share), seed), length, seed),
  },
  ...rescoredSamplers,
};
export const samplerNames = Object.keys(samplers) as [string, ...string[]];
