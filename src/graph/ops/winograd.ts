import { floats, type HostTensor, i64, type Shape } from '../host.ts';
import type { Conv } from '../rule.ts';
import { constant, type Tensor } from '../tensor.ts';
import { gather } from './gather.ts';
import { matmul } from './linear.ts';
import { pad, reshape, transpose } from './shape.ts';

/*
 * 3×3 convolutions and their gradients by Winograd's F(2×2, 3×3) (Lavin & Gray, CVPR 2016): a tile of 2×2 outputs takes 16 products
 * in place of 36. With B, G, A of the paper, U = G w Gᵀ, V = Bᵀ x B and M = Σ U V, an output is y = Aᵀ M A; all of it is linear in
 * x and in w, so that the gradients are the same steps backwards. The two-sided products are written as one with a Kronecker
 * square, over all tiles and channels at once.
 */

type Matrix = readonly (readonly number[])[];

const input: Matrix = [
  [1, 0, -1, 0],
  [0, 1, 1, 0],
  [0, -1, 1, 0],
  [0, 1, 0, -1],
];
const kernel: Matrix = [
  [1, 0, 0],
  [0.5, 0.5, 0.5],
  [0.5, -0.5, 0.5],
  [0, 0, 1],
];
const output: Matrix = [
  [1, 1, 1, 0],
  [0, 1, -1, -1],
];

/** m ⊗ m */
function square(m: Matrix, dtype: Tensor['dtype']): Tensor {
  const values = m.flatMap((a) => m.map((b) => a.flatMap((p) => b.map((q) => p * q)))).flat();
  return constant(floats(values, [m.length ** 2, m[0]!.length ** 2], dtype as 'float32'));
}

/** A kernel turned by half a circle has the same U but for this order of its rows: what the points 0 and ∞ see is swapped. */
const turned = (m: Matrix): Matrix => [3, 1, 2, 0].map((i) => m[i]!);

/** Whether it is faster: the passes over tiles cost as much as products are saved where channels are few. */
export const suitsWinograd = (x: Tensor, weights: Shape, c: Conv): boolean =>
  weights.length === 4 &&
  c.groups === 1 &&
  Math.min(weights[0]!, weights[1]!) >= 256 &&
  weights.slice(2).every((n) => n === 3) &&
  [c.strides, c.dilations, c.before, c.after].every((list) => list.every((n) => n === 1)) &&
  x.shape.slice(2).every((n) => n % 2 === 0);

/** One array for equal places, so that equal tiles of a forward and a backward pass are known to be equal. */
const knownPlaces = new Map<string, HostTensor>();

/** Rows of `tiles`. */
function tilePlaces(n: number, height: number, width: number, side: number, margin: number): HostTensor {
  const key = `${[n, height, width, side, margin]}`;
  const area = height * width;
  const at = (image: number, y: number, x: number): number =>
    image * (area + 1) + (y < 0 || x < 0 || y >= height || x >= width ? area : y * width + x);
  const count = (n * area) / 4;
  const place = (i: number): number => {
    const [place, tile] = [Math.floor(i / count), i % count];
    const [image, inside] = [Math.floor((4 * tile) / area), tile % (area / 4)];
    const [row, column] = [Math.floor((2 * inside) / width), inside % (width / 2)];
    return at(image, 2 * row + Math.floor(place / side) - margin, 2 * column + (place % side) - margin);
  };
  const places = knownPlaces.get(key) ?? i64(Array.from({ length: side * side * count }, (_, i) => place(i)));
  knownPlaces.set(key, places);
  return places;
}

/** Squares of side × side positions from 2·tile − margin on: [side², N · tiles, C], zeros outside of x [N, C, H, W]. */
function tiles(x: Tensor, side: number, margin: number): Tensor {
  const [n, channels, height, width] = x.shape as [number, number, number, number];
  const area = height * width;
  // A row of zeros lies behind each image.
  const rows = pad(transpose(reshape(x, [n, channels, area]), [0, 2, 1]), [0, 0, 0], [0, 1, 0]);
  const places = tilePlaces(n, height, width, side, margin);
  return gather(reshape(rows, [n * (area + 1), channels]), constant(places), 0);
}

/** V = Bᵀ x B of all tiles: [16, N · tiles, C]. */
const inputTiles = (x: Tensor, m: Matrix): Tensor => {
  const all = reshape(tiles(x, 4, 1), [16, -1]);
  return reshape(matmul(square(m, x.dtype), all), [16, x.size / x.shape[1]! / 4, x.shape[1]!]);
};

/** U = G w Gᵀ of all kernels: [16, O, C]. */
const kernelTiles = (w: Tensor): Tensor => {
  const [out, channels] = w.shape as [number, number];
  const u = matmul(square(kernel, w.dtype), reshape(w, [out * channels, 9]), { transB: true });
  return reshape(u, [16, out, channels]);
};

/** Aᵀ M A of the tiles of M [16, N · tiles, C] as images: [N, C, H, W]. */
function images(m: Tensor, matrix: Matrix, [n, height, width]: readonly [number, number, number]): Tensor {
  const [area, channels] = [height * width, m.dim(2)];
  const y = matmul(square(matrix, m.dtype), reshape(m, [16, -1]));
  // Position (2·row + a, 2·column + b) of an image is row (a, b) of its tile.
  const places = Array.from({ length: n * area }, (_, i) => {
    const [image, row, column] = [Math.floor(i / area), Math.floor((i % area) / width), i % width];
    const tile = (image * area) / 4 + Math.floor(row / 2) * (width / 2) + Math.floor(column / 2);
    return ((2 * (row % 2) + (column % 2)) * n * area) / 4 + tile;
  });
  const rows = gather(reshape(y, [n * area, channels]), constant(i64(places)), 0);
  return reshape(transpose(reshape(rows, [n, area, channels]), [0, 2, 1]), [n, channels, height, width]);
}

const sizes = ({ shape: [n, , height, width] }: Tensor) => [n!, height!, width!] as const;

/** A convolution of x [N, C, H, W] with w [O, C, 3, 3] → [N, O, H, W]. Its tiles of x serve the gradient of w once more. */
export const winograd = (x: Tensor, w: Tensor): Tensor =>
  images(matmul(inputTiles(x, input), kernelTiles(w), { transB: true }), output, sizes(x));

/** The gradient of a convolution with respect to its input: g [N, O, H, W], w [O, C, 3, 3] → [N, C, H, W]. */
export function winogradInput(g: Tensor, w: Tensor): Tensor {
  const reordered = output.map((row) => [3, 1, 2, 0].map((i) => row[i]!));
  return images(matmul(inputTiles(g, turned(input)), kernelTiles(w)), reordered, sizes(g));
}

/** The gradient with respect to the weights: x [N, C, H, W], g [N, O, H, W] → [O, C, 3, 3]. */
export function winogradWeights(x: Tensor, g: Tensor): Tensor {
  const [channels, out] = [x.shape[1]!, g.shape[1]!];
  const spread = matmul(square(output, g.dtype), reshape(tiles(g, 2, 0), [4, -1]), { transA: true });
  const u = matmul(reshape(spread, [16, -1, out]), inputTiles(x, input), { transA: true });
  const w = matmul(reshape(u, [16, out * channels]), square(kernel, g.dtype), { transA: true });
  return reshape(w, [out, channels, 3, 3]);
}
