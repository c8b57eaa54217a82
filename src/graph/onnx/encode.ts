import { simplify } from '../simplify/simplify.ts';
import type { Node, Tensor } from '../tensor.ts';
import { byteLength, emitGraph, type ValueType } from './emit.ts';
import { type Device, lower } from './lower.ts';
import { type Memory, memoryOrder, peakMemory } from './memory.ts';
import { type WriteOptions, writeModel } from './write.ts';

export interface EncodeOptions extends WriteOptions {
  /** What will run the model: each device gets the ops that it has good kernels for (default 'cpu'). */
  device?: Device;
  /** Whether to simplify the graph first (default true); not to is for comparing. */
  simplify?: boolean;
}

export interface EncodedModel {
  bytes: Uint8Array;
  /** On a device without int64 (`hasInt64`) they are int32. */
  inputs: readonly ValueType[];
  outputs: readonly ValueType[];
  /** The ONNX nodes in the order of the graph, with the node that each was written for. */
  nodes: { node: Node; type: string; name: string }[];
  /** What a run needs; planned when asked for. */
  memory(): Memory;
}

/** Writes a graph as an ONNX model: `writeModel`. */
export async function encodeOnnx(
  outputs: Record<string, Tensor>,
  options: EncodeOptions = {},
): Promise<EncodedModel> {
  const simple = options.simplify === false ? outputs : simplify(outputs);
  const text = emitGraph(lower(simple, options.device ?? 'cpu'));
  const { sizes } = text;
  const results = new Set(text.called.keys());
  const ordered = memoryOrder(text.nodes, sizes, results);
  const sizeOfOutput = new Map(text.outputs.map((o) => [o.name, byteLength(o)]));
  return {
    bytes: await writeModel({ ...text, nodes: ordered }, text, options),
    inputs: text.inputs,
    outputs: text.outputs,
    nodes: text.nodes.map(({ type, name }, i) => ({ node: text.origins[i]!, type, name })),
    memory: () => ({
      weights: total([...text.initializers.values()]),
      inputs: total(text.inputs),
      outputs: total(text.outputs),
      peak: text.copies.reduce(
        (sum, { to }) => sum + sizeOfOutput.get(to)!,
        peakMemory(ordered, sizes, results),
      ),
    }),
  };
}

const total = (types: readonly Parameters<typeof byteLength>[0][]): number =>
  types.reduce((sum, type) => sum + byteLength(type), 0);
