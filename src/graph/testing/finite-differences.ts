import { expect } from 'vitest';
import { compile } from '../../runtime/program.ts';
import { Random } from '../../runtime/random.ts';
import { constant, grad, type HostTensor, input, type Shape, sizeOf, type Tensor } from '../index.ts';

export interface CheckOptions {
  /** float32 where ONNX Runtime has no float64 kernel for the op. */
  dtype?: 'float64' | 'float32';
  /** Values of each input; standard normal by default. */
  values?: (random: Random, inputIndex: number, elementIndex: number) => number;
  /** Also check the gradient of the gradient (default true). */
  second?: boolean;
}

const host = (dtype: 'float64' | 'float32', shape: Shape, data: ArrayLike<number>): HostTensor =>
  dtype === 'float64'
    ? { dtype, shape, data: Float64Array.from(data) }
    : { dtype, shape, data: Float32Array.from(data) };

/**
 * Checks gradients of `f` against central differences, first order and (through a random projection of the first)
 * second order.
 */
export async function checkGradients(
  f: (...xs: Tensor[]) => Tensor,
  shapes: readonly Shape[],
  options: CheckOptions = {},
): Promise<void> {
  const { dtype = 'float64', second = true, values = (r) => r.normal() } = options;
  const random = new Random(11, JSON.stringify(shapes));
  const inputs = shapes.map((shape, i) => input(`x${i}`, shape, dtype));
  const points = shapes.map((shape, i) =>
    Array.from({ length: sizeOf(shape) }, (_, j) => values(random, i, j)),
  );
  const project = (t: Tensor) =>
    t
      .mul(
        constant(
          host(
            dtype,
            t.shape,
            random.fill(t.size, (r) => r.normal()),
          ),
        ),
      )
      .sum();

  const first = project(f(...inputs));
  await compareWithDifferences(first, inputs, points, dtype, 'first order');
  if (!second) return;
  const gradients = grad(first, inputs).filter((g) => g.node.op !== 'constant');
  const combined = gradients.map(project).reduce((a, b) => a.add(b));
  await compareWithDifferences(combined, inputs, points, dtype, 'second order');
}

async function compareWithDifferences(
  loss: Tensor,
  inputs: readonly Tensor[],
  points: readonly (readonly number[])[],
  dtype: 'float64' | 'float32',
  order: string,
): Promise<void> {
  const gradients = grad(loss, inputs, { unused: 'zero' });
  const outputs: Record<string, Tensor> = { loss };
  gradients.forEach((g, i) => {
    outputs[`g${i}`] = g;
  });
  // Every input is kept alive, so that each can be fed.
  inputs.forEach((x, i) => {
    outputs[`x${i}_`] = x.mul(1);
  });
  const program = await compile(outputs);
  const feed = (xs: readonly (readonly number[])[]) =>
    program.run(Object.fromEntries(inputs.map((x, i) => [`x${i}`, host(dtype, x.shape, xs[i]!)])));
  const h = dtype === 'float64' ? 1e-5 : 1e-2;
  const tolerance = dtype === 'float64' ? 1e-6 : 2e-2;
  const analytic = await feed(points);
  for (const [i, xs] of points.entries()) {
    for (let j = 0; j < xs.length; j++) {
      const shifted = (by: number) =>
        points.map((p, k) => (k === i ? p.map((v, l) => (l === j ? v + by : v)) : p));
      const up = Number((await feed(shifted(h))).loss!.data[0]);
      const down = Number((await feed(shifted(-h))).loss!.data[0]);
      const numeric = (up - down) / (2 * h);
      const got = Number(analytic[`g${i}`]!.data[j]);
      const error = Math.abs(got - numeric) / Math.max(1, Math.abs(numeric));
      expect(error, `${order}: d/dx${i}[${j}] is ${got}, differences give ${numeric}`).toBeLessThan(
        tolerance,
      );
    }
  }
  await program.release();
}
