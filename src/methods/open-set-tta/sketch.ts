import { filtered, mapPicture, type Picture, toPicture, toPixels } from '../../data/corruptions/picture.ts';
import type { Pixels } from '../../data/index.ts';
import type { Random } from '../../runtime/index.ts';
import type { MixedOptions } from './stream.ts';

const noisy = (p: Picture, deviation: number, random: Random): Picture =>
  mapPicture(p, (v) => v + deviation * random.normal());

/** The mean of a pixel and the four beside it. */
const cross = [0, 1, 0, 1, 1, 1, 0, 1, 0].map((v) => v / 5);

const changes: Record<string, (p: Picture, random: Random) => Picture> = {
  noise: (p, random) => noisy(p, 0.35, random),
  contrast: (p, random) =>
    noisy(
      mapPicture(p, (v) => 0.4 * v + 0.3),
      0.1,
      random,
    ),
  'random pixels': (p, random) => mapPicture(p, (v) => (random.next() < 0.15 ? random.next() : v)),
  blur: (p, random) => noisy(filtered(p, cross), 0.08, random),
  gamma: (p, random) =>
    noisy(
      mapPicture(p, (v) => 0.7 * Math.sqrt(v)),
      0.2,
      random,
    ),
};

/** The five corruptions of the card's sketch. */
export const sketchDomains: MixedOptions['domains'] = Object.entries(changes).map(([name, change]) => ({
  name,
  change: (image: Pixels, random: Random) => toPixels(change(toPicture(image), random)),
}));
