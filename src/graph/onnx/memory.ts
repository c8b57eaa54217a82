/** What a run of a model needs, in bytes. */
export interface Memory {
  /** Frozen weights and constants as they are stored; ONNX Runtime may keep them in another layout or dtype. */
  readonly weights: number;
  readonly inputs: number;
  readonly outputs: number;
  /**
   * The most that computed values, outputs among them, take at one time, in the order in which ONNX Runtime runs the
   * nodes. Scratch space inside an operator is not counted, fusion may save more; the measured peak of a test is within a
   * third. In Node, results are copied once more when they become JavaScript arrays.
   */
  readonly peak: number;
}

export interface PlannedNode {
  readonly type: string;
  readonly ins: readonly string[];
  readonly outs: readonly string[];
}

/** Nodes whose result is their first input seen otherwise. */
const views = new Set(['Identity', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten']);
/** Nodes that ONNX Runtime lets write over an input that nobody else reads. */
const inPlace = new Set(
  'Abs Add Cast Ceil Clip Cos Div Elu Erf Exp Floor HardSigmoid Log Max Min Mul Neg Pow Reciprocal Relu Round Sigmoid Sin Softmax Softplus Sqrt Sub Sum Tanh'.split(
    ' ',
  ),
);

/**
 * The order in which ONNX Runtime runs nodes: a walk from the last node that nothing reads to what it needs, the latest
 * first (`Graph::ReverseDFSFrom`), then from the node before it.
 */
export function executionOrder<N extends PlannedNode>(nodes: readonly N[]): N[] {
  const maker = new Map(nodes.flatMap((n, i) => n.outs.map((name) => [name, i] as const)));
  const read = new Set(nodes.flatMap((n) => n.ins));
  const stack: { at: number; leave: boolean }[] = [];
  nodes.forEach((n, at) => {
    if (!n.outs.some((name) => read.has(name))) stack.push({ at, leave: false });
  });
  const seen = new Set<number>();
  const order: N[] = [];
  for (let entry = stack.pop(); entry; entry = stack.pop()) {
    const { at, leave } = entry;
    if (leave) order.push(nodes[at]!);
    if (leave || seen.has(at)) continue;
    seen.add(at);
    stack.push({ at, leave: true });
    const makers = new Set(nodes[at]!.ins.map((name) => maker.get(name)).filter((i) => i !== undefined));
    for (const i of [...makers].sort((a, b) => a - b)) stack.push({ at: i, leave: false });
  }
  return order;
}

/**
 * The nodes, which come in an order of dependence, so that ONNX Runtime runs them with little memory. It begins with the last
 * node that nothing reads, and runs what that needs; then the one before. So the results with the shortest way to them come
 * last: the gradient of a last layer is finished, and frees what it was made of, before the next layer's begins. A loss
 * comes last too, unless it is one of many losses: then all that their gradients need would be kept until it is known.
 */
export function memoryOrder<N extends PlannedNode>(
  nodes: readonly N[],
  sizes: ReadonlyMap<string, number>,
  outputs: ReadonlySet<string>,
): N[] {
  const read = new Set(nodes.flatMap((n) => n.ins));
  const depths = new Map<string, number>();
  const depthOf = (n: N) => n.ins.reduce((most, name) => Math.max(most, depths.get(name) ?? 0), 0) + 1;
  for (const n of nodes) for (const name of n.outs) depths.set(name, depthOf(n));
  const isResult = (n: N) => !n.outs.some((name) => read.has(name));
  const isScalar = (n: N) => n.outs.every((name) => (sizes.get(name) ?? 0) <= 8);
  const inner = nodes.filter((n) => !isResult(n));
  const results = nodes.filter(isResult).sort((a, b) => depthOf(b) - depthOf(a));
  const [scalars, others] = [results.filter(isScalar), results.filter((n) => !isScalar(n))];
  const orders = [[...inner, ...others, ...scalars]];
  if (scalars.length > 0 && others.length > 0) orders.push([...inner, ...scalars, ...others]);
  const peaks = orders.map((order) => peakMemory(order, sizes, outputs));
  return orders[peaks.indexOf(Math.min(...peaks))]!;
}

/** The most bytes that values made by `nodes` take at one time. `sizes` knows the bytes of all of them. */
export function peakMemory(
  nodes: readonly PlannedNode[],
  sizes: ReadonlyMap<string, number>,
  outputs: ReadonlySet<string>,
): number {
  const order = executionOrder(nodes);
  /** The buffer that a value lies in, by the name of the value it was made for. */
  const buffers = new Map<string, string>();
  const last = new Map<string, number>();
  const bytes = new Map<string, number>();
  const kept = new Set<string>();
  const reads = new Map<string, number>();
  for (const { ins } of order) for (const name of ins) reads.set(name, (reads.get(name) ?? 0) + 1);
  /** Reads that are to come of the values in a buffer. */
  const left = (buffer: string) => last.get(buffer)!;
  let [live, peak] = [0, 0];
  for (const { type, ins, outs } of order) {
    const own = new Map<string, number>();
    for (const name of ins) {
      const buffer = buffers.get(name);
      if (buffer !== undefined) own.set(buffer, (own.get(buffer) ?? 0) + 1);
    }
    outs.forEach((name, i) => {
      const size = sizes.get(name) ?? 0;
      const result = outputs.has(name);
      let shared: string | undefined;
      if (i === 0 && views.has(type)) shared = buffers.get(ins[0]!);
      else if (i === 0 && inPlace.has(type)) {
        shared = [...own].find(([b, uses]) => left(b) === uses && bytes.get(b) === size && !kept.has(b))?.[0];
      }
      // Two results never share an array.
      if (result && shared !== undefined && kept.has(shared)) shared = undefined;
      const buffer = shared ?? name;
      if (shared === undefined) {
        bytes.set(name, size);
        last.set(name, 0);
        live += size;
      }
      buffers.set(name, buffer);
      last.set(buffer, left(buffer) + (reads.get(name) ?? 0));
      if (result) kept.add(buffer);
    });
    peak = Math.max(peak, live);
    for (const [buffer, uses] of own) last.set(buffer, left(buffer) - uses);
    for (const buffer of new Set([...own.keys(), ...outs.map((name) => buffers.get(name)!)])) {
      if (left(buffer) > 0 || kept.has(buffer) || !bytes.has(buffer)) continue;
      live -= bytes.get(buffer)!;
      bytes.delete(buffer);
    }
  }
  return peak;
}
