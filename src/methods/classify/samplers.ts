import { Random } from '../../runtime/index.ts';
import {
  fullSampler,
  rs2Sampler,
  rs2Stratified,
  rs2WithReplacement,
  type Sampler,
  subsetSampler,
  subsetSize,
} from '../../train/index.ts';

/** The samplers by name: `share` of the images of these labels a round. */
export const samplers: Readonly<
  Record<string, { summary: string; of(labels: Int32Array, share: number, seed: number): Sampler }>
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
};
export const samplerNames = Object.keys(samplers) as [string, ...string[]];

/** `size` of `count` images, drawn once. */
export const randomSubset = (count: number, size: number, seed: number): Int32Array =>
  new Random(seed, 'subset').permutation(count).slice(0, size);
