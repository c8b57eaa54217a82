import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { compile } from '../../../runtime/program.ts';
import { constant, type HostTensor, importOnnx, input, sizeOf, type Tensor } from '../../index.ts';
import { numbers } from '../../simplify/fold.ts';
import { decodeTensor } from '../decode.ts';

type Span = readonly [offset: number, length: number];
interface PackedCase {
  readonly name: string;
  readonly rtol: number;
  readonly atol: number;
  readonly model: Span;
  readonly sets: readonly { readonly inputs: readonly Span[]; readonly outputs: readonly Span[] }[];
  readonly gradients?: Gradients;
}
/** Of Σ y·cos(0, 1, 2, …) by weight: Σ g·cos(0, 1, 2, …) and ‖g‖. */
type Gradients = Record<string, readonly [projection: number, norm: number]>;
/** A model with inputs and the outputs that it must give. */
export interface NodeCase {
  readonly name: string;
  readonly rtol: number;
  readonly atol: number;
  readonly model: Uint8Array;
  readonly sets: readonly {
    readonly inputs: readonly Uint8Array[];
    readonly outputs: readonly Uint8Array[];
  }[];
  readonly gradients?: Gradients;
}

/** Reads a file that `tools/reference/onnx_cases.py` wrote. */
export function readCases(path: string): NodeCase[] {
  const bytes = gunzipSync(readFileSync(path));
  const length = bytes.readUInt32LE(0);
  const cases = JSON.parse(bytes.toString('utf8', 4, 4 + length)) as PackedCase[];
  const at = ([offset, size]: Span) =>
    new Uint8Array(bytes.subarray(4 + length + offset, 4 + length + offset + size));
  return cases.map((c) => ({
    ...c,
    model: at(c.model),
    sets: c.sets.map((s) => ({ inputs: s.inputs.map(at), outputs: s.outputs.map(at) })),
  }));
}

/** How a case went: what was imported and is wrong, what the import refused, what ONNX Runtime refused. */
export type Outcome =
  | { readonly kind: 'pass' }
  | { readonly kind: 'wrong' | 'unsupported' | 'invalid'; readonly why: string };

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Imports and runs a case. Inputs that must be known when the graph is built are given as constants. */
export async function runCase(c: NodeCase): Promise<Outcome> {
  let model: Awaited<ReturnType<typeof importOnnx>>;
  try {
    model = await importOnnx(c.model);
  } catch (error) {
    return { kind: 'unsupported', why: message(error) };
  }
  for (const { inputs, outputs } of c.sets) {
    const given = inputs.map(decodeTensor);
    const feeds = new Map(model.inputs.map(({ name }, i) => [name, given[i]!]));
    const build = (known: (t: HostTensor) => boolean): Record<string, Tensor> =>
      model.call(
        Object.fromEntries(
          [...feeds].map(([name, t]) => [name, known(t) ? constant(t) : input(name, t.shape, t.dtype)]),
        ),
      );
    let made: Record<string, Tensor> | undefined;
    let refusal = '';
    for (const known of [() => false, (t: HostTensor) => !t.dtype.startsWith('float'), () => true]) {
      try {
        made = build(known);
        break;
      } catch (error) {
        refusal ||= message(error);
        if (!/known when the graph is built/.test(message(error))) break;
        refusal = '';
      }
    }
    if (!made) return { kind: 'unsupported', why: refusal || 'needs what cannot be known' };
    let got: Record<string, HostTensor>;
    try {
      const program = await compile(
        Object.fromEntries(Object.entries(made).map(([k, t], i) => [`${i} ${k}`, t])),
      );
      const needed = [...feeds].filter(([name]) => program.inputs.has(name));
      got = await program.run(Object.fromEntries(needed));
      await program.release();
    } catch (error) {
      return { kind: 'invalid', why: message(error) };
    }
    for (const [i, bytes] of outputs.entries()) {
      const want = decodeTensor(bytes);
      // Sums of float32 are not closer to zero than this.
      const why = difference(got[`${i} ${model.outputs[i]}`]!, want, c.rtol, Math.max(c.atol, 1e-6));
      if (why) return { kind: 'wrong', why: `${model.outputs[i]}: ${why}` };
    }
  }
  return { kind: 'pass' };
}

/** How two arrays differ, if they do. */
export function difference(
  got: HostTensor,
  want: HostTensor,
  rtol: number,
  atol: number,
): string | undefined {
  if (got.dtype !== want.dtype || String(got.shape) !== String(want.shape)) {
    return `${got.dtype}[${got.shape}] for ${want.dtype}[${want.shape}]`;
  }
  const [a, b] = [numbers(got), numbers(want)];
  for (let i = 0; i < sizeOf(want.shape); i++) {
    const [x, y] = [a[i]!, b[i]!];
    if (Object.is(x, y) || Math.abs(x - y) <= atol + rtol * Math.abs(y)) continue;
    if (x === y) continue;
    return `element ${i} is ${x} for ${y}`;
  }
  return undefined;
}
