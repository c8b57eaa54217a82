import { sizeOf } from '../host.ts';
import type { Tensor } from '../tensor.ts';
import { diagonal } from './arrange.ts';
import { opError } from './common.ts';
import { mul } from './elementwise.ts';
import { matmul } from './linear.ts';
import { sum } from './reduce.ts';
import { reshape, transpose } from './shape.ts';

/** A tensor whose axes have labels. */
interface Labelled {
  readonly x: Tensor;
  readonly labels: readonly string[];
}

/**
 * Einstein summation, as numpy.einsum: `einsum('bij,bjk->bik', a, b)`. Letters name axes, `...` stands for leading
 * ones; a letter twice in one operand takes its diagonal. Lowered to transpositions and matrix products, from left to
 * right.
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const [left, right] = equation.replaceAll(' ', '').split('->') as [string, string?];
  const terms = left.split(',');
  const fail = (problem: string) => opError('einsum', `"${equation}" ${problem}`, operands);
  if (terms.length !== operands.length) throw fail(`names ${terms.length} operands`);
  // The axes of an ellipsis are labelled by their distance from its end, so that they broadcast like NumPy's.
  const labelsOf = (term: string, rank: number): string[] => {
    if (!/^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(term)) throw fail(`has a term "${term}" that is not letters`);
    const [head, tail] = term.split('...') as [string, string?];
    if (tail === undefined) return [...head];
    const count = rank - head.length - tail.length;
    return [...head, ...Array.from({ length: Math.max(0, count) }, (_, i) => `.${count - i}`), ...tail];
  };
  const sizes = new Map<string, number>();
  let parts: Labelled[] = operands.map((x, i) => {
    const labels = labelsOf(terms[i]!, x.rank);
    if (labels.length !== x.rank) throw fail(`gives operand ${i} ${labels.length} axes`);
    labels.forEach((label, axis) => {
      const known = sizes.get(label) ?? 1;
      const n = x.shape[axis]!;
      if (known !== n && known !== 1 && n !== 1)
        throw fail(`has two lengths for "${label}", ${known} and ${n}`);
      sizes.set(label, known === 1 ? n : known);
    });
    return undouble({ x, labels });
  });
  const widest = [...sizes.keys()].filter((l) => l.startsWith('.')).sort((a, b) => +b.slice(1) - +a.slice(1));
  const once = (label: string) => parts.flatMap((p) => p.labels).filter((l) => l === label).length === 1;
  const letters = [...sizes.keys()].filter((l) => !l.startsWith('.')).sort();
  const output =
    right === undefined
      ? [...widest, ...letters.filter((l) => once(l) && [...left].filter((c) => c === l).length === 1)]
      : labelsOf(right, right.replace('...', '').length + widest.length);
  for (const label of output) {
    if (!sizes.has(label)) throw fail(`has no operand with "${label}"`);
  }
  // An axis of length 1 that is longer elsewhere is a broadcast: it is dropped here and found there.
  parts = parts.map((p) => drop(p, (l, axis) => p.x.shape[axis] === 1 && sizes.get(l) !== 1));
  const result = parts.reduce((a, b, i) => {
    const later = new Set([...output, ...parts.slice(i + 1).flatMap((p) => p.labels)]);
    return contract(a, b, later);
  });
  const summed = sumOut(result, new Set(output));
  return transpose(
    summed.x,
    output.map((l) => summed.labels.indexOf(l)),
  );
}

/** Takes the diagonal of axes with the same label. */
function undouble(p: Labelled): Labelled {
  const second = p.labels.findIndex((l, i) => p.labels.indexOf(l) < i);
  if (second < 0) return p;
  const label = p.labels[second]!;
  const first = p.labels.indexOf(label);
  const labels = p.labels.filter((_, i) => i !== first && i !== second);
  return undouble({ x: diagonal(p.x, first, second), labels: [...labels, label] });
}

/** Removes axes of length 1. */
function drop(p: Labelled, gone: (label: string, axis: number) => boolean): Labelled {
  const kept = p.labels.map((_, i) => i).filter((i) => !gone(p.labels[i]!, i));
  return {
    x: reshape(
      p.x,
      kept.map((i) => p.x.shape[i]!),
    ),
    labels: kept.map((i) => p.labels[i]!),
  };
}

/** Sums over the axes that nothing needs any more. */
function sumOut(p: Labelled, needed: ReadonlySet<string>): Labelled {
  const axes = p.labels.flatMap((l, i) => (needed.has(l) ? [] : [i]));
  return axes.length === 0 ? p : { x: sum(p.x, axes), labels: p.labels.filter((l) => needed.has(l)) };
}

/** The product of two operands, summed over what only they share: one batched matrix product. */
function contract(p: Labelled, q: Labelled, later: ReadonlySet<string>): Labelled {
  const a = sumOut(p, new Set([...later, ...q.labels]));
  const b = sumOut(q, new Set([...later, ...a.labels]));
  const shared = a.labels.filter((l) => b.labels.includes(l));
  const batch = shared.filter((l) => later.has(l));
  const inner = shared.filter((l) => !later.has(l));
  const rows = a.labels.filter((l) => !shared.includes(l));
  const columns = b.labels.filter((l) => !shared.includes(l));
  const arrange = (t: Labelled, ...groups: (readonly string[])[]): Tensor => {
    const axes = groups.map((g) => g.map((l) => t.labels.indexOf(l)));
    const lengths = axes.map((g) => sizeOf(g.map((i) => t.x.shape[i]!)));
    return reshape(transpose(t.x, axes.flat()), lengths);
  };
  const labels = [...batch, ...rows, ...columns];
  const lengthOf = (l: string) => {
    const i = a.labels.indexOf(l);
    return i >= 0 ? a.x.shape[i]! : b.x.shape[b.labels.indexOf(l)]!;
  };
  // Without a batch, plain matrices, whose transpositions are flags.
  const outer = batch.length === 0 ? [] : [batch];
  const product =
    inner.length === 0
      ? mul(
          reshape(arrange(a, batch, rows), [-1, sizeOf(rows.map(lengthOf)), 1]),
          reshape(arrange(b, batch, columns), [-1, 1, sizeOf(columns.map(lengthOf))]),
        )
      : matmul(arrange(a, ...outer, rows, inner), arrange(b, ...outer, columns, inner), { transB: true });
  return { x: reshape(product, labels.map(lengthOf)), labels };
}
