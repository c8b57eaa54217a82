import { z } from 'zod';

/** What a method trains: nothing, scale and shift of the normalisation layers, or everything. */
export type Trained = 'nothing' | 'norm' | 'all';

export interface Host {
  readonly summary: string;
  readonly trained: Trained;
  /** Whether it minimises entropy, so that the confidence difference can select for it. */
  readonly entropy: boolean;
  /** Its own weight α of the diversity term. */
  readonly diversity: number;
}

/** The methods by name; those that minimise entropy are hosts of the filter. */
export const hosts = {
  source: {
    summary: 'the classifier as it was trained: running statistics, nothing changes',
    trained: 'nothing',
    entropy: false,
    diversity: 0,
  },
  bn: {
    summary: 'batch norm by the statistics of each batch, nothing trained (BN adapt)',
    trained: 'nothing',
    entropy: false,
    diversity: 0,
  },
  tent: {
    summary: 'TENT: minimises entropy by scale and shift of the normalisation layers',
    trained: 'norm',
    entropy: true,
    diversity: 0,
  },
  eata: {
    summary: 'EATA: TENT on reliable, not redundant images, held by Fisher information',
    trained: 'norm',
    entropy: true,
    diversity: 0,
  },
  swr: {
    summary: 'SWR: all parameters, those that no shift concerns held back',
    trained: 'all',
    entropy: true,
    diversity: 1.25,
  },
  ent: {
    summary: 'entropy minimisation of all parameters',
    trained: 'all',
    entropy: true,
    diversity: 0,
  },
  cotta: {
    summary: 'CoTTA: learns from an averaged teacher on augmented images, restores weights at random',
    trained: 'all',
    entropy: false,
    diversity: 0,
  },
} satisfies Record<string, Host>;
export type HostName = keyof typeof hosts;
export const hostNames = Object.keys(hosts) as [HostName, ...HostName[]];

/** α with the filter where the host has none of its own: the default of the re-implementation. */
const filteredDiversity = 0.5;

/** How a classifier is adapted. */
export const adaptationOptions = z.strictObject({
  method: z.enum(hostNames).default('tent').describe('what adapts'),
  filter: z
    .boolean()
    .default(false)
    .describe('leave out images whose confidence in the source model’s class fell (tent, eata, swr, ent)'),
  diversity: z
    .number()
    .nonnegative()
    .optional()
    .describe(
      `weight α of the entropy of the mean prediction (default: ${hosts.swr.diversity} for swr; others ${filteredDiversity} with --filter, 0 without)`,
    ),
  sourceNorm: z
    .enum(['batch', 'running'])
    .default('batch')
    .describe('statistics by which the source model of the filter normalises'),
  learningRate: z.number().positive().default(1e-3).describe('of Adam'),
  batch: z
    .int()
    .min(2)
    .default(200)
    .describe('images at a time, at most; half of them unknown in an open set'),
  entropyMargin: z
    .number()
    .positive()
    .max(1)
    .default(0.4)
    .describe('eata: entropies below this share of ln K are reliable'),
  redundancy: z
    .number()
    .positive()
    .max(1)
    .default(0.4)
    .describe('eata: images are redundant whose prediction has a cosine of this or more with the mean one'),
  fisherWeight: z.number().nonnegative().default(1).describe('eata: weight of the Fisher penalty'),
  fisherImages: z
    .int()
    .positive()
    .default(2000)
    .describe('eata and swr: training images looked at beforehand'),
  shiftWeight: z.number().nonnegative().default(250).describe('swr: weight of the penalty on what moves'),
  views: z.int().positive().default(32).describe('cotta: augmented images that the teacher averages over'),
  viewsBelow: z
    .number()
    .min(0)
    .max(1)
    .default(0.92)
    .describe('cotta: mean confidence of the source model below which the teacher averages'),
  momentum: z.number().min(0).max(1).default(0.999).describe('cotta: of the teacher'),
  restore: z
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe('cotta: share of the weights restored after each step'),
  seed: z.int().nonnegative().default(1).describe('of the order of images, corruptions and draws'),
});
export type AdaptationOptions = z.output<typeof adaptationOptions>;

/** α: the one that was given, the host's own, or the filter's. */
export const diversityOf = ({ method, filter, diversity }: AdaptationOptions): number =>
  diversity ?? (hosts[method].diversity || (filter ? filteredDiversity : 0));

/** @throws where options contradict each other. */
export function requireConsistent({ method, filter }: AdaptationOptions): void {
  if (!filter || hosts[method].entropy) return;
  const able = hostNames.filter((name) => hosts[name].entropy);
  throw new Error(
    `${method} does not minimise entropy, which is what the filter selects for: use it with ${able.join(', ')}`,
  );
}
