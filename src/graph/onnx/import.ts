import { hostValue } from '../evaluate.ts';
import { type DType, type HostTensor, sizeOf, type Weight, type WeightSource } from '../host.ts';
import { isFloat, sameShape, show } from '../ops/common.ts';
import { constant, Tensor, weight } from '../tensor.ts';
import {
  decodeOnnx,
  type External,
  type Initializer,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxInput,
  type OnnxModel,
  type OnnxNode,
  type OnnxValue,
} from './decode.ts';
import { openModel } from './files.ts';
import { importerOf, whyNot } from './importers/index.ts';
import { NodeReader, type Value } from './reader.ts';

/** A model read from ONNX: a function of its inputs and its weights. */
export interface ImportedModel {
  /** Inputs to be given; a symbolic length is a string, and becomes that of the tensor given. */
  readonly inputs: readonly { name: string; dtype: DType; shape: readonly (number | string)[] }[];
  readonly outputs: readonly string[];
  /** The initializers that a method may want to train or wrap: floating-point arrays, by name. */
  readonly weights: WeightSource;
  /**
   * Builds the graph for given inputs. An input that decides shapes, such as a target shape or a switch between
   * branches, must be a `constant`. Weights come from `weightOf`, by default frozen; a scope's
   * `(name, shape) => s.weight(name, shape)` lets interceptors and training reach them. What it gives may be of
   * another floating-point dtype than the model's.
   */
  call(
    inputs: Record<string, Tensor>,
    weightOf?: (name: string, shape: readonly number[]) => Tensor,
  ): Record<string, Tensor>;
}

export interface ImportOptions {
  /** Reads bytes of weights that lie beside a model given as bytes. */
  read?: External['read'];
}

/**
 * Reads an ONNX model (opset 11 to 21, newer ones where the ops are the same, and com.microsoft's of exported
 * transformers) as a differentiable function: from its bytes, its path (Node) or its address (browsers). Given a
 * path, large weights stay in their files, which ONNX Runtime maps. Ops that are not supported are named in one
 * error.
 */
export async function importOnnx(
  model: Uint8Array | string,
  options: ImportOptions = {},
): Promise<ImportedModel> {
  const { bytes, external } =
    typeof model === 'string'
      ? await openModel(model)
      : { bytes: model, external: options.read && { read: options.read } };
  const decoded = decodeOnnx(bytes, external);
  refuseUnsupported(decoded);
  const inputs = decoded.graph.inputs.map((i) => {
    if (i.dtype) return { name: i.name, dtype: i.dtype, shape: i.shape };
    throw new Error(`importOnnx: input "${i.name}" is ${i.kind}, which is not supported`);
  });

  const trainable = new Map<string, Initializer>();
  const values = new Map<Initializer, HostTensor>();
  for (const i of initializersOf(decoded.graph)) {
    if (isTrainable(i)) trainable.set(i.name, i);
    // Shapes, axes and scalars are part of the graph; so are factors of a resize, which are weights by their form.
    if (sizeOf(i.shape) <= (isTrainable(i) ? SHORT : LONG)) values.set(i, i.value?.() ?? (await i.load()));
  }
  return {
    inputs,
    outputs: decoded.graph.outputs,
    weights: {
      label: typeof model === 'string' ? model : 'the ONNX model',
      names: () => [...trainable.keys()],
      get: (name) => trainable.get(name),
    },
    call(given, weightOf = (name) => weight(trainable.get(name)!)) {
      checkInputs(inputs, given);
      const build = new Build(decoded, values, (w) => {
        const t = weightOf(w.name, w.shape);
        if (isFloat(t) && sameShape(t.shape, w.shape)) return t.cast(w.dtype);
        throw new Error(`importOnnx: weightOf gives ${show(t)} for "${w.name}", which must be ${show(w)}`);
      });
      const made = build.graph(
        decoded.graph,
        inputs.map(({ name }) => given[name]!),
      );
      return Object.fromEntries(
        decoded.graph.outputs.map((name, i) => {
          const value = made[i];
          if (value instanceof Tensor) return [name, value];
          throw new Error(`importOnnx: output "${name}" is a sequence or empty, which is not supported`);
        }),
      );
    },
  };
}
const SHORT = 64;
const LONG = 4096;

const isTrainable = (w: Weight): boolean => w.dtype.startsWith('float') && w.shape.length > 0;

/** All initializers, also of branches and bodies. */
function initializersOf(graph: OnnxGraph): Initializer[] {
  const inner = graph.nodes.flatMap((n) => [...n.attrs.values()].filter(isGraph));
  return [...graph.initializers.values(), ...inner.flatMap(initializersOf)];
}
const isGraph = (v: OnnxValue): v is OnnxGraph => typeof v === 'object' && 'nodes' in v;

/** Branches may never be taken: what is in them is refused when they are. */
function refuseUnsupported({ graph, functions }: OnnxModel): void {
  const problems = new Set<string>();
  const visit = (nodes: readonly OnnxNode[]) => {
    for (const n of nodes) {
      if (n.type === 'QuantizeLinear' && graph.initializers.get(n.inputs[2] ?? '')?.fourBits) {
        problems.add('QuantizeLinear (to four-bit integers)');
      }
      if (functions.has(`${n.domain}:${n.type}`) || importerOf(n)) continue;
      const [name, reason] = [n.domain ? `${n.domain}.${n.type}` : n.type, whyNot(n)];
      problems.add(reason ? `${name} (${reason})` : name);
    }
  };
  visit(graph.nodes);
  for (const f of functions.values()) visit(f.nodes);
  if (problems.size === 0) return;
  throw new Error(
    `importOnnx: the model uses ops that are not supported: ${[...problems].sort().join(', ')}`,
  );
}

function checkInputs(inputs: ImportedModel['inputs'], given: Record<string, Tensor>): void {
  for (const { name, dtype, shape } of inputs) {
    const x = Object.hasOwn(given, name) ? given[name] : undefined;
    if (!x) throw new Error(`importOnnx: input "${name}" ${dtype}[${shape}] is missing`);
    const fits = x.rank === shape.length && shape.every((n, i) => typeof n === 'string' || n === x.shape[i]);
    if (x.dtype !== dtype || !fits) {
      throw new Error(`importOnnx: input "${name}" must be ${dtype}[${shape}], not ${x}`);
    }
  }
  const unknown = Object.keys(given).find((name) => !inputs.some((i) => i.name === name));
  if (unknown !== undefined) {
    throw new Error(`importOnnx: no input "${unknown}"; inputs are ${inputs.map((i) => i.name).join(', ')}`);
  }
}

type Names = Map<string, Value>;
type Lookup = (name: string) => Value | undefined;

/** One building of the graph. */
class Build {
  private readonly weights = new Map<Initializer, Tensor>();

  constructor(
    private readonly model: OnnxModel,
    private readonly values: ReadonlyMap<Initializer, HostTensor>,
    private readonly weightOf: (w: Initializer) => Tensor,
  ) {}

  /** The outputs of a graph; `outer` knows the names around it. */
  graph(graph: OnnxGraph, inputs: readonly Value[], outer: Lookup = () => undefined): Value[] {
    const names: Names = new Map();
    graph.inputs.forEach((i: OnnxInput, at) => {
      const value = inputs[at];
      if (value !== undefined) names.set(i.name, value);
    });
    const lookUp: Lookup = (name) => {
      const known = names.get(name);
      if (known !== undefined) return known;
      const w = graph.initializers.get(name);
      return w ? this.initializer(w) : outer(name);
    };
    this.nodes(graph.nodes, names, lookUp, this.model.opsets, graph);
    return graph.outputs.map((name) => required(lookUp, name));
  }

  private initializer(w: Initializer): Tensor {
    let t = this.weights.get(w);
    if (!t) {
      const value = this.values.get(w);
      t = isTrainable(w) ? this.weightOf(w) : value ? constant(value) : weight(w);
      this.weights.set(w, t);
    }
    return t;
  }

  private nodes(
    nodes: readonly OnnxNode[],
    names: Names,
    lookUp: Lookup,
    opsets: ReadonlyMap<string, number>,
    graph?: OnnxGraph,
  ): void {
    const open = new Set(nodes);
    // Some tools append nodes that earlier ones read: what a name lacks is computed first.
    const find: Lookup = (name) => {
      const known = lookUp(name);
      if (known !== undefined) return known;
      const maker = open.size > 0 ? nodes.find((n) => open.has(n) && n.outputs.includes(name)) : undefined;
      if (maker) make(maker);
      return lookUp(name);
    };
    const make = (node: OnnxNode): void => {
      open.delete(node);
      const operands = node.inputs.map((name) => (name ? required(find, name) : undefined));
      const local = this.model.functions.get(`${node.domain}:${node.type}`);
      let made: readonly (Value | undefined)[];
      if (local) made = this.call(local, node, operands);
      else {
        const reader = new NodeReader(node, operands, around);
        const importer = importerOf(node) ?? reader.fail(whyNot(node) ?? 'is not supported');
        made = [importer(reader)].flat();
      }
      node.outputs.forEach((name, i) => {
        const value = made[i];
        if (name && value !== undefined) names.set(name, value instanceof Tensor ? folded(value) : value);
      });
    };
    const around = {
      opset: opsets.get('') ?? 1,
      weightValue: (name: string) => {
        const w = graph?.initializers.get(name);
        return w && this.values.get(w);
      },
      run: (inner: OnnxGraph, inputs: readonly Value[]) => this.graph(inner, inputs, find),
    };
    for (const node of nodes) if (open.has(node)) make(node);
  }

  /** A function that the model brings along. */
  private call(f: OnnxFunction, node: OnnxNode, operands: readonly (Value | undefined)[]): Value[] {
    const names: Names = new Map();
    f.inputs.forEach((name, i) => {
      const value = operands[i];
      if (value !== undefined) names.set(name, value);
    });
    const attrs = new Map([...f.defaults, ...node.attrs]);
    const nodes = f.nodes.map((n) => ({
      ...n,
      attrs: new Map(
        [...n.attrs].flatMap(([name, v]): [string, OnnxValue][] => {
          if (typeof v !== 'object' || !('reference' in v)) return [[name, v]];
          const given = attrs.get(v.reference);
          return given === undefined ? [] : [[name, given]];
        }),
      ),
      // An operand that the caller left out is left out inside.
      inputs: n.inputs.map((name) => (f.inputs.includes(name) && !names.has(name) ? '' : name)),
    }));
    const lookUp: Lookup = (name) => names.get(name);
    this.nodes(nodes, names, lookUp, f.opsets);
    return f.outputs.map((name) => required(lookUp, name));
  }
}

function required(lookUp: Lookup, name: string): Value {
  const value = lookUp(name);
  if (value !== undefined) return value;
  throw new Error(`importOnnx: nothing computes "${name}"`);
}

/** What exporters compute from shapes becomes a constant; large arrays are left to ONNX Runtime. */
function folded(t: Tensor): Tensor {
  if (t.node.op === 'constant' || t.size > SHORT * SHORT) return t;
  if (!t.node.inputs.every((x) => isConstant(x, 8))) return t;
  const value = hostValue(t);
  return value ? constant(value) : t;
}
/** Whether t is made of constants alone, in at most `depth` steps: an importer writes few. */
const isConstant = (t: Tensor, depth: number): boolean =>
  t.node.op === 'constant' ||
  (depth > 0 && t.node.inputs.length > 0 && t.node.inputs.every((x) => isConstant(x, depth - 1)));
