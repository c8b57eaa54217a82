import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { concat, constant, type HostTensor, i64, input, type Tensor, toFloat32 } from '../../graph/index.ts';
import { type LanguageWeights, readLanguageModel } from '../../hub/language.ts';
import { readSafetensors } from '../../hub/safetensors.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { CausalModel, KeyValue } from '../language/index.ts';

/** A folder that tools/reference/language.py wrote, and the golden values beside it. */
export async function variant(family: string, name: string) {
  const folder = fileURLToPath(new URL(`../${family}/testdata/${name}`, import.meta.url));
  const loaded = await readLanguageModel(folder);
  const golden = await readSafetensors(`${folder}/golden.safetensors`);
  return { ...loaded, golden: (key: string) => golden.get(key)!.load(), names: golden.names() };
}
export type Variant = Awaited<ReturnType<typeof variant>>;

/**
 * Traces `build` on the golden values of `inputs`, runs it, and compares each output that is not padding with the golden
 * value of its name.
 */
export async function expectGolden(
  { weights, golden }: Pick<LanguageWeights, 'weights'> & Pick<Variant, 'golden'>,
  inputs: readonly string[],
  build: (s: Scope, feeds: Record<string, Tensor>) => Record<string, Tensor>,
): Promise<string[]> {
  const values = Object.fromEntries(
    await Promise.all(inputs.map(async (k) => [k, await golden(k)] as const)),
  );
  const symbols = Object.fromEntries(
    Object.entries(values).map(([k, { shape, dtype }]) => [k, input(k, shape, dtype)]),
  );
  const { result } = trace(weights, (s) => build(s, symbols));
  const out = await runOnce(result, values);
  for (const [name, got] of Object.entries(out)) {
    expect(difference(got, await golden(name)), name).toBeLessThan(1e-4);
  }
  return Object.keys(out);
}

/** Largest difference, relative to the largest golden value where that is above 1. */
export function difference(got: HostTensor, golden: HostTensor): number {
  expect(got.shape).toEqual(golden.shape);
  const want = toFloat32(golden).data;
  const scale = want.reduce((largest, x) => Math.max(largest, Math.abs(x)), 1);
  return want.reduce((worst, x, i) => Math.max(worst, Math.abs(Number(got.data[i]) - x)), 0) / scale;
}

/** x [B, T, …] with 0 where the last T entries of the mask [B, P + T] say padding, as in the golden files. */
export function shown(x: Tensor, mask: Tensor): Tensor {
  const own = mask.slice(1, mask.dim(1) - x.dim(1)).cast('float32');
  return x.mul(own.reshape([...own.shape, 1]));
}

/** All states and logits of a decoder: padded on either side, with soft tokens, behind a prefix. */
export function decoderStates(
  s: Scope,
  model: CausalModel,
  feeds: Record<string, Tensor>,
): Record<string, Tensor> {
  const named = (prefix: string, mask: Tensor, inputs: Parameters<CausalModel['decode']>[1]) => {
    const { hiddenStates, last } = model.decode(s, { ...inputs, mask });
    const states = Object.fromEntries(hiddenStates.slice(0, -1).map((h, i) => [`hidden.${i}`, h]));
    return Object.entries({ ...states, last, logits: model.logits(s, last) }).map(
      ([name, x]) => [`${prefix}.${name}`, shown(x, mask)] as const,
    );
  };
  const get = (name: string) => feeds[name]!;
  const [ids, mask] = [get('left.ids'), get('left.mask')];
  const [batch, width] = [ids.dim(0), model.width];
  const soft = get('soft').expand([batch, get('soft').dim(0), width]);
  const past: KeyValue[] = Array.from({ length: model.layers }, (_, i) => ({
    key: get(`key.${i}`),
    value: get(`value.${i}`),
  }));
  // Ones before the mask, for positions that are always there.
  const after = (n: number) => concat([mask.slice(1, mask.dim(1) - 1).expand([batch, n]), mask], 1);
  return Object.fromEntries([
    ...named('right', get('right.mask'), { tokens: get('right.ids') }),
    ...named('left', mask, { tokens: ids, positions: get('left.positions') }),
    ...named('soft', after(soft.dim(1)), { tokens: concat([soft, model.embed(s, ids)], 1) }),
    ...named('past', after(past[0]!.key.dim(2)), { tokens: ids, past }),
  ]);
}

/** The golden values that `decoderStates` reads. */
export const decoderInputs = (layers: number): string[] => [
  ...['right.ids', 'right.mask', 'left.ids', 'left.mask', 'left.positions', 'soft'],
  ...Array.from({ length: layers }, (_, i) => [`key.${i}`, `value.${i}`]).flat(),
];

/** Each pattern of taps matches as often as it should: those of `layer` once in every layer. */
export function expectTaps(
  { weights, model }: Pick<LanguageWeights, 'weights' | 'model'>,
  once: Record<string, number>,
  layer: readonly string[],
): void {
  const counts: Record<string, number> = {};
  const wanted = { ...once, ...Object.fromEntries(layer.map((pattern) => [pattern, model.layers])) };
  const tap = Object.fromEntries(
    Object.keys(wanted).map((pattern) => [
      pattern,
      (x: Tensor) => {
        counts[pattern] = (counts[pattern] ?? 0) + 1;
        return x;
      },
    ]),
  );
  const ids = constant(i64([1, 2], [1, 2]));
  trace(weights, (s) => model.decode(s.intercept({ tap }), { tokens: ids }));
  expect(counts).toEqual(wanted);
}
