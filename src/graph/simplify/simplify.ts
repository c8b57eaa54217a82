import { nodesOf } from '../grad.ts';
import type { OpName } from '../rule.ts';
import { constant, type Node, reapply, type Tensor } from '../tensor.ts';
import { arithmeticRewrites } from './arithmetic.ts';
import { evaluate } from './fold.ts';
import { keyOf } from './key.ts';
import { linearRewrites } from './linear.ts';
import { type Context, made, type Rewrite } from './match.ts';
import { shapeRewrites } from './shape.ts';

const tables = [arithmeticRewrites, linearRewrites, shapeRewrites];
const rewritesOf = new Map<OpName, readonly Rewrite<OpName>[]>();
for (const table of tables) {
  for (const [op, list] of Object.entries(table) as [OpName, readonly Rewrite<OpName>[]][]) {
    rewritesOf.set(op, [...(rewritesOf.get(op) ?? []), ...list]);
  }
}

/** More rounds than this find nothing in practice; a bound keeps rules that undo each other from hanging. */
const ROUNDS = 8;

/**
 * The same values by fewer and smaller nodes: constants are folded, equal nodes merged, identities and expansions dropped,
 * scalings and transpositions moved into matrix products. Done when a graph is encoded and not while it is traced, so that
 * `grad` still finds every tensor that it may be asked about; the result is to be run, not to be differentiated.
 *
 * Results may differ in rounding, in the sign of zero, and where an intermediate value leaves the range of its dtype.
 * NaN and infinities are kept: x·0 and x − x stay what they are.
 */
export function simplify<Name extends string>(outputs: Record<Name, Tensor>): Record<Name, Tensor> {
  const names = Object.keys(outputs) as Name[];
  let results = names.map((name) => outputs[name]);
  for (let round = 0; round < ROUNDS; round++) {
    const pass = new Pass(results, round > 0);
    const next = results.map((t) => pass.resolve(t));
    if (!pass.changed && round > 0) break;
    results = next;
  }
  return Object.fromEntries(names.map((name, i) => [name, results[i]!])) as Record<Name, Tensor>;
}

/** One walk over a graph, from inputs to outputs; every node that it makes is simplified before its readers see it. */
class Pass implements Context {
  changed = false;
  /** What became of a tensor; what is final stands for itself. */
  private readonly to = new Map<Tensor, Tensor>();
  /** Final results by op, operands and attributes. */
  private readonly known = new Map<string, readonly Tensor[]>();
  /** The old nodes that read a tensor; undefined for results, and for what rewrites make or merge. */
  private readonly readersOf = new Map<Tensor, Node[] | undefined>();
  private readonly old: ReadonlySet<Node>;

  constructor(
    results: readonly Tensor[],
    /** Where duplicates may still be about, what seems to have one reader may soon have two. */
    private readonly merged: boolean,
  ) {
    const nodes = nodesOf(results);
    for (const node of nodes) {
      for (const t of new Set(node.inputs)) {
        const list = this.readersOf.get(t);
        if (list) list.push(node);
        else this.readersOf.set(t, [node]);
      }
    }
    this.old = new Set(nodes);
    for (const t of results) this.readersOf.set(t, undefined);
    for (const node of nodes) this.visit(node);
  }

  readonly readers = (t: Tensor): readonly Node[] | undefined =>
    this.merged ? this.readersOf.get(t) : undefined;
  readonly single = (t: Tensor): boolean => this.readers(t)?.length === 1;
  readonly became = (operand: Tensor, t: Tensor): boolean => this.to.get(operand) === t;

  resolve(t: Tensor): Tensor {
    if (!this.to.has(t)) this.visit(t.node);
    return this.to.get(t)!;
  }

  private visit(node: Node): void {
    const outputs = this.outputsOf(node);
    for (const [i, t] of node.outputs.entries()) {
      const final = outputs[i]!;
      this.to.set(t, final);
      if (final === t) continue;
      // Several become one: its readers are theirs together.
      const [mine, theirs] = [this.readersOf.get(t), this.readersOf.get(final)];
      if (!this.readersOf.has(final)) this.readersOf.set(final, mine);
      else if (mine && theirs) theirs.push(...mine);
      else this.readersOf.set(final, undefined);
    }
  }

  private outputsOf(node: Node): readonly Tensor[] {
    const inputs = node.inputs.map((t) => this.resolve(t));
    if (node.op === 'stopGradient' || node.op === 'checkpoint' || node.op === 'custom') {
      this.changed = true;
      return inputs;
    }
    const key = keyOf(node, inputs);
    const known = key === undefined ? undefined : this.known.get(key);
    if (known) {
      this.changed = true;
      return known;
    }
    // Old nodes are made anew even where nothing changed: nodes stand in the order of their making.
    const usable =
      node.inputs.length === 0 || (!this.old.has(node) && inputs.every((t, i) => t === node.inputs[i]));
    const outputs = this.rewritten(usable ? node.outputs : reapply(node, inputs));
    if (key !== undefined) this.known.set(key, outputs);
    for (const t of outputs) this.to.set(t, t);
    return outputs;
  }

  private rewritten(outputs: readonly Tensor[]): readonly Tensor[] {
    const { node } = outputs[0]!;
    if (outputs.length > 1) return outputs;
    const simpler = folded(node) ?? this.firstOf(rewritesOf.get(node.op), node);
    if (!simpler) return outputs;
    this.changed = true;
    return [this.resolve(simpler)];
  }

  private firstOf(list: readonly Rewrite<OpName>[] | undefined, node: Node): Tensor | undefined {
    for (const rewrite of list ?? []) {
      const simpler = rewrite(node, node.attrs, this);
      if (simpler) return simpler;
    }
    return undefined;
  }
}

/** Small results of constants are constants. An expanded number stays one, and costs nothing. */
function folded(node: Node): Tensor | undefined {
  if (node.inputs.length === 0 || node.op === 'expand') return undefined;
  const values = node.inputs.map((t) => made(t, 'constant')?.attrs.value);
  if (!values.every((v) => v !== undefined)) return undefined;
  const value = evaluate(node.op, node.attrs, values, node.outputs[0]!);
  return value && constant(value);
}
