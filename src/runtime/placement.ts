import {
  applyAll,
  type Device,
  type EncodedModel,
  encodeOnnx,
  input,
  type Node,
  type Tensor,
} from '../graph/index.ts';
import { worthPrepacking } from './prepacking.ts';
import type { Model, Session } from './session.ts';

/** An ONNX node that runs on the CPU although the program is for another device, with copies there and back. */
export interface OffDevice {
  /** The op that it was written for, e.g. `acosh`; on some devices an op is lowered to others first. */
  readonly op: string;
  /** Its type and name in the ONNX model, e.g. `Acosh` and `Acosh_12`. */
  readonly type: string;
  readonly name: string;
  /** The operands of the op, e.g. `float64[2, 3]`. */
  readonly inputs: readonly string[];
}

type Open = (model: Model, strict: boolean) => Promise<Session>;
interface Placed {
  readonly model: EncodedModel;
  readonly session: Session;
  readonly placement: OffDevice[];
}

/**
 * Opens a model and finds out what left the device; under `strict` that is an error. It is encoded anew where it is opened
 * again, since opening may take the bytes away.
 */
export async function openPlaced(
  encode: () => Promise<EncodedModel>,
  device: Device,
  strict: boolean,
  open: Open,
): Promise<Placed> {
  const model = await encode();
  const host = device === 'cpu' || device === 'wasm';
  try {
    return { model, session: await open(plain(model), !host), placement: [] };
  } catch (error) {
    if (!(error instanceof Error && error.message.includes(REFUSED))) throw error;
    const placement = await offDevice(model, device, open);
    if (strict) throw new Error(`strict: ${describe(device, placement)}`, { cause: error });
    return { model, session: await open(plain(await encode()), false), placement };
  }
}

/** What may travel to a worker. */
const plain = ({ bytes, outputs, nodes }: EncodedModel): Model => ({
  bytes,
  outputs,
  prepack: worthPrepacking(nodes),
});

const REFUSED = 'fallback to CPU EP has been explicitly disabled';

/** What is off the device, in words. */
export function describe(device: Device, placement: readonly OffDevice[]): string {
  if (placement.length === 0)
    return `not all of it would run on ${device}; which nodes could not be found out`;
  const list = placement.map(
    ({ op, type, name, inputs }) => `${op}(${inputs.join(', ')}) as ${type} "${name}"`,
  );
  return `${placement.length} nodes run on the CPU, not on ${device}: ${[...new Set(list)].join('; ')}`;
}

const show = (t: Tensor) => `${t.dtype}[${t.shape.join(', ')}]`;

/**
 * The nodes that ONNX Runtime keeps off the device. None of its JavaScript interfaces tells, but it can be asked to refuse a
 * model that would not be wholly on the device: so each kind of node is asked about in a model of its own, many at once
 * while they pass.
 */
async function offDevice(model: EncodedModel, device: Device, open: Open): Promise<OffDevice[]> {
  const kinds = new Map<string, Node>();
  const kindOf = ({ op, attrs, inputs }: Node) =>
    JSON.stringify([op, attrs, inputs.map((t) => [show(t), t.node.op === 'constant'])]);
  for (const { node } of model.nodes) kinds.set(kindOf(node), node);
  const passes = async (nodes: readonly Node[]): Promise<boolean> => {
    const piece = await encodeOnnx(pieces(nodes), { device });
    const session = await open(plain(piece), true).catch(() => undefined);
    await session?.release();
    return session !== undefined;
  };
  const failing = async (list: readonly string[]): Promise<readonly string[]> => {
    if (list.length === 0 || (await passes(list.map((kind) => kinds.get(kind)!)))) return [];
    if (list.length === 1) return list;
    const half = list.length >> 1;
    return [...(await failing(list.slice(0, half))), ...(await failing(list.slice(half)))];
  };
  const off = new Set(await failing([...kinds.keys()]));
  return model.nodes
    .filter(({ node }) => off.has(kindOf(node)))
    .map(({ node, type, name }) => ({ op: node.op, type, name, inputs: node.inputs.map(show) }));
}

/** Each node by itself, on inputs of its own. */
const pieces = (nodes: readonly Node[]): Record<string, Tensor> =>
  Object.fromEntries(
    nodes.flatMap((node, i) => {
      const inputs = node.inputs.map((t, j) =>
        t.node.op === 'constant' ? t : input(`x${i}.${j}`, t.shape, t.dtype),
      );
      const outputs = applyAll(node.op, inputs, node.attrs);
      return outputs.map((t, j) => [`y${i}.${j}`, t] as const);
    }),
  );
