import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { compile } from '../../runtime/program.ts';
import { constant, f32, grad, type HostTensor, input, type Tensor } from '../index.ts';

/** What `tools/reference/ops.py` writes: values, gradients and second gradients of a PyTorch function. */
interface Golden {
  /** Infinities are text. */
  inputs: { shape: number[]; data: (number | 'inf' | '-inf')[] }[];
  shape: number[];
  y: number[];
  g: number[][];
  h?: number[][];
}

const number = (v: number | 'inf' | '-inf'): number =>
  typeof v === 'number' ? v : v === 'inf' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;

const project = (ts: readonly Tensor[]): Tensor =>
  ts
    .map((t) =>
      t
        .mul(
          constant(
            f32(
              Float32Array.from({ length: t.size }, (_, i) => Math.cos(i)),
              t.shape,
            ),
          ),
        )
        .sum(),
    )
    .reduce((a, b) => a.add(b));

export function expectClose(
  got: ArrayLike<number | bigint>,
  want: readonly number[],
  what: string,
  tolerance = 1e-4,
): void {
  expect(got.length, what).toBe(want.length);
  const scale = Math.max(1, ...want.map(Math.abs));
  for (const [i, x] of want.entries()) {
    const error = Math.abs(Number(got[i]) - x) / scale;
    expect(error, `${what}[${i}] is ${got[i]}, not ${x}`).toBeLessThan(tolerance);
  }
}

/** One test for each golden case: our function of the same name gives PyTorch's values and gradients. */
export function testGolden(path: URL, functions: Record<string, (...xs: Tensor[]) => Tensor>): void {
  const golden = JSON.parse(readFileSync(path, 'utf8')) as Record<string, Golden>;
  test('every golden case has its function', () => {
    expect(Object.keys(functions).sort()).toEqual(Object.keys(golden).sort());
  });
  test.each(Object.entries(functions))('%s', async (name, f) => {
    const { inputs, shape, y, g, h } = golden[name]!;
    const xs = inputs.map((x, i) => input(`x${i}`, x.shape));
    const out = f(...xs);
    expect(out.shape).toEqual(shape);
    const first = grad(project([out]), xs, { unused: 'zero' });
    const outputs: Record<string, Tensor> = { y: out };
    const list = (label: string, ts: readonly Tensor[]) => {
      ts.forEach((t, i) => {
        outputs[`${label}${i}`] = t;
      });
    };
    list('g', first);
    if (h) list('h', grad(project(first), xs, { unused: 'zero' }));
    const program = await compile(outputs);
    const feeds: Record<string, HostTensor> = {};
    inputs.forEach((x, i) => {
      if (program.inputs.has(`x${i}`)) feeds[`x${i}`] = f32(x.data.map(number), x.shape);
    });
    const got = await program.run(feeds);
    await program.release();
    expectClose(got.y!.data, y, 'y');
    g.forEach((want, i) => {
      expectClose(got[`g${i}`]!.data, want, `gradient ${i}`);
    });
    h?.forEach((want, i) => {
      expectClose(got[`h${i}`]!.data, want, `second gradient ${i}`);
    });
  });
}
