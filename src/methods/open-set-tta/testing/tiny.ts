/** Models of random weights on the patches of 8×8. */
import type { Pixels } from '../../../data/index.ts';
import { input } from '../../../graph/index.ts';
import { convNet, mlp } from '../../../models/classifiers/index.ts';
import { batchNorm, trace } from '../../../nn/index.ts';
import { initParams, type Values } from '../../../train/index.ts';
import { patches } from '../../testing/patches.ts';
import type { Network, SourceModel } from '../model.ts';

export const networks = {
  mlp: (s, x, norm) => mlp(s, x, { classes: 3, widths: [16, 16], batchNorm: true }, norm).logits,
  convnet: (s, x, norm) => convNet(s, x, { classes: 3, width: 6, depth: 2, norm: 'batchnorm' }, norm).logits,
  /** Without batch norm: samples do not concern each other. */
  uncoupled: (s, x) => convNet(s, x, { classes: 3, width: 6, depth: 2, norm: 'layernorm' }).logits,
  bare: (s, x) => mlp(s, x, { classes: 3, widths: [16] }).logits,
} satisfies Record<string, Network>;

export async function tinyModel(name: keyof typeof networks, seed = 1): Promise<SourceModel> {
  const network: Network = networks[name];
  const shape = [1, 8, 8] as const;
  const { params } = trace('scratch', (s) => network(s, input('images', [2, ...shape]), batchNorm));
  const weights: Values = await initParams(params, seed);
  return { network, weights, shape, classes: 3, normalisation: { mean: [0.5], std: [0.25] } };
}

export const pictures = (count: number, seed: number, noise = 0.3): readonly Pixels[] =>
  patches(count, seed, noise).images;
