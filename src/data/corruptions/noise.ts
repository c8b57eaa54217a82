import type { Random } from '../../runtime/random.ts';
import { mapPicture, type Picture } from './picture.ts';

/** `c`: deviation of the noise on each value. */
export const gaussianNoise = (p: Picture, c: number, random: Random): Picture =>
  mapPicture(p, (v) => v + c * random.normal());

/** `c`: photons of a white pixel. */
export const shotNoise = (p: Picture, c: number, random: Random): Picture =>
  mapPicture(p, (v) => poisson(v * c, random) / c);

/** `c`: share of the values that become 0 or 1. */
export const impulseNoise = (p: Picture, c: number, random: Random): Picture =>
  mapPicture(p, (v) => (random.next() < c ? random.int(2) : v));

/** By inversion, which takes as many steps as it counts: for means up to 700, where e^−mean is still a number. */
function poisson(mean: number, random: Random): number {
  let left = random.next();
  let chance = Math.exp(-mean);
  let count = 0;
  while (left >= chance && chance > 0) {
    left -= chance;
    chance *= mean / ++count;
  }
  return count;
}
