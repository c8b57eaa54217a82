import {
  type DType,
  type HostTensor,
  memoryWeights,
  sizeOf,
  type Weight,
  type WeightSource,
} from '../host.ts';
import { constant, type Tensor, weight } from '../tensor.ts';
import { decodeOnnx, type ReadExternal } from './decode.ts';
import { importers } from './importers.ts';
import { NodeReader } from './reader.ts';

/** A model read from ONNX: a function of its inputs and its weights. */
export interface ImportedModel {
  /** Inputs to be given; a symbolic length is a string, and becomes that of the tensor given. */
  readonly inputs: readonly { name: string; dtype: DType; shape: readonly (number | string)[] }[];
  readonly outputs: readonly string[];
  /** The initializers that a method may want to train or wrap: floating-point arrays, by name. */
  readonly weights: WeightSource;
  /**
   * Builds the graph for given inputs. Weights come from `weightOf`, by default frozen; a scope's
   * `(name, shape) => s.weight(name, shape)` lets interceptors and training reach them.
   */
  call(
    inputs: Record<string, Tensor>,
    weightOf?: (name: string, shape: readonly number[]) => Tensor,
  ): Record<string, Tensor>;
}

export interface ImportOptions {
  /** Reads weights that lie beside the model. */
  read?: ReadExternal;
}

/**
 * Reads an ONNX model (opset 11 to 21 and some of com.microsoft) as a differentiable function. Ops that are not
 * supported are named in one error.
 */
export async function importOnnx(bytes: Uint8Array, options: ImportOptions = {}): Promise<ImportedModel> {
  const { opset, nodes, initializers, inputs, outputs } = decodeOnnx(bytes, options.read);
  const unsupported = new Set(nodes.filter((n) => !importers.has(n.type)).map((n) => n.type));
  if (unsupported.size > 0) {
    throw new Error(
      `importOnnx: the model uses ops that are not supported: ${[...unsupported].sort().join(', ')}`,
    );
  }
  const named: Weight[] = [];
  const constants = new Map<string, Tensor>();
  const small = new Map<string, HostTensor>();
  for (const w of initializers.values()) {
    // Shapes, axes and scalars are part of the graph.
    if (w.dtype.startsWith('float') && w.shape.length > 0) {
      named.push(w);
      // Factors of a resize are floating-point arrays that must be known.
      if (sizeOf(w.shape) <= 8) small.set(w.name, await w.load());
    } else constants.set(w.name, constant(await w.load()));
  }
  const byName = new Map(named.map((w) => [w.name, w]));
  const weights: WeightSource = {
    ...memoryWeights({}, 'the ONNX model'),
    names: () => [...byName.keys()],
    get: (n) => byName.get(n),
  };

  return {
    inputs,
    outputs,
    weights,
    call(given, weightOf = (name) => weight(byName.get(name)!)) {
      const values = new Map(constants);
      for (const { name, dtype, shape } of inputs) {
        const x = given[name];
        if (!x) throw new Error(`importOnnx: input "${name}" ${dtype}[${shape}] is missing`);
        const fits =
          x.rank === shape.length && shape.every((n, i) => typeof n === 'string' || n === x.shape[i]);
        if (x.dtype !== dtype || !fits) {
          throw new Error(`importOnnx: input "${name}" must be ${dtype}[${shape}], not ${x}`);
        }
        values.set(name, x);
      }
      const lookUp = (name: string): Tensor => {
        const known = values.get(name);
        if (known) return known;
        const w = byName.get(name);
        if (!w) throw new Error(`importOnnx: nothing computes "${name}"`);
        const t = weightOf(name, w.shape);
        values.set(name, t);
        return t;
      };
      for (const node of nodes) {
        const operands = node.inputs.map((name) => (name ? lookUp(name) : undefined));
        const made = importers.get(node.type)!(new NodeReader(node, operands, opset, small));
        const list = Array.isArray(made) ? made : [made];
        node.outputs.forEach((name, i) => {
          if (name && list[i]) values.set(name, list[i]);
        });
      }
      return Object.fromEntries(outputs.map((name) => [name, lookUp(name)]));
    },
  };
}
