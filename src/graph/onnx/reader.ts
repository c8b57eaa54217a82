import { type HostTensor, i64, toFloat32 } from '../host.ts';
import { constant, type Node, type Tensor } from '../tensor.ts';
import type { OnnxNode } from './decode.ts';

/** A node being imported: its operands and typed attributes, with errors that name it. */
export class NodeReader {
  constructor(
    readonly node: OnnxNode,
    readonly operands: readonly (Tensor | undefined)[],
    readonly opset: number,
    /** Values of small weights, for operands that must be known. */
    private readonly small: ReadonlyMap<string, HostTensor>,
  ) {}

  fail(problem: string): never {
    throw new Error(`importOnnx: ${this.node.type} "${this.node.name || this.node.outputs[0]}" ${problem}`);
  }
  x(i = 0): Tensor {
    return this.operands[i] ?? this.fail(`lacks its input ${i}`);
  }
  int(name: string, otherwise: number): number {
    return (this.node.attrs.get(name) as number | undefined) ?? otherwise;
  }
  ints(name: string): number[] | undefined {
    return this.node.attrs.get(name) as number[] | undefined;
  }
  string(name: string, otherwise: string): string {
    return (this.node.attrs.get(name) as string | undefined) ?? otherwise;
  }
  /** The numbers of an operand that must be known when the graph is built: shapes, axes, bounds. */
  known(i: number): number[] | undefined {
    const t = this.operands[i];
    if (!t) return undefined;
    const weight = this.small.get(this.node.inputs[i]!);
    return (
      hostNumbers(t) ?? (weight && numbersOf(weight)) ?? this.fail(`needs its input ${i} to be constant`)
    );
  }
  /** Numbers that were an attribute in older opsets and are an operand in newer ones. */
  either(name: string, i: number): number[] | undefined {
    return this.ints(name) ?? this.known(i);
  }
}

export const hostOf = (t: Tensor): HostTensor | undefined =>
  t.node.op === 'constant' ? (t.node as Node<'constant'>).attrs.value : undefined;
export const hostNumbers = (t: Tensor): number[] | undefined => {
  const host = hostOf(t);
  return host && numbersOf(host);
};
const numbersOf = (t: HostTensor): number[] =>
  Array.from(t.dtype === 'float16' || t.dtype === 'bfloat16' ? toFloat32(t).data : t.data, Number);

export type Importer = (n: NodeReader) => Tensor | Tensor[];

/** A small integer constant of the same dtype as ONNX would give. */
export const integers = (values: readonly number[], shape: readonly number[]) =>
  constant(i64([...values], shape));

/**
 * Shape arithmetic: where all operands are known integers, the result is known too, so that what exporters compute from
 * shapes is static here.
 */
export function folded(
  operands: readonly Tensor[],
  of: (...xs: number[]) => number,
  dtype: 'int64' | 'bool' = 'int64',
): Tensor | undefined {
  const hosts = operands.map(hostOf);
  if (!hosts.every((h) => h?.dtype === 'int64' || h?.dtype === 'bool')) return undefined;
  const all = operands.map((t) => hostNumbers(t)!);
  const longest = operands.reduce((a, b) => (b.size > a.size || b.rank > a.rank ? b : a));
  if (!operands.every((t) => t.size === 1 || String(t.shape) === String(longest.shape))) return undefined;
  const values = Array.from({ length: longest.size }, (_, i) =>
    of(...all.map((v) => v[v.length === 1 ? 0 : i]!)),
  );
  if (dtype === 'int64') return integers(values, longest.shape);
  return constant({ dtype, shape: longest.shape, data: Uint8Array.from(values) });
}
