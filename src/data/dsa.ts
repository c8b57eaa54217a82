/**
 * Differentiable siamese augmentation (Zhao & Bilen, ICML 2021, arXiv 2102.08259): random changes of images inside a
 * graph, drawn outside it. Where an image is moved, turned or cut, each of its new pixels is a mix of at most four old
 * ones: a table that is fed. So a step is one program whatever is drawn, and gradients of every order pass.
 */
import { gather, gatherElements, type HostTensor, type Tensor, type TensorType } from '../graph/index.ts';
import type { Random } from '../runtime/random.ts';

export const dsaOps = ['color', 'crop', 'cutout', 'flip', 'scale', 'rotate'] as const;
export type DsaOp = (typeof dsaOps)[number];

/** [height, width] */
type Size = readonly [height: number, width: number];

/** For `count` images: where each pixel comes from and by which shares, and three numbers for the colours. */
export interface DsaChanges<T> {
  /** Positions in the image: [count, 4, H·W], int64. */
  readonly places: T;
  /** [count, 4, H·W] */
  readonly shares: T;
  /** What is added, the saturation, the contrast: [count, 3]. */
  readonly colors: T;
}

/** What a batch that feeds changes must declare; one change for all images (siamese) by default. */
export const dsaTypes = ([height, width]: Size, count = 1): DsaChanges<TensorType> => ({
  places: { shape: [count, 4, height * width], dtype: 'int64' },
  shares: { shape: [count, 4, height * width], dtype: 'float32' },
  colors: { shape: [count, 3], dtype: 'float32' },
});

/** Row and column that pixel (y, x) is taken from; undefined where it becomes 0. */
type Source = (y: number, x: number) => readonly [y: number, x: number] | undefined;
interface Change {
  readonly source?: Source;
  readonly colors?: readonly [added: number, saturation: number, contrast: number];
}

/** Draws the parameters of one op, in the ranges of the paper's code. */
const draws: Readonly<Record<DsaOp, (random: Random, size: Size) => Change>> = {
  color: (r) => ({ colors: [r.next() - 0.5, 2 * r.next(), r.next() + 0.5] }),
  crop: (r, size) => {
    const [dy, dx] = size.map((n) => {
      const most = Math.floor(0.125 * n + 0.5);
      return r.int(2 * most + 1) - most;
    }) as [number, number];
    return { source: (y, x) => [y + dy, x + dx] };
  },
  cutout: (r, size) => {
    const [rows, columns] = size.map((n) => {
      const side = Math.floor(0.5 * n + 0.5);
      const from = r.int(n + 1 - (side % 2)) - Math.floor(side / 2);
      return (at: number) => at >= from && at < from + side;
    }) as [(at: number) => boolean, (at: number) => boolean];
    return { source: (y, x) => (rows(y) && columns(x) ? undefined : [y, x]) };
  },
  flip: (r, [, width]) => (r.next() < 0.5 ? { source: (y, x) => [y, width - 1 - x] } : {}),
  scale: (r, size) => {
    const [sy, sx] = size.map(() => r.uniform(1 / 1.2, 1.2)) as [number, number];
    return { source: affine([sy, 0, 0, sx], size) };
  },
  rotate: (r, size) => {
    const angle = (r.uniform(-15, 15) * Math.PI) / 180;
    const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
    return { source: affine([cos, sin, -sin, cos], size) };
  },
};

/** The map (y, x) ↦ (a·y + b·x, c·y + d·x) about the centre, in units of half the image. */
function affine([a, b, c, d]: readonly [number, number, number, number], [height, width]: Size): Source {
  const [cy, cx] = [(height - 1) / 2, (width - 1) / 2];
  const ratio = cx === 0 ? 0 : cy / cx;
  const inverse = cy === 0 ? 0 : cx / cy;
  return (y, x) => [cy + a * (y - cy) + b * ratio * (x - cx), cx + c * inverse * (y - cy) + d * (x - cx)];
}

/**
 * Draws one of `ops` (digits: without flip) and its parameters: once for all images, or for `count` images each its own.
 */
export function drawDsa(
  random: Random,
  size: Size,
  { ops = dsaOps, count = 1 }: { readonly ops?: readonly DsaOp[]; readonly count?: number } = {},
): DsaChanges<HostTensor> {
  const draw = draws[ops[random.int(ops.length)]!];
  return changesOf(
    Array.from({ length: count }, () => draw(random, size)),
    size,
  );
}

/** The change that leaves images as they are, bit for bit. */
export const noDsa = (size: Size): DsaChanges<HostTensor> => changesOf([{}], size);

function changesOf(changes: readonly Change[], [height, width]: Size): DsaChanges<HostTensor> {
  const area = height * width;
  const places = new BigInt64Array(changes.length * 4 * area);
  const shares = new Float32Array(places.length);
  changes.forEach(({ source = (y, x) => [y, x] as const }, n) => {
    for (let pixel = 0; pixel < area; pixel++) {
      const from = source(Math.floor(pixel / width), pixel % width);
      if (!from) continue;
      const [y, x] = from;
      const [top, left] = [Math.floor(y), Math.floor(x)];
      for (let corner = 0; corner < 4; corner++) {
        const [row, column] = [top + (corner >> 1), left + (corner & 1)];
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        const at = (n * 4 + corner) * area + pixel;
        places[at] = BigInt(row * width + column);
        shares[at] = (1 - Math.abs(y - row)) * (1 - Math.abs(x - column));
      }
    }
  });
  const shape = [changes.length, 4, area];
  return {
    places: { dtype: 'int64', shape, data: places },
    shares: { dtype: 'float32', shape, data: shares },
    colors: {
      dtype: 'float32',
      shape: [changes.length, 3],
      data: Float32Array.from(changes.flatMap((c) => c.colors ?? [0, 1, 1])),
    },
  };
}

/** Changes images [B, C, H, W]: all alike where `changes` are of one image. */
export function applyDsa(images: Tensor, { places, shares, colors }: DsaChanges<Tensor>): Tensor {
  const [batch, channels, height, width] = images.shape as [number, number, number, number];
  const count = places.dim(0);
  const area = height * width;
  const flat = images.reshape([batch, channels, area]);
  const corners =
    count === 1
      ? gather(flat, places.reshape([4 * area]), 2)
      : gatherElements(flat, places.reshape([count, 1, 4 * area]).expand([batch, channels, 4 * area]), 2);
  const mixed = corners
    .reshape([batch, channels, 4, area])
    .mul(shares.reshape([count, 1, 4, area]))
    .sum(2);
  const color = (i: number) => colors.slice(1, i, i + 1).reshape([count, 1, 1]);
  /** Away from `mean` by a factor; by the factor 1 nothing changes. */
  const spread = (x: Tensor, mean: Tensor, factor: Tensor) =>
    x.mul(factor).add(mean.mul(factor.neg().add(1)));
  const bright = mixed.add(color(0));
  const saturated = spread(bright, bright.mean(1, true), color(1));
  return spread(saturated, saturated.mean([1, 2], true), color(2)).reshape(images.shape);
}
