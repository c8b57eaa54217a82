import { concat, constant, f32, grad, type HostTensor, vmap } from '../../graph/index.ts';
import { compile } from '../../runtime/index.ts';
import type { Values } from '../../train/index.ts';
import { type Network, netFeeds } from './network.ts';

/**
 * K = J Jᵀ, the Gram matrix of the empirical neural tangent kernel on fixed images [N, channels, height, width], for each of
 * these states of a network: J has a row for each image and logit, so that K is [N·C, N·C]. Meant for some dozens of images.
 */
export async function tangentKernels(
  network: Network,
  states: readonly Values[],
  images: HostTensor<'float32'>,
): Promise<HostTensor[]> {
  const net = network.inputs();
  const logits = network.logits(net, constant(images));
  const rows = logits.size;
  const one = f32(
    Float32Array.from({ length: rows * rows }, (_, i) => (i % (rows + 1) === 0 ? 1 : 0)),
    [rows, ...logits.shape],
  );
  const trained = network.params.map((p) => net[p.name]!);
  const jacobian = vmap((seed) =>
    concat(
      grad(logits, trained, { seed }).map((g) => g.reshape([-1])),
      0,
    ),
  )(constant(one));
  const program = await compile({ kernel: jacobian.matmul(jacobian, { transB: true }) });
  const kernels: HostTensor[] = [];
  try {
    for (const values of states) {
      // What only shifts the logits, such as the last bias, is not read.
      const read = Object.entries(netFeeds(values)).filter(([name]) => program.inputs.has(name));
      kernels.push((await program.run(Object.fromEntries(read))).kernel);
    }
  } finally {
    await program.release();
  }
  return kernels;
}

/** [1 − ⟨K, L⟩ / (‖K‖ ‖L‖)] / Δ of kernels Δ steps apart (Lee et al. 2022): how fast the tangent kernel turns. */
export function kernelVelocity(k: HostTensor, l: HostTensor, steps: number): number {
  let [dot, kk, ll] = [0, 0, 0];
  for (let i = 0; i < k.data.length; i++) {
    const [a, b] = [Number(k.data[i]), Number(l.data[i])];
    dot += a * b;
    kk += a * a;
    ll += b * b;
  }
  return (1 - dot / Math.sqrt(kk * ll)) / steps;
}
