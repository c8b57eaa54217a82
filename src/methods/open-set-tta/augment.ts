/** Random changes of images: the views of CoTTA's teacher, and the shifts by which SWR probes its parameters. */

import {
  clamped,
  gaussianBlur,
  mapPicture,
  type Picture,
  toPicture,
  toPixels,
  warped,
} from '../../data/corruptions/picture.ts';
import { type Augmentation, colorJitter, compose, horizontalFlip } from '../../data/index.ts';
import type { Random } from '../../runtime/random.ts';

const onPicture =
  (change: (p: Picture, random: Random) => Picture): Augmentation =>
  (image, random) =>
    toPixels(change(toPicture(image), random));

/** Colours and a blur of σ from 0.1 to 2 pixels: our choice, since the paper's shift augmentation could not be checked. */
export const shiftAugmentation: Augmentation = compose(
  colorJitter({ brightness: 0.4, contrast: 0.4, saturation: 0.4 }),
  onPicture((p, random) => gaussianBlur(p, random.uniform(0.1, 2))),
);

/** Turned by up to 15°, moved by up to an eighth of its size, scaled by 0.9 to 1.1; pixels at the border go on beyond it. */
function affine(p: Picture, random: Random): Picture {
  const angle = (random.uniform(-15, 15) * Math.PI) / 180;
  const scale = random.uniform(0.9, 1.1);
  const [dy, dx] = [p.height, p.width].map((side) => random.uniform(-side / 8, side / 8)) as [number, number];
  const [cy, cx] = [(p.height - 1) / 2, (p.width - 1) / 2];
  const [sine, cosine] = [Math.sin(angle) / scale, Math.cos(angle) / scale];
  return warped(
    p,
    (y, x) => {
      const [v, u] = [y - cy - dy, x - cx - dx];
      return [cy + cosine * v - sine * u, cx + sine * v + cosine * u];
    },
    clamped,
  );
}

/** All hues turned by this share of the circle. */
function turnHue(p: Picture, turn: number): Picture {
  if (p.channels === 1) return p;
  const out = p.data.slice();
  for (let i = 0; i < out.length; i += 3) {
    const [r, g, b] = [out[i]!, out[i + 1]!, out[i + 2]!];
    const [most, least] = [Math.max(r, g, b), Math.min(r, g, b)];
    const chroma = most - least;
    if (chroma === 0) continue;
    const sixth = most === r ? (g - b) / chroma : most === g ? (b - r) / chroma + 2 : (r - g) / chroma + 4;
    // Each channel falls from the largest value to the least over a third of the circle.
    [5, 3, 1].forEach((offset, c) => {
      const at = (((offset + sixth + 6 * turn) % 6) + 6) % 6;
      out[i + c] = most - chroma * Math.max(0, Math.min(at, 4 - at, 1));
    });
  }
  return { ...p, data: out };
}

/**
 * A view of CoTTA's teacher (`get_tta_transforms` of its code): brightness, contrast and saturation, then hue, gamma, an affine
 * map, a slight blur, a flip and slight noise. There the colour changes come in random order, and one draw holds for a batch.
 */
export const teacherView: Augmentation = compose(
  colorJitter({ brightness: 0.4, contrast: 0.3, saturation: 0.5 }),
  onPicture((image, random) => {
    const coloured = turnHue(image, random.uniform(-0.06, 0.06));
    const gamma = random.uniform(0.7, 1.3);
    const moved = affine(
      mapPicture(coloured, (v) => v ** gamma),
      random,
    );
    return gaussianBlur(moved, random.uniform(0.001, 0.5));
  }),
  horizontalFlip(),
  onPicture((p, random) => mapPicture(p, (v) => v + 0.005 * random.normal())),
);
