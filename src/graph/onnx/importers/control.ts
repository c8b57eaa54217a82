import * as ops from '../../ops/index.ts';
import { constant, Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader, Sequence, type Value } from '../reader.ts';

const tensorOf = (n: NodeReader, v: Value | undefined): Tensor =>
  v instanceof Tensor ? v : n.fail('gives something else than a tensor where one is collected');

/** Runs the branch that a known condition chooses. */
function branch(n: NodeReader): Value[] {
  return n.run(n.graph(n.required(0)[0] ? 'then_branch' : 'else_branch'), []);
}

/** More turns than this are taken for a mistake: each of them is a copy of the body. */
const MOST = 10_000;

/** A loop, unrolled: how often it runs must be known when the graph is built. */
function loop(n: NodeReader): Value[] {
  const body = n.graph('body');
  const most = n.operands[0] ? n.required(0)[0]! : Number.POSITIVE_INFINITY;
  let going = n.operands[1] ? n.required(1)[0] !== 0 : true;
  let state = n.operands.slice(2).map((v) => v ?? null);
  const collected: Tensor[][] = [];
  for (let turn = 0; turn < most && going; turn++) {
    if (turn >= MOST) n.fail(`runs more than ${MOST} times`);
    const made = n.run(body, [integers([turn], []), constant(1, 'bool'), ...state]);
    const condition = made[0];
    going = condition instanceof Tensor && known(n, condition) !== 0;
    const kept = state.length;
    state = made.slice(1, 1 + kept);
    made.slice(1 + kept).forEach((v, i) => {
      collected[i] = [...(collected[i] ?? []), tensorOf(n, v)];
    });
  }
  const scans = body.outputs.length - 1 - state.length;
  if (collected.length < scans) n.fail('never runs, so that the shapes of what it collects are not known');
  return [...state, ...collected.map((list) => ops.stack(list, 0))];
}
const known = (n: NodeReader, t: Tensor): number =>
  n.valueOf(t)?.[0] ?? n.fail('goes on by a condition that is not known when the graph is built');

/** A scan over the slices of its inputs, unrolled. */
function scan(n: NodeReader): Value[] {
  // In opset 8 a first operand held lengths, and arrays had a batch axis in front.
  if (n.opset < 9) n.fail('has the form of opset 8, which is not supported');
  const body = n.graph('body');
  const count = n.number('num_scan_inputs', 1);
  const kept = n.operands.length - count;
  let state: Value[] = n.operands.slice(0, kept).map((v) => v ?? null);
  const axes = n.numbers('scan_input_axes') ?? Array<number>(count).fill(0);
  const back = n.numbers('scan_input_directions') ?? Array<number>(count).fill(0);
  const inputs = Array.from({ length: count }, (_, i) => n.x(kept + i));
  const at = inputs.map((x, i) => ops.normalizeAxis(axes[i]!, x.rank));
  const steps = inputs[0]?.shape[at[0]!] ?? 0;
  if (steps === 0) n.fail('has nothing to scan');
  const collected: Tensor[][] = [];
  for (let k = 0; k < steps; k++) {
    const slices = inputs.map((x, i) => {
      const place = back[i] ? steps - 1 - k : k;
      return ops.slice(x, at[i]!, place, place + 1).reshape(x.shape.filter((_, a) => a !== at[i]));
    });
    const made = n.run(body, [...state, ...slices]);
    state = made.slice(0, kept);
    made.slice(kept).forEach((v, i) => {
      collected[i] = [...(collected[i] ?? []), tensorOf(n, v)];
    });
  }
  const order = n.numbers('scan_output_directions') ?? [];
  const to = n.numbers('scan_output_axes') ?? [];
  const scans = collected.map((list, i) => ops.stack(order[i] ? list.toReversed() : list, to[i] ?? 0));
  return [...state, ...scans];
}

/** The place of an element in a sequence, counted from the end where negative. */
function placeIn(n: NodeReader, i: number, length: number, otherwise: number): number {
  const at = n.operands[i] ? n.required(i)[0]! : otherwise;
  const place = at < 0 ? at + length : at;
  return place >= 0 && place <= length ? place : n.fail(`has place ${at} in a sequence of ${length}`);
}

function splitToSequence(n: NodeReader): Sequence {
  const x = n.x();
  const axis = n.axis('axis', 0);
  const length = x.dim(axis);
  const given = n.maybe(1);
  const split = given ? n.required(1) : [1];
  const even = !given || given.rank === 0;
  const size = split[0]!;
  const parts = even
    ? Array.from({ length: Math.ceil(length / size) }, (_, i) => Math.min(size, length - i * size))
    : split;
  const cut = ops.split(x, parts, axis);
  if (given || n.flag('keepdims', true)) return new Sequence(cut);
  return new Sequence(cut.map((t) => t.reshape(t.shape.filter((_, i) => i !== axis))));
}

function sequenceMap(n: NodeReader): Sequence[] {
  const body = n.graph('body');
  const rows = n.sequence(0).map((item, i) => {
    const others = n.operands.slice(1).map((v) => (v instanceof Sequence ? v.items[i] : v) ?? null);
    return n.run(body, [item, ...others]);
  });
  return body.outputs.map((_, o) => new Sequence(rows.map((r) => tensorOf(n, r[o]))));
}

const bool = (value: boolean): Tensor => constant(value ? 1 : 0, 'bool');

/** Control flow with what is known when the graph is built, sequences and optional values. */
export const controls: Record<string, Importer> = {
  If: branch,
  Loop: loop,
  Scan: scan,
  SequenceEmpty: () => new Sequence([]),
  SequenceConstruct: (n) => new Sequence(n.all),
  SequenceAt: (n) =>
    n.sequence()[placeIn(n, 1, n.sequence().length - 1, 0)] ?? n.fail('reads beyond the end'),
  SequenceLength: (n) => integers([n.sequence().length], []),
  SequenceInsert: (n) => {
    const items = n.sequence();
    return new Sequence(items.toSpliced(placeIn(n, 2, items.length, items.length), 0, n.x(1)));
  },
  SequenceErase: (n) => {
    const items = n.sequence();
    return new Sequence(items.toSpliced(placeIn(n, 1, items.length, items.length - 1), 1));
  },
  SplitToSequence: splitToSequence,
  ConcatFromSequence: (n) => {
    const axis = n.number('axis', 0);
    return n.flag('new_axis') ? ops.stack(n.sequence(), axis) : ops.concat(n.sequence(), axis);
  },
  SequenceMap: sequenceMap,
  Optional: (n) => n.operands[0] ?? null,
  OptionalHasElement: (n) => bool((n.operands[0] ?? null) !== null),
  OptionalGetElement: (n) => n.operands[0] ?? n.fail('gets the element of an optional that is empty'),
};
