import type { HostTensor, WeightSource } from '../../graph/index.ts';
import { cast, customGradient, less, mul, type Tensor, type Weight, weight } from '../../graph/index.ts';
import type { ClipConfig } from '../../models/clip/index.ts';
import { constantInit, type Interceptors } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';

/** The score of every weight at first, and the threshold τ above which a weight is kept. */
export const SCORE = 0.01;
export const THRESHOLD = Math.fround(0.005);

export const layerKinds = ['attention', 'mlp', 'all'] as const;
export interface MaskedLayers {
  /** Linear layers of the blocks: AMT, MMT and PMT of the paper. */
  readonly layers: (typeof layerKinds)[number];
  /** The convolution that makes tokens of patches, as the released code does. */
  readonly patches: boolean;
}

/** Names of the vision tower's weights that are masked; biases never are. */
export function maskedWeights({ vision }: ClipConfig, { layers, patches }: MaskedLayers): string[] {
  const attention = ['q_proj', 'k_proj', 'v_proj', 'out_proj'].map((name) => `self_attn.${name}`);
  const mlp = ['mlp.fc1', 'mlp.fc2'];
  const linears = { attention, mlp, all: [...attention, ...mlp] }[layers];
  return [
    ...(patches ? ['vision_model.embeddings.patch_embedding.weight'] : []),
    ...Array.from({ length: vision.layers }, (_, l) =>
      linears.map((name) => `vision_model.encoder.layers.${l}.${name}.weight`),
    ).flat(),
  ];
}

const scoreName = (weightName: string) => `mask.${weightName}`;

/** 1[M > τ] of scores M. */
export const kept = (score: Tensor): Tensor => cast(less(THRESHOLD, score), 'float32');

/** 1[M > τ] ⊙ W; straight through the indicator, dL/dM = dL/dŴ ⊙ W. */
export const masked = (w: Tensor, score: Tensor): Tensor =>
  customGradient(mul(w, kept(score)), [w, score], (g, [w, score], needs) => [
    needs[0] ? mul(g, kept(score!)) : undefined,
    needs[1] ? mul(g, w!) : undefined,
  ]);

/** Puts trained scores `mask.WEIGHT` before these weights. */
export const scoring = (names: readonly string[]): Interceptors => ({
  weight: Object.fromEntries(
    names.map((name) => [
      name,
      (w, match) => masked(w, match.param(scoreName(name), w.shape, constantInit(SCORE))),
    ]),
  ),
});

/** One bit a score, the first in the lowest bit of the first byte: uint8 [⌈n / 8⌉]. */
export function pack({ data }: HostTensor): HostTensor<'uint8'> {
  const bytes = new Uint8Array(Math.ceil(data.length / 8));
  for (let i = 0; i < data.length; i++) {
    if (Number(data[i]) > THRESHOLD) bytes[i >> 3]! |= 1 << (i & 7);
  }
  return { dtype: 'uint8', shape: [bytes.length], data: bytes };
}

/**
 * The weights with the packed masks `mask.WEIGHT` of an adapter folded in: zeros where a bit is not set, in the dtype of the
 * weight. Other tensors of the adapter are left alone. Throws where a mask does not fit its weight.
 */
export function foldMasks(source: WeightSource, tensors: Values): WeightSource {
  const folded = new Map(
    Object.entries(splitMasks(tensors).masks).map(([name, bits]) => {
      const weightName = name.slice(scoreName('').length);
      const w = source.get(weightName);
      if (!w || bits.data.length !== Math.ceil(w.shape.reduce((a, b) => a * b, 1) / 8)) {
        const size = w ? `of [${w.shape}]` : `that ${source.label} has not`;
        throw new Error(`"${name}" has ${bits.data.length} bytes of mask for a weight ${size}`);
      }
      return [weightName, foldedWeight(w, bits.data as Uint8Array)] as const;
    }),
  );
  return {
    label: `${source.label} with masks`,
    names: () => source.names(),
    get: (name) => folded.get(name) ?? source.get(name),
  };
}

const foldedWeight = (w: Weight, bits: Uint8Array): Weight => ({
  name: w.name,
  dtype: w.dtype,
  shape: w.shape,
  async load() {
    const values = await w.load();
    const data = values.data.slice();
    for (let i = 0; i < data.length; i++) if (!((bits[i >> 3]! >> (i & 7)) & 1)) data[i] = 0;
    return { ...values, data } as HostTensor;
  },
});

/** Replaces the weights that have packed masks by those with the masks folded in. */
export function folding(source: WeightSource, masks: Values): Interceptors {
  const folded = foldMasks(source, masks);
  const names = Object.keys(masks).map((name) => name.slice(scoreName('').length));
  return {
    weight: Object.fromEntries(names.map((name) => [name, () => cast(weight(folded.get(name)!), 'float32')])),
  };
}

/** Splits saved tensors into masks and the rest. */
export function splitMasks(tensors: Values): { masks: Values; rest: Values } {
  const entries = Object.entries(tensors);
  const isMask = ([name]: [string, HostTensor]) => name.startsWith(scoreName(''));
  return {
    masks: Object.fromEntries(entries.filter(isMask)),
    rest: Object.fromEntries(entries.filter((e) => !isMask(e))),
  };
}
