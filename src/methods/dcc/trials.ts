/** What the claims measure: condensations of small digits, each once, and networks trained on them. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  dsaOps,
  type ImageSet,
  loadImages,
  normalisationOf,
  openData,
  type Pixels,
} from '../../data/index.ts';
import { f32, type HostTensor } from '../../graph/index.ts';
import { readSafetensors, writeSafetensors } from '../../hub/index.ts';
import { convNet, type ImageClassifier, mlp } from '../../models/classifiers/index.ts';
import { Random } from '../../runtime/index.ts';
import { InterruptedError } from '../events.ts';
import type { Lab } from '../reproduction.ts';
import { codeVersion } from '../study/code-version.ts';
import { condense } from './condense.ts';
import { randomSet } from './distill.ts';
import { Judge, type Judged, judged } from './evaluate.ts';
import { imagesOf, type LabelledImages, labelsByClass, mapped, normalised } from './images.ts';
import { condensationOptions } from './options.ts';

const side = 8;
const ops = dsaOps.filter((op) => op !== 'flip');

/** The networks of the claims; the ConvNet is as deep as 8×8 pixels allow. */
export const networks: Record<'mlp' | 'convnet', ImageClassifier> = {
  mlp: (s, x) => mlp(s, x, { classes: 10, widths: [64, 64] }),
  convnet: (s, x, norm) => convNet(s, x, { classes: 10, width: 16, depth: 2 }, norm),
};

export interface Trial {
  readonly method: 'random' | 'dc' | 'dcc';
  readonly network: keyof typeof networks;
  /** Whether a pattern that all images share is added to each, of three times the deviation of pixels. */
  readonly background: boolean;
  readonly imagesPerClass: number;
  readonly outerSteps: number;
  readonly innerSteps: number;
  readonly networkEpochs: number;
  readonly warmUp: readonly [outer: number, inner: number];
  readonly imageLearningRate: number;
  readonly dsa: boolean;
}

/** The card's sketch: a short run without warm-up. */
export const short: Omit<Trial, 'method'> = {
  network: 'mlp',
  background: false,
  imagesPerClass: 1,
  outerSteps: 60,
  innerSteps: 5,
  networkEpochs: 5,
  warmUp: [0, 0],
  imageLearningRate: 0.1,
  dsa: false,
};

export interface Digits {
  readonly train: LabelledImages;
  readonly test: LabelledImages;
}

/** MNIST's digits of the built-in set, padded to 32×32, averaged to 8×8 and standardised. */
export async function smallDigits(): Promise<Digits> {
  const splits = await openData('digits');
  const small = async (part: 'train' | 'test'): Promise<ImageSet> => {
    const set = await loadImages(splits[part]);
    return { ...set, images: set.images.map(averaged), shape: [1, side, side] };
  };
  const train = await small('train');
  const normalisation = normalisationOf(train);
  return { train: normalised(train, normalisation), test: normalised(await small('test'), normalisation) };
}

/** Means of 4×4 pixels of a grey picture of 28×28 with 2 pixels of white paper around. */
function averaged({ data, width }: Pixels): Pixels {
  const at = (y: number, x: number) =>
    y < 0 || x < 0 || y >= width || x >= width ? 255 : data[3 * (y * width + x)]!;
  const out = new Uint8Array(3 * side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      let sum = 0;
      for (let i = 0; i < 16; i++) sum += at(4 * y + (i >> 2) - 2, 4 * x + (i & 3) - 2);
      out.fill(Math.round(sum / 16), 3 * (y * side + x), 3 * (y * side + x + 1));
    }
  }
  return { data: out, width: side, height: side };
}

/** The same pattern on every image. */
export function withBackground({ train, test }: Digits): Digits {
  const pattern = new Random('background').fill(side * side, (r) => 3 * r.normal());
  const add = (images: LabelledImages) => mapped(images, (values) => values.map((v, i) => v + pattern[i]!));
  return { train: add(train), test: add(test) };
}

type Place = Pick<Lab, 'dir' | 'signal' | 'say'>;

/** Condensed images, or random real ones; what the same code made before is read from the place's folder. */
export async function imagesOfTrial(
  lab: Place,
  digits: LabelledImages,
  trial: Trial,
  seed: number,
  about = '',
): Promise<LabelledImages> {
  const { method, imagesPerClass, warmUp, network, dsa } = trial;
  if (method === 'random') return randomSet(digits, imagesPerClass, seed, 0);
  const description = JSON.stringify({ trial, seed, about, code: codeVersion(import.meta.url) });
  const digest = createHash('sha256').update(description).digest('hex').slice(0, 16);
  const file = join(lab.dir, `${method}-${digest}.safetensors`);
  const known = await readSafetensors(file).catch(() => undefined);
  let images = (await known?.get('images')?.load()) as HostTensor<'float32'> | undefined;
  if (!images) {
    const events = condense({
      images: digits,
      network: networks[network],
      options: condensationOptions.parse({
        method,
        imagesPerClass,
        outerSteps: trial.outerSteps,
        innerSteps: trial.innerSteps,
        networkEpochs: trial.networkEpochs,
        warmUpOuter: warmUp[0],
        warmUpInner: warmUp[1],
        realBatch: 64,
        imageLearningRate: trial.imageLearningRate,
        seed,
      }),
      dsa: dsa ? ops : undefined,
      signal: lab.signal,
    });
    let next = await events.next();
    while (!next.done) next = await events.next();
    if (!next.value) throw new InterruptedError('interrupted; the same command goes on');
    images = f32(next.value.data, next.value.shape);
    await writeSafetensors(file, { images }, {});
  }
  return imagesOf(images, labelsByClass(10, imagesPerClass), digits.classes);
}

export interface Plan {
  readonly seeds: readonly number[];
  /** Fresh networks for each condensation. */
  readonly networks: number;
  /** Of training them; default 300, with augmentation 1,000. */
  readonly epochs?: number;
}

/** Accuracies of networks trained on what each seed gives, at a learning rate of 0.02. */
export async function accuracyOf(lab: Place, digits: Digits, trial: Trial, plan: Plan): Promise<Judged> {
  const data = trial.background ? withBackground(digits) : digits;
  const accuracies: number[] = [];
  for (const seed of plan.seeds) {
    const judge = new Judge(networks[trial.network], [1, side, side], {
      learningRate: 0.02,
      ...(plan.epochs && { epochs: plan.epochs }),
      dsa: trial.dsa ? ops : undefined,
      seed,
    });
    try {
      const images = await imagesOfTrial(lab, data.train, trial, seed);
      for (let n = 0; n < plan.networks; n++) {
        // Random images are drawn anew for each network.
        const set = trial.method === 'random' ? randomSet(data.train, trial.imagesPerClass, seed, n) : images;
        accuracies.push(await judge.judge(set, data.test, n, lab.signal));
      }
    } finally {
      await judge.release();
    }
  }
  const { mean, deviation } = judged(accuracies);
  const name = `${trial.method}${trial.dsa ? ' with DSA' : ''}, ${trial.network}${trial.background ? ' on a background' : ''}`;
  lab.say(
    `  ${name}, ${trial.imagesPerClass} a class, K ${trial.outerSteps}: ${(100 * mean).toFixed(1)} % ± ${(100 * deviation).toFixed(1)}`,
  );
  return judged(accuracies);
}
