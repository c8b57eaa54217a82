/** Tensors beside each other, in tests. */
import { f32, grad, type HostTensor, print, type Tensor } from '../../graph/index.ts';
import type { ClipModel } from '../../hub/index.ts';
import type { Param } from '../../nn/index.ts';

/** Largest difference relative to the largest value; shapes must be equal. */
export function difference(a: HostTensor, b: HostTensor): number {
  if (String(a.shape) !== String(b.shape)) throw new Error(`[${a.shape}] is compared with [${b.shape}]`);
  const [x, y] = [Array.from(a.data, Number), Array.from(b.data, Number)];
  return Math.max(...x.map((v, i) => Math.abs(v - y[i]!))) / Math.max(...y.map(Math.abs));
}

/** Columns of [N, C] in another order. */
export function columns(t: HostTensor, order: readonly number[]): HostTensor {
  const [n, width] = t.shape as [number, number];
  const data = Array.from({ length: n * order.length }, (_, i) =>
    Number(t.data[Math.floor(i / order.length) * width + order[i % order.length]!]),
  );
  return f32(data, [n, order.length]);
}

/** Lines of the printed gradient of `loss` that make a matrix of the shape of a frozen weight, as its gradient would be. */
export function weightGradients(model: ClipModel, loss: Tensor, params: readonly Param[]): string[] {
  const gradients = grad(
    loss,
    params.map((p) => p.tensor),
  );
  const graph = print({ loss, ...Object.fromEntries(gradients.map((g, i) => [`g${i}`, g])) }).split('\n');
  const own = new Set(params.map((p) => String(p.shape)));
  const { names, get } = model.weights;
  const shapes = names().map((name) => String(get(name)!.shape));
  const frozen = new Set(shapes.filter((shape) => !own.has(shape)));
  return graph.filter((line) => {
    const matrix = / : float32\[(\d+,\d+)\]$/.exec(line)?.[1];
    return matrix !== undefined && frozen.has(matrix) && !line.includes(' = weight(');
  });
}
