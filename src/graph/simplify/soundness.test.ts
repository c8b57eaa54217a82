import { expect, test } from 'vitest';
import { compile } from '../../runtime/program.ts';
import { Random } from '../../runtime/random.ts';
import * as g from '../index.ts';
import { constant, grad, type HostTensor, i64, input, type Shape, sizeOf, type Tensor } from '../index.ts';
import { broadcastShapes } from '../ops/common.ts';

/** float64, so that no difference hides in rounding. */
const host = (shape: Shape, values: ArrayLike<number>): HostTensor => ({
  dtype: 'float64',
  shape,
  data: Float64Array.from(values),
});
const INPUTS: readonly Shape[] = [[2, 3, 4], [3, 4], [4], [2, 3, 1], [4, 3]];

/** Draws graphs with a liking for what rewrites look for: numbers, views, sums, products, the same tensor twice. */
class Grower {
  readonly pool: Tensor[];
  constructor(
    private readonly r: Random,
    inputs: readonly Tensor[],
  ) {
    this.pool = [...inputs];
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.r.int(list.length)]!;
  }
  private number = (): number => this.pick([0, 1, -1, 2, 0.5, -3]);
  /** Rather a new tensor than an old one. */
  private tensor(): Tensor {
    const back = Math.min(this.r.int(this.pool.length), this.r.int(this.pool.length));
    return this.pool.at(-1 - back)!;
  }
  private axis = (x: Tensor): number => this.r.int(Math.max(1, x.rank));
  /** Something that broadcasts with x. */
  private partner(x: Tensor): Tensor {
    const kind = this.r.int(8);
    if (kind === 0) return constant(host([], [this.number()]));
    if (kind === 1) return constant(host([], [this.number()])).expand(x.shape);
    if (kind === 2 && x.rank > 0) return x.sum(this.axis(x), true);
    const fits = this.pool.filter((t) => broadcastShapes(t.shape, x.shape) && t.rank <= 4);
    return this.pick(fits);
  }

  private readonly elementwise: (() => Tensor)[] = [
    ...[g.add, g.sub, g.mul, g.mul, g.maximum, g.minimum].map((op) => () => {
      const x = this.tensor();
      return this.r.int(2) ? op(x, this.partner(x)) : op(this.partner(x), x);
    }),
    () => this.tensor().mul(this.number()),
    () => this.tensor().mul(constant(host([], [this.number()])).expand([1, 1])),
    () => this.tensor().div(this.pick([2, 3, -1, 0.25])),
    () => {
      const x = this.tensor();
      return x.div(this.partner(x).square().add(1));
    },
    () => this.tensor().pow(this.pick([0, 1, 2])),
    ...[g.neg, g.neg, g.tanh, g.sigmoid, g.abs].map((op) => () => op(this.tensor())),
    () => {
      const x = this.tensor();
      return g.where(g.less(x, this.partner(x)), x, this.partner(x));
    },
    () =>
      g.where(constant({ dtype: 'bool', shape: [], data: Uint8Array.of(this.r.int(2)) }), this.tensor(), 1),
    () => this.tensor().cast('float32').cast('float64'),
  ];

  private readonly views: (() => Tensor)[] = [
    () => {
      const x = this.tensor();
      return x.transpose([...this.r.permutation(x.rank)]);
    },
    () => {
      const x = this.tensor();
      return x.reshape(this.pick([[-1], [...x.shape, 1], [1, ...x.shape], [x.size, 1]]));
    },
    () => {
      const x = this.tensor();
      return x.rank < 4 ? x.expand([2, ...x.shape]) : x;
    },
    () => {
      const x = this.tensor();
      return x.expand(x.shape.map((n) => (n === 1 ? 3 : n)));
    },
    () => {
      const x = this.tensor();
      if (x.rank === 0) return x;
      const axis = this.axis(x);
      const start = this.r.int(x.dim(axis));
      return x.slice(axis, start, start + 1 + this.r.int(x.dim(axis) - start), this.pick([1, 1, 2]));
    },
    () => {
      const x = this.tensor();
      const some = () => x.shape.map(() => Math.max(0, this.r.int(4) - 2));
      return x.size < 200 ? g.pad(x, some(), some(), this.pick([0, 0, 1])) : x;
    },
    () => {
      const x = this.tensor();
      if (x.rank === 0 || x.size > 200) return x;
      return g.concat([x, this.pick([x, x.mul(0), g.flip(x, 0)])], this.axis(x));
    },
    () => {
      // Pieces in order, or not.
      const x = this.tensor();
      if (x.rank === 0) return x;
      const axis = this.axis(x);
      const cut = this.r.int(x.dim(axis) + 1);
      const parts = g.split(x, [cut, x.dim(axis) - cut], axis);
      return g.concat(this.r.int(3) ? parts : parts.toReversed(), axis);
    },
    () => {
      const x = this.tensor();
      if (x.rank === 0) return x;
      const axis = this.axis(x);
      const n = x.dim(axis);
      return g.gather(
        x,
        constant(i64(this.pick([[0], [n - 1], [0, n - 1], Array.from({ length: n }, (_, i) => i)]))),
        axis,
      );
    },
  ];

  private readonly reductions: (() => Tensor)[] = [
    ...[g.sum, g.sum, g.mean, g.max, g.min].map((op) => () => {
      const x = this.tensor();
      const axes = x.shape.flatMap((_, i) => (this.r.int(2) ? [i] : []));
      return op(x, axes, this.r.int(2) === 0);
    }),
  ];

  private readonly products: (() => Tensor)[] = [
    () => {
      const x = this.tensor();
      if (x.rank < 2) return x;
      const fits = this.pool.filter(
        (t) => t.rank === 2 && (t.dim(0) === x.dim(-1) || t.dim(1) === x.dim(-1)),
      );
      if (fits.length === 0) return x.matmul(x, { transB: true });
      const w = this.pick(fits);
      return x.matmul(w, { transB: w.dim(0) !== x.dim(-1), alpha: this.pick([1, 0.5]) });
    },
    () => {
      const x = this.tensor();
      return x.rank < 2 ? x : x.matmul(this.pick([x, x.neg(), x.mul(2)]), { transA: true });
    },
    () => {
      const x = this.tensor();
      return x.rank < 2 ? x : x.transpose().matmul(x.mul(-2));
    },
  ];

  grow(steps: number, kinds: readonly ('elementwise' | 'views' | 'reductions' | 'products')[]): void {
    for (let i = 0; i < steps; i++) {
      const t = this.pick(this[this.pick(kinds)])();
      // A large value says nothing about the next ones.
      if (t.size > 0 && t.size <= 2000 && t.rank <= 5) this.pool.push(this.r.int(3) ? t : g.tanh(t));
    }
  }
}

async function runBoth(outputs: Record<string, Tensor>, values: readonly HostTensor[]) {
  const results = [];
  for (const simplify of [false, true]) {
    const program = await compile(outputs, { simplify });
    const feeds = values.map((v, i) => [`x${i}`, v] as const).filter(([name]) => program.inputs.has(name));
    results.push(await program.run(Object.fromEntries(feeds)));
    await program.release();
  }
  return results as [Record<string, HostTensor>, Record<string, HostTensor>];
}

function expectSame(outputs: Record<string, Tensor>, [a, b]: Awaited<ReturnType<typeof runBoth>>): void {
  for (const name of Object.keys(outputs)) {
    const [want, got] = [Array.from(a[name]!.data, Number), Array.from(b[name]!.data, Number)];
    expect(b[name]!.shape).toEqual(a[name]!.shape);
    const scale = Math.max(1e-30, ...want.filter(Number.isFinite).map(Math.abs));
    for (const [i, w] of want.entries()) {
      const close = Object.is(w, got[i]) || w === got[i] || Math.abs(w - got[i]!) <= 1e-6 * scale;
      expect(close, `${name}[${i}] is ${got[i]}, not ${w}, in\n${g.print({ [name]: outputs[name]! })}`).toBe(
        true,
      );
    }
  }
}

const inputs = () => INPUTS.map((shape, i) => input(`x${i}`, shape, 'float64'));
const normal = (r: Random) =>
  INPUTS.map((shape) =>
    host(
      shape,
      r.fill(sizeOf(shape), (s) => s.normal()),
    ),
  );

test.each(Array.from({ length: 40 }, (_, seed) => seed))(
  'random graph %i and its gradients',
  async (seed) => {
    const r = new Random(seed, 'graph');
    const xs = inputs();
    const grower = new Grower(r, xs);
    grower.grow(25, ['elementwise', 'views', 'reductions', 'products']);
    const last = grower.pool.slice(-6);
    const loss = last.map((t) => g.tanh(t.sum())).reduce(g.add);
    const gradients = grad(loss, xs, { unused: 'zero' });
    const outputs = Object.fromEntries([...last, ...gradients].map((t, i) => [`y${i}`, t]));
    expectSame(outputs, await runBoth(outputs, normal(r)));
  },
);

test.each(Array.from({ length: 10 }, (_, seed) => seed))('NaN goes where it went, graph %i', async (seed) => {
  const r = new Random(seed, 'nan');
  const grower = new Grower(r, inputs());
  grower.grow(20, ['elementwise', 'views', 'reductions', 'products']);
  const outputs = Object.fromEntries(grower.pool.slice(-8).map((t, i) => [`y${i}`, t]));
  const values = normal(r);
  for (const v of values) if (r.int(2)) (v.data as Float64Array)[r.int(v.data.length)] = Number.NaN;
  expectSame(outputs, await runBoth(outputs, values));
});

test.each(Array.from({ length: 10 }, (_, seed) => seed))(
  'infinity goes where it went, graph %i',
  async (seed) => {
    const r = new Random(seed, 'infinity');
    const grower = new Grower(r, inputs());
    grower.grow(20, ['elementwise', 'views']);
    const outputs = Object.fromEntries(grower.pool.slice(-8).map((t, i) => [`y${i}`, t]));
    const values = normal(r);
    for (const v of values) (v.data as Float64Array)[r.int(v.data.length)] = r.int(2) ? Infinity : -Infinity;
    expectSame(outputs, await runBoth(outputs, values));
  },
);
