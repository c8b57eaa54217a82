/** The changes of siamese augmentation (attune/data) as steps feed them: by class, or for each image of a class. */
import { type DsaChanges, dsaTypes } from '../../data/index.ts';
import type { HostTensor, Tensor } from '../../graph/index.ts';
import type { Tree } from '../../nn/index.ts';
import type { Values } from '../../train/index.ts';

/** Types of what a batch feeds. */
export const changeTypes = (size: readonly [number, number], count: number) => ({
  ...dsaTypes(size, count),
});

/** The tensors of a batch that `changeTypes` declared. */
export const changesOf = ({ places, shares, colors }: Tree): DsaChanges<Tensor> => ({
  places: places!,
  shares: shares!,
  colors: colors!,
});

/** The changes of each class in one table. */
export function joinedChanges(changes: readonly DsaChanges<HostTensor>[]): Values {
  const of = (name: keyof DsaChanges<HostTensor>): HostTensor => {
    const parts = changes.map((c) => c[name]);
    const [first] = parts as [HostTensor];
    const data = new (first.data.constructor as new (n: number) => Float32Array)(
      first.data.length * parts.length,
    );
    for (const [i, p] of parts.entries()) data.set(p.data as Float32Array, i * first.data.length);
    return { ...first, shape: [parts.length, ...first.shape.slice(1)], data } as HostTensor;
  };
  return { places: of('places'), shares: of('shares'), colors: of('colors') };
}

/** The change of each class for each of its images. */
export function eachOf({ places, shares, colors }: DsaChanges<Tensor>, images: number): DsaChanges<Tensor> {
  const repeat = (t: Tensor) => {
    const [count, ...rest] = t.shape as [number, ...number[]];
    if (count === 1) return t;
    return t
      .reshape([count, 1, ...rest])
      .expand([count, images, ...rest])
      .reshape([count * images, ...rest]);
  };
  return { places: repeat(places), shares: repeat(shares), colors: repeat(colors) };
}
