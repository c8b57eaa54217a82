import { z } from 'zod';
import { type DsaOp, dsaOps } from '../../data/index.ts';
import { imageClassifiers } from '../../models/classifiers/index.ts';
import { distances } from './distance.ts';

/** What decides a condensation besides the images: defaults are those of the reference code. */
export const condensationOptions = z.strictObject({
  method: z
    .enum(['dcc', 'dc'])
    .default('dcc')
    .describe('match the gradient of all classes together (dcc) or that of each (dc)'),
  imagesPerClass: z.int().positive().default(1).describe('synthetic images of a class'),
  dsa: z
    .boolean()
    .default(false)
    .describe('change real and synthetic images alike and at random (with dc: DSA, with dcc: DSAC)'),
  dsaOps: z
    .array(z.enum(dsaOps))
    .default([])
    .describe(`of ${dsaOps.join(', ')}; none given: all, for digits all but flip`),
  network: z
    .enum(Object.keys(imageClassifiers) as [string, ...string[]])
    .default('convnet-3')
    .describe('whose gradients are matched'),
  outerSteps: z.int().positive().default(1000).describe('networks that the images are made for (K)'),
  innerSteps: z
    .int()
    .nonnegative()
    .default(0)
    .describe('steps of the images with each (M); 0: by images per class, as the paper'),
  networkEpochs: z
    .int()
    .nonnegative()
    .default(0)
    .describe('epochs of the network between them (ζ); 0: by images per class, as the paper'),
  warmUpOuter: z
    .int()
    .nonnegative()
    .default(250)
    .describe('networks with which dcc begins by classes, at most --outer-steps'),
  warmUpInner: z
    .int()
    .nonnegative()
    .default(10)
    .describe('first steps with each of those that do, at most --inner-steps'),
  distance: z
    .enum(distances)
    .default('rows')
    .describe('of two gradients: 1 − cosine of each output, or of the whole; squared error'),
  init: z.enum(['real', 'noise']).default('real').describe('begin with random real images, or with noise'),
  realBatch: z.int().positive().default(256).describe('real images of each class in a step, at most'),
  imageLearningRate: z
    .number()
    .nonnegative()
    .default(0)
    .describe('of the images; 0: 0.1, with an mlp 0.01, as the code of DC'),
  imageMomentum: z.number().min(0).max(1).default(0.5).describe('of the images, kept over the whole run'),
  networkLearningRate: z.number().positive().default(0.01).describe('of the networks between steps'),
  seed: z.int().nonnegative().default(1).describe('of all draws'),
});
export type CondensationOptions = z.output<typeof condensationOptions>;

/** Inner steps M and network epochs ζ by images per class, as the released code has them. */
const loops: Readonly<Record<number, readonly [steps: number, epochs: number]>> = {
  1: [10, 5],
  10: [10, 50],
  20: [20, 25],
  30: [30, 20],
  40: [40, 15],
  50: [50, 10],
};
/** The code of DC and DSA takes a single step of each network at one image per class. */
const loopsOfDc: typeof loops = { ...loops, 1: [1, 1] };

/**
 * M and ζ of a run.
 * @throws where the paper has none for so many images per class and they are not given, or the warm-up exceeds the run.
 */
export function loopsOf(o: CondensationOptions): { innerSteps: number; networkEpochs: number } {
  const known = (o.method === 'dc' ? loopsOfDc : loops)[o.imagesPerClass];
  if (!known && !(o.innerSteps && o.networkEpochs)) {
    throw new Error(
      `the paper has no loops for ${o.imagesPerClass} images per class (it has ${Object.keys(loops).join(', ')}): ` +
        'give --inner-steps and --network-epochs',
    );
  }
  const innerSteps = o.innerSteps || known![0];
  const networkEpochs = o.networkEpochs || known![1];
  if (o.method === 'dcc') {
    const atMost = (flag: string, value: number, limit: string, most: number) => {
      if (value > most)
        throw new Error(
          `${flag} ${value} exceeds ${limit} ${most}: give ${flag} 0 to ${most} (0: no warm-up)`,
        );
    };
    atMost('--warm-up-outer', o.warmUpOuter, '--outer-steps', o.outerSteps);
    atMost('--warm-up-inner', o.warmUpInner, '--inner-steps', innerSteps);
  }
  return { innerSteps, networkEpochs };
}

/** The learning rate of the images. At 0.1 an MLP's images grow without end under DC. */
export const imageLearningRateOf = ({ imageLearningRate, network }: CondensationOptions): number =>
  imageLearningRate || (network === 'mlp' ? 0.01 : 0.1);

/** Sets of digits, which a mirror makes into something else. */
const digitSets = ['digits', 'mnist', 'SVHN'];

/** The ops of siamese augmentation; undefined without it. */
export function dsaOpsOf(o: CondensationOptions, data: string): readonly DsaOp[] | undefined {
  if (!o.dsa) return undefined;
  if (o.dsaOps.length) return o.dsaOps;
  return digitSets.includes(data) ? dsaOps.filter((op) => op !== 'flip') : dsaOps;
}
