import { bytesOf, type HostTensor, i64, type Shape, type Weight } from '../host.ts';
import { simplify } from '../simplify/simplify.ts';
import type { Tensor } from '../tensor.ts';
import { attributeKey, emitGraph, type NodeText, type OnnxText, type ValueType } from './emit.ts';
import { lower } from './lower.ts';
import { type ValueInfo, type WriteOptions, writeModel } from './write.ts';

/** A length that is known only when the model runs. */
export type FreeSize =
  /** That of an axis of an input. Graphs of `below` and more are never asked for (default: 256). */
  | { readonly input: string; readonly axis: number; readonly below?: number }
  /** `length` where the free size called `where` is 0, and 0 elsewhere. */
  | { readonly length: number; readonly where: string };

export interface FreeModel {
  readonly bytes: Uint8Array;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

/** ONNX files are protocol buffers, whose limit this is. */
const largest = 2 ** 31 - 1;

/**
 * Writes a graph as an ONNX model whose named sizes are free. Shapes are static where a graph is traced; so `make` traces it
 * several times, for sizes that it is given, and what differs between the traces must be sums of products of at most two of
 * them: shapes, and bounds of slices. These are then computed from the inputs where the model runs.
 *
 * The device is any: nodes are those of ONNX itself, in its dtypes.
 *
 * @throws where the traces differ otherwise: in their ops, or in constants that are no shapes or ranges. A table that is cut to a
 * size is to be a `weight`, which is not cut while it is traced.
 */
export async function encodeFree(
  sizes: Readonly<Record<string, FreeSize>>,
  make: (sizes: Readonly<Record<string, number>>) => Record<string, Tensor>,
  options: WriteOptions = {},
): Promise<FreeModel> {
  const names = Object.keys(sizes);
  const samples = samplesOf(sizes);
  const texts = samples.map((sample) => emitGraph(lower(simplify(make(sample)), 'any')));
  const [first] = texts as [OnnxText];
  /** The sum that gives a number of each trace. */
  const sumOf = (what: string, of: (trace: number) => number): Sum =>
    fitted(
      names,
      samples,
      samples.map((_, t) => of(t)),
      what,
    );

  const computed = new Sums(sizes);
  const initializers = new Map<string, HostTensor | Weight>();
  const merged = new Map<string, string>();
  const node = (n: NodeText, at: number): NodeText => {
    const same = texts.map((t) => t.nodes[at]);
    const where = `node ${at} (${n.type}) of the graph`;
    if (
      same.some((m) => !m || m.type !== n.type || m.ins.length !== n.ins.length || textOf(m) !== textOf(n))
    ) {
      throw new Error(`encodeFree: ${where} depends on the sizes: ${[...new Set(same.map((m) => m?.type))]}`);
    }
    const ins = n.ins.map((name, i) =>
      operand(
        same.map((m) => m!.ins[i]!),
        `operand ${i} of ${where}`,
        name,
      ),
    );
    return { ...n, ins };
  };
  /** What a node reads: a value, which has one name in all traces, or an initializer. */
  function operand(own: readonly string[], what: string, name: string): string {
    const values = own.map((n, t) => texts[t]!.initializers.get(n));
    if (values.every((v) => v === undefined)) {
      if (own.some((n) => n !== name)) throw new Error(`encodeFree: ${what} depends on the sizes: ${own}`);
      return name;
    }
    const key = own.join(' ');
    const known = merged.get(key);
    if (known) return known;
    const made = initializer(values as (HostTensor | Weight)[], what, name);
    merged.set(key, made);
    return made;
  }
  function initializer(values: readonly (HostTensor | Weight)[], what: string, name: string): string {
    const constants = values.filter((v): v is HostTensor => 'data' in v);
    if (constants.length < values.length || constants.every((c) => sameConstant(c, constants[0]!))) {
      const unique = `${name}.${initializers.size}`;
      initializers.set(unique, values[0]!);
      return unique;
    }
    const seen = [...new Set(constants.map(({ dtype, shape }) => `${dtype}[${shape}]`))].join(', ');
    const rank = constants[0]!.shape.length;
    if (constants.some(({ dtype, shape }) => dtype !== 'int64' || shape.length !== rank)) {
      throw new Error(`encodeFree: ${what} is a constant that depends on the sizes: ${seen}`);
    }
    const numbers = constants.map(({ data }) => Array.from(data, Number));
    const shape = constants[0]!.shape.map((_, axis) => sumOf(what, (t) => constants[t]!.shape[axis]!));
    if (constants.every((c) => String(c.shape) === String(constants[0]!.shape))) {
      const all = numbers[0]!.map((_, i) => sumOf(what, (t) => numbers[t]![i]!));
      return computed.vector(all, shape);
    }
    const step = numbers[0]![1]! - numbers[0]![0]!;
    if (numbers.some((list) => list.some((n, i) => n !== list[0]! + i * step))) {
      throw new Error(`encodeFree: ${what} is a constant that depends on the sizes, and no range: ${seen}`);
    }
    const start = sumOf(what, (t) => numbers[t]![0]!);
    const end = sumOf(what, (t) => numbers[t]![0]! + numbers[t]!.length * step);
    return computed.range(start, end, step, shape);
  }

  const nodes = first.nodes.map(node);
  if (texts.some((t) => t.nodes.length !== nodes.length)) {
    throw new Error(
      `encodeFree: the number of nodes depends on the sizes: ${texts.map((t) => t.nodes.length)}`,
    );
  }
  const infos = (kind: 'inputs' | 'outputs'): ValueInfo[] =>
    first[kind].map((value: ValueType) => {
      const shapes: Shape[] = texts.map((t) => t[kind].find(({ name }) => name === value.name)!.shape);
      const shape = value.shape.map((_, axis) =>
        nameOf(sumOf(`axis ${axis} of ${value.name}`, (t) => shapes[t]![axis]!)),
      );
      return { ...value, shape };
    });
  const [inputs, outputs] = [infos('inputs'), infos('outputs')];
  const copies = first.copies.map(({ from, to }, i) => {
    const own = texts.map((t) => t.copies[i]!.from);
    return { from: operand(own, `output ${to}`, from), to };
  });
  for (const [name, value] of computed.initializers) initializers.set(name, value);
  const bytes = await writeModel(
    { nodes: [...computed.nodes, ...nodes], initializers, called: first.called, copies },
    { inputs, outputs },
    options,
  );
  if (bytes.length > largest) {
    throw new Error(`The model would have ${bytes.length} bytes; an ONNX file holds at most ${largest}`);
  }
  return { bytes, inputs, outputs };
}

const sameConstant = (a: HostTensor, b: HostTensor): boolean => {
  const [x, y] = [bytesOf(a), bytesOf(b)];
  return a.dtype === b.dtype && String(a.shape) === String(b.shape) && x.every((byte, i) => byte === y[i]);
};

const textOf = ({ domain, outs, attrs }: NodeText): string =>
  `${domain} ${outs} ${attrs.map(([name, value]) => `${name}=${attributeKey(value)}`)}`;

/** A sum of products of sizes, by its factors, which are joined by a space: '' is what stands alone. */
type Sum = ReadonlyMap<string, number>;

/**
 * Three samples of each size: primes, which no length of a model is likely to be, later sizes larger than earlier ones; where
 * there is room, large enough that no table of two sizes is folded while it is traced.
 */
function threeOf(sizes: Readonly<Record<string, FreeSize>>): Record<string, readonly number[]> {
  const isPrime = (n: number) => Array.from({ length: n - 2 }, (_, i) => i + 2).every((d) => n % d);
  const all = Array.from({ length: 254 }, (_, i) => i + 2).filter(isPrime);
  let free = all.filter((n) => n > 36);
  const three: Record<string, readonly number[]> = {};
  for (const [name, size] of Object.entries(sizes)) {
    const { below = 256 } = 'input' in size ? size : {};
    const own = free.filter((n) => n < below).slice(0, 3);
    three[name] = own.length === 3 ? own : all.filter((n) => n < below).slice(-3);
    if (three[name].length < 3)
      throw new Error(`encodeFree: size ${name} is below ${below}; it must be above 5`);
    free = free.filter((n) => n > (own.at(-1) ?? 0));
  }
  return three;
}

/** One sample, then each size changed alone, each pair of sizes, and all of them once more as a check. */
function samplesOf(sizes: Readonly<Record<string, FreeSize>>): Record<string, number>[] {
  const names = Object.keys(sizes);
  const three = threeOf(sizes);
  const sample = (changed: readonly string[], to = 1) =>
    Object.fromEntries(names.map((name) => [name, three[name]![changed.includes(name) ? to : 0]!]));
  const pairs = names.flatMap((a, i) => names.slice(i + 1).map((b) => [a, b]));
  return [
    sample([]),
    ...names.map((n) => sample([n])),
    ...pairs.map((pair) => sample(pair)),
    sample(names, 2),
  ];
}

/** The sum that gives `values` at the samples. */
function fitted(
  names: readonly string[],
  samples: readonly Readonly<Record<string, number>>[],
  values: readonly number[],
  what: string,
): Sum {
  const base = samples[0]!;
  const step = names.map((name, i) => samples[1 + i]![name]! - base[name]!);
  const slopes = names.map((_, i) => (values[1 + i]! - values[0]!) / step[i]!);
  const sum = new Map<string, number>();
  const own = [...slopes];
  let at = 1 + names.length;
  for (let a = 0; a < names.length; a++) {
    for (let b = a + 1; b < names.length; b++, at++) {
      const joint =
        (values[at]! - values[0]! - slopes[a]! * step[a]! - slopes[b]! * step[b]!) / (step[a]! * step[b]!);
      sum.set(`${names[a]} ${names[b]}`, joint);
      own[a]! -= joint * base[names[b]!]!;
      own[b]! -= joint * base[names[a]!]!;
    }
  }
  names.forEach((name, i) => {
    sum.set(name, own[i]!);
  });
  sum.set('', values[0]! - total(sum, base));
  for (const [term, factor] of sum) if (factor === 0) sum.delete(term);
  const wrong = samples.findIndex((sample, i) => total(sum, sample) !== values[i]);
  if (wrong >= 0 || ![...sum.values()].every(Number.isInteger)) {
    const sample = JSON.stringify(samples[Math.max(wrong, 0)]);
    throw new Error(
      `encodeFree: ${what} is ${values[Math.max(wrong, 0)]} at ${sample}, no sum of products of two sizes`,
    );
  }
  return sum;
}

const factorsOf = (term: string): string[] => (term ? term.split(' ') : []);
const total = (sum: Sum, sizes: Readonly<Record<string, number>>): number =>
  [...sum].reduce(
    (n, [term, factor]) => n + factorsOf(term).reduce((m, name) => m * sizes[name]!, factor),
    0,
  );

/** As Optimum writes it: `past_sequence_length + 1`. */
function nameOf(sum: Sum): number | string {
  if ([...sum.keys()].every((term) => term === '')) return sum.get('') ?? 0;
  return [...sum]
    .map(([term, factor]) => [...(factor === 1 && term ? [] : [factor]), ...factorsOf(term)].join(' * '))
    .join(' + ');
}

/** The nodes that compute sums of sizes. */
class Sums {
  readonly nodes: NodeText[] = [];
  readonly initializers = new Map<string, HostTensor>();
  private readonly known = new Map<string, string>();

  constructor(private readonly sizes: Readonly<Record<string, FreeSize>>) {}

  /** The name of an int64 tensor of sums. */
  vector(sums: readonly Sum[], shape: readonly Sum[] = []): string {
    const parts = sums.map((sum) => this.sum(sum));
    const flat = parts.length === 1 ? parts[0]! : this.node('Concat', parts, [['axis', 0]]);
    return this.shaped(flat, shape);
  }

  /** The name of the int64 numbers from `start` to before `end`. */
  range(start: Sum, end: Sum, step: number, shape: readonly Sum[]): string {
    const scalars = [this.sum(start), this.sum(end), this.constant(step)].map((n) =>
      this.node('Squeeze', [n]),
    );
    return this.shaped(this.node('Range', scalars), shape);
  }

  private shaped(flat: string, shape: readonly Sum[]): string {
    return shape.length > 1 ? this.node('Reshape', [flat, this.vector(shape)], [['allowzero', 1]]) : flat;
  }

  /** All values are int64 [1]. */
  private sum(sum: Sum): string {
    const terms = [...sum].map(([term, factor]) => {
      const factors = factorsOf(term).map((name) => this.size(name));
      if (factor !== 1 || !term) factors.push(this.constant(factor));
      return factors.reduce((a, b) => this.node('Mul', [a, b]));
    });
    return terms.length ? terms.reduce((a, b) => this.node('Add', [a, b])) : this.constant(0);
  }

  private size(name: string): string {
    const size = this.sizes[name]!;
    if ('input' in size) {
      return this.node(
        'Shape',
        [size.input],
        [
          ['start', size.axis],
          ['end', size.axis + 1],
        ],
      );
    }
    const none = this.node('Equal', [this.size(size.where), this.constant(0)]);
    return this.node('Where', [none, this.constant(size.length), this.constant(0)]);
  }

  private constant(value: number): string {
    const name = `%size.${value}`;
    this.initializers.set(name, i64([value]));
    return name;
  }

  private node(type: string, ins: readonly string[], attrs: NodeText['attrs'] = []): string {
    const key = `${type} ${ins} ${attrs}`;
    const known = this.known.get(key);
    if (known) return known;
    const out = `%s${this.nodes.length}`;
    this.nodes.push({ type, ins, outs: [out], name: `size_${this.nodes.length}`, domain: '', attrs });
    this.known.set(key, out);
    return out;
  }
}
