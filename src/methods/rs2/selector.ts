import { groupsOf, subsetSize } from '../../train/index.ts';
import type { Outputs } from '../classify/classifier.ts';
import type { Rows } from '../gram/k-means.ts';

/** Where the released code (PatrikOkanovic/RS2, DeepCore) does otherwise than the definitions. */
export const deviations = {
  'herding-argmax': 'herding adds the image that increases the error of the mean most',
  'stochastic-greedy':
    'greedy over a few random candidates with ε = 0.9: all but random from a share of 7 % on',
  'glister-frozen': 'Glister never updates the validation gradient',
  'cal-lowest': 'CAL keeps the least divergent images',
  'double-softmax': 'gradients of a cross-entropy whose logits are probabilities already',
  'last-batch': 'GraNd divides gradients by the size of the batch, so those of a smaller last one are larger',
  'raw-logits': 'least confidence compares largest logits, not probabilities',
  'ties-last': 'forgetting breaks ties by the highest index',
  'never-learned-zero':
    'images that were never learned have no forgetting events, in place of infinitely many',
} as const;
export type Deviation = keyof typeof deviations;

/** One pre-training of the scoring network. */
export interface ScoreRun {
  /** In evaluation, of all training images. */
  readonly outputs: Outputs;
  /** How often an image was right at its previous visit and wrong at the next, during training. */
  readonly forgotten: Float64Array;
  /** Whether it was ever right. */
  readonly learned: Uint8Array;
  /** The mean over visits of its label's logit minus the largest other (area under the margin). */
  readonly margins: Float64Array;
}

/** What selectors may ask for, computed when they do. */
export interface Scores {
  /** The nth pre-training on all images; those of one number are one. */
  run(n?: number): Promise<ScoreRun>;
  /** How many pre-trainings scores are averaged over, where a method does. */
  readonly runs: number;
  /** Of a network trained from scratch on these images alone: outputs for all. */
  trainedOn(indices: readonly number[]): Promise<Outputs>;
  /** Features that no label of the task shaped. */
  embeddings(): Promise<Rows>;
  /** DeepFool's ‖r‖² of every image. */
  perturbations(): Promise<Float64Array>;
  /**
   * What `work` gives, computed once for all selections that name it so; its seconds count in each. What it needs of other
   * scores is awaited before.
   */
  remember<T>(name: string, work: () => Promise<T>): Promise<T>;
}

export interface SelectionTask {
  /** The class of each image. */
  readonly labels: Int32Array;
  /** Share of the images to keep. */
  readonly share: number;
  readonly seed: number;
  readonly scores: Scores;
  /** Deviations of the released code to follow. */
  readonly released: ReadonlySet<Deviation>;
  readonly settings: SelectorSettings;
}

export interface SelectorSettings {
  /** Learning rate of Glister's virtual step. */
  readonly learningRate: number;
  /** Images that active learning adds at a time. */
  readonly activeStep: number;
  /** The share of hardest images that CCS drops (β). */
  readonly hardCutoff: number;
}

export interface Selection {
  /** Positions of the images that are kept, each once. */
  readonly indices: number[];
  /** Weights of their losses. */
  readonly weights?: number[];
}

export interface Selector {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  readonly paper: string;
  /** Deviations that change it. */
  readonly released?: readonly Deviation[];
  select(task: SelectionTask): Promise<Selection>;
}

/** Selects in every group by itself, round(share · size) images of each but at least one. */
export async function inGroups(
  groups: readonly (readonly number[])[],
  share: number,
  select: (members: readonly number[], budget: number) => Selection | Promise<Selection>,
): Promise<Selection> {
  const parts: Selection[] = [];
  for (const members of groups) parts.push(await select(members, subsetSize(members.length, share)));
  const indices = parts.flatMap((p) => p.indices);
  if (!parts.some((p) => p.weights)) return { indices };
  return { indices, weights: parts.flatMap((p) => p.weights ?? p.indices.map(() => 1)) };
}

/** `inGroups` of the classes: "balanced". */
export const inClasses = (
  { labels, share }: SelectionTask,
  select: (members: readonly number[], budget: number) => Selection | Promise<Selection>,
): Promise<Selection> => inGroups(groupsOf(labels), share, select);

/** The `budget` members of lowest score; ties go to the first. */
export const lowest = (members: readonly number[], score: (i: number) => number, budget: number): number[] =>
  members
    .map((i) => ({ i, score: score(i) }))
    .sort((a, b) => a.score - b.score)
    .slice(0, budget)
    .map(({ i }) => i);

export const everyone = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
