import { describe, expect, test } from 'vitest';
import { f32, grad, type HostTensor, input, type Tensor } from '../../graph/index.ts';
import { runOnce } from '../../runtime/index.ts';
import { appendTokens, placeTokens, replaceTokens, type Slots } from './soft-tokens.ts';

const [n, length, width] = [3, 6, 2];
/** Row r, position p, channel c is r·100 + p·10 + c. */
const grid = (rows: number, positions: number, at: (r: number, p: number) => number): number[] =>
  Array.from({ length: rows * positions * width }, (_, i) => {
    const [r, p, c] = [Math.floor(i / width / positions), Math.floor(i / width) % positions, i % width];
    return at(r, p) + c;
  });
const sentence = f32(
  grid(n, length, (r, p) => r * 100 + p * 10),
  [n, length, width],
);
const shared = f32(
  grid(1, 2, (_, p) => -10 * (p + 1)),
  [2, width],
);
const own = f32(
  grid(n, 2, (r, p) => -100 * (r + 1) - 10 * (p + 1)),
  [n, 2, width],
);

/** Runs `build` with the soft tokens `soft`, and the gradient of Σ position-weight · output in them. */
async function run(soft: HostTensor<'float32'>, build: (x: Tensor, soft: Tensor) => Tensor) {
  const [x, t] = [input('x', sentence.shape), input('soft', soft.shape)];
  const out = build(x, t);
  const weights = input('weights', out.shape);
  const [gradient] = grad(out.mul(weights).sum(), [t]);
  const fed = f32(
    grid(n, out.dim(1), (r, p) => r * 100 + p * 10),
    out.shape,
  );
  return runOnce({ out, gradient: gradient! }, { x: sentence, soft, weights: fed });
}

/** The same by plain loops: the output, and for each soft token the sum of the weights of its places. */
function want(soft: HostTensor<'float32'>, slots: Slots, positions = length) {
  const many = soft.shape.length === 3;
  const out = grid(n, positions, (r, p) => r * 100 + p * 10);
  const gradient = new Array<number>(soft.data.length).fill(0);
  slots.forEach((places, r) => {
    places.forEach((p, j) => {
      for (let c = 0; c < width; c++) {
        const from = ((many ? r * 2 : 0) + j) * width + c;
        out[(r * positions + p) * width + c] = soft.data[from]!;
        gradient[from]! += r * 100 + p * 10 + c;
      }
    });
  });
  return { out: f32(out, [n, positions, width]), gradient: f32(gradient, soft.shape) };
}
const everyRow = (...places: number[]): Slots => Array.from({ length: n }, () => places);

describe.each([
  ['one set for all sentences', shared],
  ['a set for each sentence', own],
])('%s', (_name, soft) => {
  test.each([0, 1, 4])('replaceTokens at position %i', async (start) => {
    const got = await run(soft, (x, t) => replaceTokens(x, t, start));
    expect(got).toEqual(want(soft, everyRow(start, start + 1)));
  });

  test('appendTokens', async () => {
    const got = await run(soft, appendTokens);
    expect(got).toEqual(want(soft, everyRow(length, length + 1), length + 2));
  });

  test.each<[string, Slots]>([
    ['side by side', everyRow(1, 2)],
    ['apart', everyRow(1, 4)],
    [
      'elsewhere in each sentence',
      [
        [1, 3],
        [1, 5],
        [0, 2],
      ],
    ],
  ])('placeTokens, %s', async (_name, slots) => {
    expect(await run(soft, (x, t) => placeTokens(x, t, slots))).toEqual(want(soft, slots));
  });
});

test('soft tokens that do not fit are refused', () => {
  const [x, soft] = [input('x', sentence.shape), input('soft', [2, width])];
  expect(() => replaceTokens(x, soft, 5)).toThrow('2 soft tokens at position 5 do not fit into 6 tokens');
  expect(() => replaceTokens(x, soft, -1)).toThrow('do not fit');
  expect(() => placeTokens(x, soft, everyRow(1, 6))).toThrow('do not fit');
  expect(() => placeTokens(x, soft, everyRow(1))).toThrow('do not fit');
  expect(() => placeTokens(x, soft, [[1, 2]])).toThrow('do not fit');
});
