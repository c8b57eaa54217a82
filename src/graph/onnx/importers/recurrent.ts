import * as ops from '../../ops/index.ts';
import { constant, type Tensor } from '../../tensor.ts';
import { type Importer, integers, type NodeReader } from '../reader.ts';

type Activation = (x: Tensor) => Tensor;

/** The activations of a recurrent op, in the order of its attribute, each with its own alpha and beta. */
function activationsOf(n: NodeReader, defaults: readonly string[], directions: number): Activation[] {
  const names = n.strings('activations') ?? Array(directions).fill(defaults).flat();
  const [alphas, betas] = [
    [...(n.numbers('activation_alpha') ?? [])],
    [...(n.numbers('activation_beta') ?? [])],
  ];
  const clip = n.number('clip', 0);
  return names.map((name) => {
    const alpha = (otherwise: number) => alphas.shift() ?? otherwise;
    const beta = (otherwise: number) => betas.shift() ?? otherwise;
    const f = ((): Activation => {
      switch (name.toLowerCase()) {
        case 'sigmoid':
          return ops.sigmoid;
        case 'tanh':
          return ops.tanh;
        case 'relu':
          return ops.relu;
        case 'softsign':
          return ops.softsign;
        case 'softplus':
          return ops.softplus;
        case 'affine': {
          const [a, b] = [alpha(1), beta(0)];
          return (x) => x.mul(a).add(b);
        }
        case 'leakyrelu': {
          const a = alpha(0.01);
          return (x) => ops.leakyRelu(x, a);
        }
        case 'thresholdedrelu': {
          const a = alpha(1);
          return (x) => ops.where(ops.less(a, x), x, 0);
        }
        case 'scaledtanh': {
          const [a, b] = [alpha(1), beta(1)];
          return (x) => ops.tanh(x.mul(b)).mul(a);
        }
        case 'hardsigmoid': {
          const [a, b] = [alpha(0.2), beta(0.5)];
          return (x) => ops.clip(x.mul(a).add(b), 0, 1);
        }
        case 'elu': {
          const a = alpha(1);
          return (x) => ops.elu(x, a);
        }
        default:
          return n.fail(`has the activation ${name}, which is not supported`);
      }
    })();
    return clip > 0 ? (x) => f(ops.clip(x, -clip, clip)) : f;
  });
}

/** One direction of one layer: operands without the axis of directions. */
interface Cell {
  readonly hidden: number;
  /** x·Wᵀ + bias of all steps: [steps, batch, gates·hidden]. */
  readonly fromInput: Tensor;
  readonly recurrent: Tensor;
  readonly inputBias: Tensor;
  readonly hiddenBias: Tensor;
  readonly peepholes: Tensor | undefined;
  readonly f: readonly Activation[];
}
/** The next state from the step's x·Wᵀ and the state before; the first part of a state is what the layer gives. */
type Step = (n: NodeReader, cell: Cell, wx: Tensor, state: readonly Tensor[]) => Tensor[];

const part = (x: Tensor, i: number, size: number): Tensor => ops.slice(x, -1, i * size, (i + 1) * size);
/** h·Rᵀ for the gates [from, to) of the recurrent weights. */
const product = (c: Cell, h: Tensor, from: number, to: number): Tensor =>
  ops.matmul(h, ops.slice(c.recurrent, 0, from * c.hidden, to * c.hidden), { transB: true });

const rnn: Step = (_n, c, wx, [h]) => [
  c.f[0]!(
    wx
      .add(product(c, h!, 0, 1))
      .add(c.inputBias)
      .add(c.hiddenBias),
  ),
];

const gru: Step = (n, c, wx, [h]) => {
  const bias = c.inputBias.add(c.hiddenBias);
  const gates = part(wx, 0, 2 * c.hidden)
    .add(product(c, h!, 0, 2))
    .add(part(bias, 0, 2 * c.hidden));
  const update = c.f[0]!(part(gates, 0, c.hidden));
  const reset = c.f[0]!(part(gates, 1, c.hidden));
  const [x, bx, bh] = [wx, c.inputBias, c.hiddenBias].map((t) => part(t, 2, c.hidden)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const inner = n.flag('linear_before_reset')
    ? reset.mul(product(c, h!, 2, 3).add(bh))
    : product(c, reset.mul(h!), 2, 3).add(bh);
  const fresh = c.f[1]!(x.add(bx).add(inner));
  return [ops.sub(1, update).mul(fresh).add(update.mul(h!))];
};

const lstm: Step = (n, c, wx, [h, cell]) => {
  const all = wx
    .add(product(c, h!, 0, 4))
    .add(c.inputBias)
    .add(c.hiddenBias);
  const gate = (i: number) => part(all, i, c.hidden);
  const peep = (i: number, of: Tensor) =>
    c.peepholes ? gate(i).add(of.mul(part(c.peepholes, i, c.hidden))) : gate(i);
  const [f, g, out] = c.f as [Activation, Activation, Activation];
  const input = f(peep(0, cell!));
  // Peepholes are ordered input, output, forget; so are the gates.
  const forget = n.flag('input_forget') ? ops.sub(1, input) : f(peep(2, cell!));
  const next = forget.mul(cell!).add(input.mul(g(gate(3))));
  return [f(peep(1, next)).mul(out(next)), next];
};

const recurrent =
  (step: Step, gates: number, defaults: readonly string[]): Importer =>
  (n) => {
    const byBatch = n.flag('layout');
    const x = byBatch ? n.x().transpose([1, 0, 2]) : n.x();
    const [steps, batch] = x.shape as [number, number];
    const [w, r] = [n.x(1), n.x(2)];
    const [directions, hidden] = [w.dim(0), r.dim(-1)];
    const f = activationsOf(n, defaults, directions);
    const direction = n.choice('direction', 'forward', ['forward', 'reverse', 'bidirectional'] as const);
    const pick = (t: Tensor, d: number) => ops.slice(t, 0, d, d + 1).reshape(t.shape.slice(1));
    const count = defaults.length === 3 ? 2 : 1;
    const lengths = n.maybe(4)?.cast('int64').reshape([1, batch, 1]);
    const time = integers(
      Array.from({ length: steps }, (_, i) => i),
      [steps, 1, 1],
    );
    const alive = lengths && ops.less(time, lengths);

    const run = (d: number): { outputs: Tensor; state: Tensor[] } => {
      const backward = direction === 'reverse' || d === 1;
      const bias = n.maybe(3) ? pick(n.x(3), d) : ops.expand(constant(0, x.dtype), [2 * gates * hidden]);
      const cell: Cell = {
        hidden,
        fromInput: ops.matmul(x, pick(w, d), { transB: true }),
        recurrent: pick(r, d),
        inputBias: part(bias, 0, gates * hidden),
        hiddenBias: part(bias, 1, gates * hidden),
        peepholes: n.maybe(7) && pick(n.x(7), d),
        f: f.slice(d * defaults.length, (d + 1) * defaults.length),
      };
      let state = Array.from({ length: count }, (_, i) => {
        const given = n.maybe(5 + i);
        if (!given) return ops.expand(constant(0, x.dtype), [batch, hidden]);
        return pick(byBatch ? given.transpose([1, 0, 2]) : given, d);
      });
      const outputs: Tensor[] = [];
      for (let k = 0; k < steps; k++) {
        const t = backward ? steps - 1 - k : k;
        const wx = ops.slice(cell.fromInput, 0, t, t + 1).reshape([batch, gates * hidden]);
        const next = step(n, cell, wx, state);
        // Beyond its length a sequence keeps its state and gives zeros.
        const on = alive && ops.slice(alive, 0, t, t + 1).reshape([batch, 1]);
        outputs[t] = on ? ops.where(on, next[0]!, 0) : next[0]!;
        state = on ? next.map((s, i) => ops.where(on, s, state[i]!)) : next;
      }
      return { outputs: ops.stack(outputs, 0), state };
    };
    const runs = Array.from({ length: directions }, (_, d) => run(d));
    const y = ops.stack(
      runs.map((o) => o.outputs),
      1,
    );
    const states = Array.from({ length: count }, (_, i) =>
      ops.stack(
        runs.map((o) => o.state[i]!),
        0,
      ),
    );
    if (!byBatch) return [y, ...states];
    return [y.transpose([2, 0, 1, 3]), ...states.map((s) => s.transpose([1, 0, 2]))];
  };

/** Recurrent layers, unrolled over their static length. */
export const recurrences: Record<string, Importer> = {
  RNN: recurrent(rnn, 1, ['Tanh']),
  GRU: recurrent(gru, 3, ['Sigmoid', 'Tanh']),
  LSTM: recurrent(lstm, 4, ['Sigmoid', 'Tanh', 'Tanh']),
};
