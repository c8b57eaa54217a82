import { nodesOf } from '../grad.ts';
import {
  bytesPerElement,
  type DType,
  type HostTensor,
  i64,
  type Shape,
  sizeOf,
  type Weight,
} from '../host.ts';
import { rules } from '../ops/index.ts';
import type { Emitter, OnnxAttr } from '../rule.ts';
import { constantKey } from '../simplify/key.ts';
import { constant, type Node, type Tensor } from '../tensor.ts';
import type { PlannedNode } from './memory.ts';

export interface ValueType {
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** An ONNX node before values have their final names. */
export interface NodeText extends PlannedNode {
  readonly name: string;
  readonly domain: string;
  readonly attrs: readonly (readonly [name: string, value: OnnxAttr])[];
}

/** A graph as ONNX nodes, before it is written. */
export interface OnnxText {
  readonly nodes: readonly NodeText[];
  /** What each of them was written for. */
  readonly origins: readonly Node[];
  readonly initializers: ReadonlyMap<string, HostTensor | Weight>;
  readonly inputs: readonly ValueType[];
  readonly outputs: readonly ValueType[];
  /** The caller's names of values that nodes make. */
  readonly called: ReadonlyMap<string, string>;
  /** Outputs that are an input, a weight, or stand a second time. */
  readonly copies: readonly { readonly from: string; readonly to: string }[];
  /** Bytes of the values that nodes make. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** Writes each node of a graph, which is simplified and lowered, in ONNX's ops. */
export function emitGraph(graph: Record<string, Tensor>): OnnxText {
  const results = Object.entries(graph);
  const nodes = nodesOf(results.map(([, t]) => t));
  const read = new Set([...nodes.flatMap((n) => n.inputs), ...results.map(([, t]) => t)]);
  const inputs = new Map<string, ValueType>();
  const initializers = new Map<string, HostTensor | Weight>();
  const initializerNames = new Map<string, string>();
  const names = new Map<Tensor, string>();
  const emitted = new Map<string, string[]>();
  const origins: Node[] = [];
  const body: NodeText[] = [];
  const sizes = new Map<string, number>();
  let current: Node;

  const addInitializer = (key: string, value: HostTensor | Weight): string => {
    let name = initializerNames.get(key);
    if (!name) {
      name = `%c${initializers.size}`;
      initializerNames.set(key, name);
      initializers.set(name, value);
    }
    return name;
  };
  const leaf = (node: Node): string => {
    if (node.op === 'input') {
      const { name, shape, dtype } = (node as Node<'input'>).attrs;
      requireName(name);
      const known = inputs.get(name);
      if (known && (known.dtype !== dtype || String(known.shape) !== String(shape))) {
        throw new Error(`Two inputs are named "${name}" but differ: [${known.shape}] and [${shape}]`);
      }
      inputs.set(name, { name, shape, dtype });
      return name;
    }
    if (node.op === 'constant') return emitter.constant((node as Node<'constant'>).attrs.value);
    const w = (node as Node<'weight'>).attrs.weight;
    return addInitializer(`weight ${w.name} ${w.file ? `${w.file.path}@${w.file.offset}` : node.id}`, w);
  };
  const emitter: Emitter = {
    node(type, ins, attrs = {}, { outputs: n = 1, domain = '' } = {}) {
      // Equal nodes are one node: gradients repeat forward expressions.
      const given = Object.entries(attrs);
      const key = given.reduce(
        (text, [name, value]) => `${text} ${name}=${attributeKey(value)}`,
        `${type}${JSON.stringify(ins)}`,
      );
      const known = emitted.get(key);
      if (known) return known;
      const outs = Array.from({ length: n }, (_, i) => `%${body.length}${i ? `.${i}` : ''}`);
      const name = `${type}_${body.length}`;
      origins.push(current);
      body.push({ type, ins, outs, name, domain, attrs: given });
      emitted.set(key, outs);
      return outs;
    },
    constant: (value) => addInitializer(`constant ${constantKey(value)}`, value),
    ints: (values) => emitter.constant(i64(values)),
    scalar: (value, dtype) => leaf(constant(value, dtype).node),
    leaf,
    used: (t) => read.has(t),
  };

  for (const node of nodes) {
    current = node;
    const first = body.length;
    const emit = rules[node.op].emit(
      emitter,
      node.inputs.map((t) => names.get(t)!),
      node.attrs,
      node,
    );
    const out = typeof emit === 'string' ? [emit] : emit;
    node.outputs.forEach((t, i) => {
      names.set(t, out[i]!);
      sizes.set(out[i]!, byteLength(t));
    });
    // What an op makes on its way is taken to be as large as its result.
    const size = Math.max(...node.outputs.map(byteLength));
    for (const { outs } of body.slice(first)) {
      for (const name of outs) if (!sizes.has(name)) sizes.set(name, size);
    }
  }
  const made = new Set(body.flatMap((n) => n.outs));
  const called = new Map<string, string>();
  const copies: { from: string; to: string }[] = [];
  const outputs: ValueType[] = [];
  for (const [name, t] of results) {
    requireName(name);
    if (inputs.has(name)) {
      throw new Error(`"${name}" names an input and an output; ONNX has one name space: rename the output`);
    }
    const from = names.get(t)!;
    if (made.has(from) && !called.has(from)) called.set(from, name);
    else copies.push({ from, to: name });
    outputs.push({ name, shape: t.shape, dtype: t.dtype });
  }
  return { nodes: body, origins, initializers, inputs: [...inputs.values()], outputs, called, copies, sizes };
}

export const byteLength = ({ dtype, shape }: { dtype: DType; shape: Shape }): number =>
  sizeOf(shape) * bytesPerElement[dtype];

/** Names of our own values begin with a %, as they are printed; so no name of the caller's can be one of them. */
function requireName(name: string): void {
  if (name === '' || name.startsWith('%')) {
    throw new Error(`"${name}" cannot name an input or output: names are not empty and do not begin with %`);
  }
}

/** Text by which equal attributes are known; that of numbers has no sign of zero. */
export function attributeKey(value: OnnxAttr): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return String(value);
  if (!('float' in value)) return `[${value}]`;
  return `float ${Object.is(value.float, -0) ? '-0' : value.float}`;
}
