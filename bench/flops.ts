import { input, type Node, nodesOf, simplify, sizeOf, type Tensor } from '../src/graph/index.ts';
import { compile } from '../src/runtime/index.ts';
import { noise } from './data.ts';

/** Floating-point operations of the matrix products and convolutions behind `outputs`, two for each multiply-add. */
export function countFlops(outputs: readonly Tensor[]): number {
  const simple = simplify(Object.fromEntries(outputs.map((t, i) => [String(i), t])));
  let total = 0;
  for (const node of nodesOf(Object.values(simple))) {
    const out = node.outputs[0]!;
    const [x, w] = node.inputs;
    if (node.op === 'matmul') {
      total += 2 * out.size * x!.dim((node as Node<'matmul'>).attrs.transA ? -2 : -1);
    } else if (node.op === 'conv') {
      total += 2 * out.size * sizeOf(w!.shape.slice(1));
    }
  }
  return total;
}

/** The machine's matrix-product rate in 10⁹ operations a second: the best of some large products in ONNX Runtime. */
export async function matmulRate(threads: number, size = 2048): Promise<number> {
  const [a, b] = ['a', 'b'].map((name) => input(name, [size, size])) as [Tensor, Tensor];
  const product = a.matmul(b);
  const program = await compile({ sum: product.sum() }, { threads });
  const feeds = { a: noise('a', [size, size]), b: noise('b', [size, size]) };
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    await program.run(feeds);
    best = Math.min(best, performance.now() - start);
  }
  await program.release();
  return countFlops([product]) / best / 1e6;
}
