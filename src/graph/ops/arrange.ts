import { constant, type Tensor } from '../tensor.ts';
import { normalizeAxis } from './common.ts';
import { where } from './elementwise.ts';
import { concat, expand, flip, reshape, slice } from './shape.ts';

/** Repeats the whole of x `counts[i]` times along axis i (numpy.tile). */
export function tile(x: Tensor, counts: readonly number[]): Tensor {
  if (counts.length !== x.rank) throw new Error(`tile: needs a count for each axis of ${x}, not [${counts}]`);
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

/** Moves elements by `shift` places along an axis; what leaves at one end enters at the other (torch.roll). */
export function roll(x: Tensor, shift: number, axis: number): Tensor {
  const n = x.dim(axis);
  const by = n === 0 ? 0 : ((shift % n) + n) % n;
  return by === 0 ? x : concat([slice(x, axis, n - by), slice(x, axis, 0, n - by)], axis);
}

/** Keeps what lies on and above the diagonal of the last two axes (`diagonal` places to its right), else 0. */
export const triu = (x: Tensor, diagonal = 0): Tensor =>
  where(
    triangle(x, (i, j) => j - i >= diagonal),
    x,
    0,
  );
/** Keeps what lies on and below the diagonal of the last two axes, else 0. */
export const tril = (x: Tensor, diagonal = 0): Tensor =>
  where(
    triangle(x, (i, j) => j - i <= diagonal),
    x,
    0,
  );

function triangle(x: Tensor, keep: (row: number, column: number) => boolean): Tensor {
  const [rows, columns] = [x.dim(-2), x.dim(-1)];
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
      throw new Error(`padWith: ${mode} of axis ${axis} of ${x} allows 0 to ${most}, not ${b} and ${a}`);
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

/** The diagonal of two axes as a new last axis. */
export function diagonal(x: Tensor, axis1 = -2, axis2 = -1): Tensor {
  const [i, j] = [normalizeAxis(axis1, x.rank), normalizeAxis(axis2, x.rank)];
  const n = x.shape[i]!;
  if (i === j || n !== x.shape[j]) throw new Error(`diagonal: axes ${axis1} and ${axis2} of ${x} differ`);
  const rest = x.shape.map((_, k) => k).filter((k) => k !== i && k !== j);
  const flat = reshape(x.transpose([...rest, i, j]), [...rest.map((k) => x.shape[k]!), n * n]);
  return slice(flat, -1, 0, n * n, n + 1);
}
