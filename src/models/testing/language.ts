import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import {
  concat,
  constant,
  type HostTensor,
  i64,
  input,
  type Tensor,
  toFloat32,
  type WeightSource,
} from '../../graph/index.ts';
import { type LanguageWeights, readLanguageModel } from '../../hub/language.ts';
import { readSafetensors } from '../../hub/safetensors.ts';
import { type Scope, trace } from '../../nn/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { CausalModel, SequenceInputs } from '../language/index.ts';

/** A folder that tools/reference/language.py wrote, and the golden values beside it. */
export async function variant<K extends Kind>(kind: K, family: string, name: string) {
  const folder = fileURLToPath(new URL(`../${family}/testdata/${name}`, import.meta.url));
  const loaded = await readLanguageModel(folder);
  expect(loaded.kind).toBe(kind);
  const golden = await readSafetensors(`${folder}/golden.safetensors`);
  return {
    ...(loaded as Extract<LanguageWeights, { kind: K }>),
    golden: (key: string) => golden.get(key)!.load(),
  };
}
type Kind = LanguageWeights['kind'];
interface Variant {
  readonly weights: WeightSource;
  golden(key: string): Promise<HostTensor>;
}

/**
 * Traces `build` on the golden values of `inputs`, runs it, and compares each output that is not padding with the golden
 * value of its name.
 */
export async function expectGolden(
  { weights, golden }: Variant,
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

type Feeds = Record<string, Tensor>;

/** The golden inputs of one text: padded on the left, with soft tokens before it, behind a prefix. */
export function leftInputs(feeds: Feeds, embed: (ids: Tensor) => Tensor) {
  const get = (name: string) => feeds[name]!;
  const [ids, mask, soft] = [get('left.ids'), get('left.mask'), get('soft')];
  const embedded = embed(ids);
  const layers = Object.keys(feeds).filter((name) => name.startsWith('key.')).length;
  const past = Array.from({ length: layers }, (_, i) => ({ key: get(`key.${i}`), value: get(`value.${i}`) }));
  const batch = ids.dim(0);
  // Ones before the mask, for positions that are always there.
  const behind = (n: number) => concat([mask.slice(1, mask.dim(1) - 1).expand([batch, n]), mask], 1);
  const softTokens = concat([soft.expand([batch, soft.dim(0), embedded.dim(2)]), embedded], 1);
  return {
    left: { tokens: ids, mask },
    soft: { tokens: softTokens, mask: behind(soft.dim(0)) },
    past: { tokens: ids, past, mask: behind(past[0]!.key.dim(2)) },
  };
}

/** What one run gives, under the names of the golden files. */
export function named(prefix: string, mask: Tensor, hidden: readonly Tensor[], rest: Feeds): Feeds {
  const states = Object.fromEntries(hidden.slice(0, -1).map((h, i) => [`hidden.${i}`, h]));
  return Object.fromEntries(
    Object.entries({ ...states, ...rest }).map(([name, x]) => [
      `${prefix}.${name}`,
      x.rank === 3 ? shown(x, mask) : x,
    ]),
  );
}

/** All states and logits of a decoder: padded on either side, with soft tokens, behind a prefix. */
export function decoderStates(s: Scope, model: CausalModel, feeds: Feeds): Feeds {
  const { left, soft, past } = leftInputs(feeds, (ids) => model.embed(s, ids));
  const right = { tokens: feeds['right.ids']!, mask: feeds['right.mask']! };
  const run = (prefix: string, inputs: SequenceInputs & { mask: Tensor }) => {
    const { hiddenStates, last } = model.decode(s, inputs);
    return named(prefix, inputs.mask, hiddenStates, { last, logits: model.logits(s, last) });
  };
  return {
    ...run('right', right),
    ...run('left', { ...left, positions: feeds['left.positions']! }),
    ...run('soft', soft),
    ...run('past', past),
  };
}

/** The golden inputs of a model with so many layers. */
export const goldenInputs = (layers: number, ...rest: string[]): string[] => [
  ...['right.ids', 'right.mask', 'left.ids', 'left.mask', 'soft', ...rest],
  ...Array.from({ length: layers }, (_, i) => [`key.${i}`, `value.${i}`]).flat(),
];

/** Each pattern of taps matches as often as it should: those of `layer` once in every layer. */
export function expectTaps(
  weights: WeightSource,
  layers: number,
  patterns: { readonly once: readonly string[]; readonly layer: readonly string[] },
  run: (s: Scope, ids: Tensor) => unknown,
): void {
  const counts: Record<string, number> = {};
  const wanted = Object.fromEntries([
    ...patterns.once.map((pattern) => [pattern, 1]),
    ...patterns.layer.map((pattern) => [pattern, layers]),
  ]);
  const counted = (pattern: string) => (x: Tensor) => {
    counts[pattern] = (counts[pattern] ?? 0) + 1;
    return x;
  };
  const tap = Object.fromEntries(Object.keys(wanted).map((pattern) => [pattern, counted(pattern)]));
  trace(weights, (s) => run(s.intercept({ tap }), constant(i64([1, 2], [1, 2]))));
  expect(counts).toEqual(wanted);
}

/** The taps at both ends of each of these matrices. */
export const ends = (...paths: string[]): string[] => paths.flatMap((path) => [`${path}:in`, `${path}:out`]);
