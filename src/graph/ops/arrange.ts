import { constant, type Tensor } from '../tensor.ts';
import { axisOf, opError } from './common.ts';
import { where } from './elementwise.ts';
import { concat, expand, flip, reshape, slice, transpose, unsqueeze } from './shape.ts';

/** Repeats the whole of x `counts[i]` times along axis i; further counts come before, as new axes (torch.repeat). */
export function tile(x: Tensor, counts: readonly number[]): Tensor {
  if (counts.length < x.rank || counts.some((n) => !Number.isInteger(n) || n < 0)) {
    throw opError('tile', `needs a count for each axis, not [${counts}]`, [x]);
  }
  if (counts.length > x.rank)
    return tile(reshape(x, [...Array<number>(counts.length - x.rank).fill(1), ...x.shape]), counts);
  const split = reshape(
    x,
    x.shape.flatMap((n) => [1, n]),
  );
  const repeated = expand(
    split,
    x.shape.flatMap((n, i) => [counts[i]!, n]),
  );
  return reshape(
    repeated,
    x.shape.map((n, i) => n * counts[i]!),
  );
}

/** Each element of an axis `count` times in a row (torch.repeat_interleave). */
export function repeatInterleave(x: Tensor, count: number, axis: number): Tensor {
  const a = axisOf('repeatInterleave', axis, x);
  const unit = unsqueeze(x, a + 1);
  return reshape(expand(unit, unit.shape.with(a + 1, count)), x.shape.with(a, x.shape[a]! * count));
}

/**
 * Moves elements by `shift` places along an axis; what leaves at one end enters at the other (torch.roll). Several axes
 * are given as lists.
 */
export function roll(x: Tensor, shift: number | readonly number[], axis: number | readonly number[]): Tensor {
  if (typeof shift !== 'number' || typeof axis !== 'number') {
    const [shifts, axes] = [[shift].flat(), [axis].flat()];
    if (shifts.length !== axes.length) throw opError('roll', 'needs a shift for each axis', [x]);
    return axes.reduce((y, a, i) => roll(y, shifts[i]!, a), x);
  }
  const n = x.shape[axisOf('roll', axis, x)]!;
  const by = n === 0 ? 0 : ((shift % n) + n) % n;
  return by === 0 ? x : concat([slice(x, axis, n - by), slice(x, axis, 0, n - by)], axis);
}

/** Keeps what lies on and above the diagonal of the last two axes (`diagonal` places to its right), else 0. */
export const triu = (x: Tensor, diagonal = 0): Tensor => masked('triu', x, (i, j) => j - i >= diagonal);
/** Keeps what lies on and below the diagonal of the last two axes, else 0. */
export const tril = (x: Tensor, diagonal = 0): Tensor => masked('tril', x, (i, j) => j - i <= diagonal);

function masked(op: string, x: Tensor, keep: (row: number, column: number) => boolean): Tensor {
  if (x.rank < 2) throw opError(op, 'needs matrices [..., n, m]', [x]);
  return where(triangle(x.dim(-2), x.dim(-1), keep), x, 0);
}

/** A constant bool matrix. */
function triangle(rows: number, columns: number, keep: (row: number, column: number) => boolean): Tensor {
  const data = Uint8Array.from({ length: rows * columns }, (_, k) =>
    keep(Math.floor(k / columns), k % columns) ? 1 : 0,
  );
  return constant({ dtype: 'bool', shape: [rows, columns], data });
}

/**
 * Pads each axis with elements of x itself: mirrored without repeating the border (`reflect`), the border element
 * (`edge`), or from the other end (`wrap`).
 */
export function padWith(
  mode: 'reflect' | 'edge' | 'wrap',
  x: Tensor,
  before: readonly number[],
  after: readonly number[],
): Tensor {
  return x.shape.reduce((y, n, axis) => {
    const [b, a] = [before[axis]!, after[axis]!];
    const most = mode === 'reflect' ? n - 1 : mode === 'wrap' ? n : n > 0 ? Infinity : 0;
    if (Math.min(b, a) < 0 || Math.max(b, a) > most) {
      throw opError('padWith', `${mode} of axis ${axis} allows 0 to ${most}, not ${b} and ${a}`, [x]);
    }
    const side = (count: number, front: boolean): Tensor[] => {
      if (count === 0) return [];
      if (mode === 'edge') {
        const border = front ? slice(y, axis, 0, 1) : slice(y, axis, n - 1);
        return [expand(border, y.shape.with(axis, count))];
      }
      if (mode === 'wrap') return [front ? slice(y, axis, n - count) : slice(y, axis, 0, count)];
      return [flip(front ? slice(y, axis, 1, count + 1) : slice(y, axis, n - 1 - count, n - 1), axis)];
    };
    return concat([...side(b, true), y, ...side(a, false)], axis);
  }, x);
}

/** The diagonal of two axes as a new last axis; `offset` places above the main one. */
export function diagonal(x: Tensor, axis1 = -2, axis2 = -1, offset = 0): Tensor {
  const [i, j] = [axisOf('diagonal', axis1, x), axisOf('diagonal', axis2, x)];
  if (i === j) throw opError('diagonal', `axes ${axis1} and ${axis2} are the same`, [x]);
  const [rows, columns] = [x.shape[i]!, x.shape[j]!];
  const count = Math.max(0, Math.min(rows + Math.min(offset, 0), columns - Math.max(offset, 0)));
  const rest = x.shape.map((_, k) => k).filter((k) => k !== i && k !== j);
  const flat = reshape(x.transpose([...rest, i, j]), [...rest.map((k) => x.shape[k]!), rows * columns]);
  const start = offset >= 0 ? offset : -offset * columns;
  return slice(
    flat,
    -1,
    start,
    start + Math.max(0, count - 1) * (columns + 1) + (count ? 1 : 0),
    columns + 1,
  );
}

/** Square matrices with the last axis of x on their diagonal, else 0. */
export function diagEmbed(x: Tensor): Tensor {
  const n = x.dim(-1);
  const eye = triangle(n, n, (i, j) => i === j);
  return where(eye, expand(unsqueeze(x, -1), [...x.shape, n]), 0);
}

/** The grids of coordinates that vectors span: the i-th varies along axis i (numpy.meshgrid with indexing 'ij'). */
export function meshgrid(vectors: readonly Tensor[]): Tensor[] {
  const shape = vectors.map((v) => v.size);
  return vectors.map((v, i) =>
    expand(
      reshape(
        v,
        shape.map((n, j) => (i === j ? n : 1)),
      ),
      shape,
    ),
  );
}

/** [N, C·r², H, W] → [N, C, H·r, W·r] (Shi et al. 2016). */
export function pixelShuffle(x: Tensor, r: number): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  if (x.rank !== 4 || c % (r * r) !== 0) throw opError('pixelShuffle', `needs [N, C·${r}², H, W]`, [x]);
  const split = reshape(x, [n, c / (r * r), r, r, h, w]);
  return reshape(transpose(split, [0, 1, 4, 2, 5, 3]), [n, c / (r * r), h * r, w * r]);
}
/** [N, C, H·r, W·r] → [N, C·r², H, W]: undoes `pixelShuffle`. */
export function pixelUnshuffle(x: Tensor, r: number): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  if (x.rank !== 4 || h % r !== 0 || w % r !== 0)
    throw opError('pixelUnshuffle', `needs [N, C, H·${r}, W·${r}]`, [x]);
  const split = reshape(x, [n, c, h / r, r, w / r, r]);
  return reshape(transpose(split, [0, 1, 3, 5, 2, 4]), [n, c * r * r, h / r, w / r]);
}
