import { describe, expect, test } from 'vitest';
import { runOnce } from '../runtime/program.ts';
import { Random } from '../runtime/random.ts';
import * as g from './index.ts';
import { constant, f32, grad, i64, perExampleGrad, print, type Shape, type Tensor, vmap } from './index.ts';
import { expectClose } from './testing/golden.ts';

const random = new Random(3, 'vmap');
const weights = (...shape: number[]): Tensor =>
  // Not a constant, which reshaping makes anew: gradients are taken of it.
  g.sin(
    constant(
      f32(
        random.fill(g.sizeOf(shape), (r) => r.normal() / 4),
        shape,
      ),
    ),
  );
const at = (x: Tensor, i: number): Tensor => g.squeeze(x.slice(0, i, i + 1), 0);
/** `fn` of each example by itself. */
const looped =
  (fn: (...xs: Tensor[]) => readonly Tensor[]) =>
  (...xs: Tensor[]): Tensor[] => {
    const each = Array.from({ length: xs[0]!.dim(0) }, (_, i) => fn(...xs.map((x) => at(x, i))));
    return each[0]!.map((_, k) => g.stack(each.map((ys) => ys[k]!)));
  };

async function same(fn: (...xs: Tensor[]) => readonly Tensor[], ...xs: Tensor[]): Promise<void> {
  const [got, want] = [vmap(fn)(...xs), looped(fn)(...xs)];
  const outputs: Record<string, Tensor> = {};
  got.forEach((t, i) => {
    expect(t.shape).toEqual(want[i]!.shape);
    outputs[`got${i}`] = t;
    outputs[`want${i}`] = want[i]!;
  });
  const out = await runOnce(outputs, {});
  got.forEach((_, i) => {
    expectClose(out[`got${i}`]!.data, Array.from(out[`want${i}`]!.data, Number), `result ${i}`, 1e-5);
  });
}

const ids = (...values: number[]) => constant(i64(values, [3, values.length / 3]));
const [w, b, table, kernel] = [weights(4, 5), weights(5), weights(6, 4), weights(4, 2, 3, 3)];
const [bias, image] = [weights(4), weights(2, 2, 4, 4)];
const shapes: Record<string, [fn: (...xs: Tensor[]) => Tensor, ...xs: Tensor[]]> = {
  broadcasting: [(x, y) => g.maximum(x.mul(y), b), weights(3, 2, 5), weights(3, 1)],
  'a row and a matrix': [(x) => x.matmul(w), weights(3, 4)],
  'matrices on both sides': [
    (x, y) => x.matmul(y, { transB: true, alpha: 0.5 }),
    weights(3, 2, 4),
    weights(3, 5, 4),
  ],
  'a batched right side': [(y) => w.matmul(y), weights(3, 5, 2)],
  'higher ranks': [(x, y) => x.matmul(y), weights(3, 2, 1, 2, 4), weights(3, 4, 2)],
  reductions: [(x) => x.sum(0).add(x.mean(-1, true)).mul(x.max()).add(x.min(1, true)), weights(3, 4, 4)],
  'scan and order': [(x) => g.cumSum(g.sort(x, 0)[0], 1, true).add(g.topK(x, 1)[0]), weights(3, 2, 4)],
  shapes: [
    (x) =>
      g.concat(
        [g.flip(x.transpose(), 0).slice(0, 1, undefined, 2), g.pad(x, [0, 1], [0, -1]).transpose()],
        0,
      ),
    weights(3, 2, 4),
  ],
  'an expanded vector and a captured one': [
    (x) => g.concat([x.expand([2, 5]), b.reshape([1, 5])], 0),
    weights(3, 5),
  ],
  embedding: [(i) => g.embedding(table, i), ids(0, 5, 2, 2, 1, 4)],
  'rows of an own table': [(t, i) => g.gather(t, i, 1), weights(3, 2, 4, 2), ids(0, -1, 2, 2, 1, 3)],
  'rows by shared ids': [(t) => g.gather(t, constant(i64([1, 1, 0])), 0), weights(3, 2, 4)],
  'elements and scatters': [
    (x, i) => g.scatterAdd(x, i.reshape([1, 2]), g.gatherElements(x, i.reshape([1, 2]), 1), 1),
    weights(3, 2, 4),
    ids(0, 3, 2, 2, 1, 3),
  ],
  softmax: [(x) => g.softmax(x, 0).sub(g.logSoftmax(x)), weights(3, 4, 4)],
  'layerNorm, own scale': [(x, s) => g.layerNorm(x, s, b), weights(3, 2, 5), weights(3, 5)],
  'conv, shared weights': [(x) => g.conv(x, kernel, bias, { padding: 1 }), weights(3, 2, 2, 4, 4)],
  'conv, own weights, groups': [
    (x, k, c) => g.conv(x, k, c, { stride: 2, padding: 1, groups: 2 }),
    weights(3, 2, 4, 4, 5),
    weights(3, 6, 2, 3, 3),
    weights(3, 6),
  ],
  'conv, own weights and one image': [(k) => g.conv(image, k), weights(3, 4, 2, 3, 3)],
  pooling: [(x) => g.maxPool(x, 2).add(g.avgPool(x, 2)), weights(3, 2, 2, 4, 4)],
  checkpoint: [(x) => g.checkpoint((t: Tensor) => g.tanh(t.matmul(w)))(x), weights(3, 2, 4)],
  'nothing of the example': [(x) => b.add(g.stopGradient(x).sum().mul(0)), weights(3, 2)],
};

test.each(Object.entries(shapes))(
  'a batch equals its examples one by one: %s',
  async (_name, [fn, ...xs]) => {
    await same((...ts) => [fn(...ts)], ...xs);
  },
);

describe('gradients of each example, first and second order', () => {
  const both = (loss: (...xs: Tensor[]) => Tensor, wrt: (xs: Tensor[]) => Tensor[], ...xs: Tensor[]) =>
    same(
      (...ts) => {
        const first = grad(loss(...ts), wrt(ts));
        const second = grad(
          first.map((t) => t.square().sum()).reduce((s, t) => s.add(t)),
          wrt(ts),
        );
        return [...first, ...second];
      },
      ...xs,
    );

  test('a ConvNet with instance norm', async () => {
    const [k1, s1, k2, head] = [weights(4, 1, 3, 3), weights(4), weights(4, 4, 3, 3), weights(4, 3)];
    const loss = (x: Tensor, y: Tensor) => {
      const h = g.avgPool(
        g.relu(g.instanceNorm(g.conv(x.reshape([1, 1, 6, 6]), k1, undefined, { padding: 1 }), s1)),
        2,
      );
      const z = g.maxPool(g.silu(g.conv(h, k2, undefined, { padding: 1, stride: 2 })), 2, { stride: 1 });
      return g
        .gatherElements(g.logSoftmax(z.reshape([1, 4]).matmul(head)), y.reshape([1, 1]), 1)
        .sum()
        .neg();
    };
    await both(loss, () => [k1, s1, k2, head], weights(3, 6, 6), constant(i64([2, 0, 1])));
  });

  test('a transformer block, with gradients of the input too', async () => {
    const [q, k, v, o, up, down] = [
      weights(4, 4),
      weights(4, 4),
      weights(4, 4),
      weights(4, 4),
      weights(4, 6),
      weights(6, 4),
    ];
    const s = weights(4);
    const loss = (i: Tensor, x: Tensor) => {
      const t = g.embedding(table, i).add(x);
      const n = g.layerNorm(t, s);
      const p = g.softmax(n.matmul(q).matmul(n.matmul(k), { transB: true, alpha: 0.5 }));
      const y = t.add(p.matmul(n.matmul(v)).matmul(o));
      return y
        .add(g.gelu(g.rmsNorm(y, s).matmul(up)).matmul(down))
        .square()
        .mean();
    };
    await both(loss, ([, x]) => [table, q, v, s, up, x!], ids(0, 5, 2, 2, 1, 4), weights(3, 2, 4));
  });

  test('perExampleGrad sums to the gradient of the sum, in one product', async () => {
    const xs = g.input('xs', [8, 4]);
    const loss = (x: Tensor) => x.matmul(w).square().sum();
    const [each] = perExampleGrad(loss, [w])(xs);
    expect(each!.shape).toEqual([8, 4, 5]);
    expect(print({ each: each! }).match(/matmul/g)).toHaveLength(2);
    const [whole] = grad(xs.matmul(w).square().sum(), [w]);
    const feeds = {
      xs: f32(
        random.fill(32, (r) => r.normal()),
        [8, 4] as Shape,
      ),
    };
    const out = await runOnce({ sum: each!.sum(0), whole: whole! }, feeds);
    expectClose(out.sum!.data, Array.from(out.whole!.data, Number), 'sum', 1e-5);
  });
});

test('gradients that are taken of what vmap made use the inputs of each example', async () => {
  const x = weights(3, 2, 8, 8);
  const fn = (x: Tensor) => {
    const y = g.conv(x.reshape([1, 2, 8, 8]), kernel, undefined, { padding: 1 });
    return [g.variance(y).mul(grad(y.square().sum(), [x])[0]!.square().sum())];
  };
  const [got, want] = [vmap(fn), looped(fn)].map((f) => grad(f(x)[0]!.sum(), [x])[0]!);
  const out = await runOnce({ got: got!, want: want! }, {});
  expectClose(out.got.data, Array.from(out.want.data, Number), 'gradient', 1e-4);
});

test('arguments without a common first axis are refused', () => {
  expect(() => vmap((x: Tensor, y: Tensor) => x.add(y))(weights(2, 3), weights(3, 3))).toThrow(
    'vmap: every argument needs a first axis of the same length (got float32[2, 3] and float32[3, 3])',
  );
});
