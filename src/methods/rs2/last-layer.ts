import { input } from '../../graph/index.ts';
import { runOnce } from '../../runtime/index.ts';
import type { Outputs } from '../classify/classifier.ts';
import { type Rows, row } from '../gram/k-means.ts';

/**
 * Gradients of the cross-entropy by the last layer's bias and weights, g_i = [δ_i ; δ_i h_iᵀ], as their factors: there are
 * C (D + 1) numbers of each, but products and norms need only the factors.
 */
export interface LastLayer {
  /** δ = p − e_y: [N, C] */
  readonly delta: Rows;
  /** h: [N, D] */
  readonly features: Rows;
}

/** Probabilities [N, C]. */
export function softmaxRows({ data, width }: Rows): Rows {
  const out = new Float32Array(data.length);
  for (let from = 0; from < data.length; from += width) {
    let most = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < width; k++) most = Math.max(most, data[from + k]!);
    let sum = 0;
    for (let k = 0; k < width; k++) sum += Math.exp(data[from + k]! - most);
    for (let k = 0; k < width; k++) out[from + k] = Math.exp(data[from + k]! - most) / sum;
  }
  return { data: out, width };
}

/** `doubleSoftmax`: of a cross-entropy that takes the probabilities for logits: δ̃ = p ⊙ (u − ⟨p, u⟩), u = softmax(p) − e_y. */
export function lastLayer(
  { logits, features }: Outputs,
  labels: ArrayLike<number>,
  doubleSoftmax = false,
): LastLayer {
  const p = softmaxRows(logits);
  const delta = doubleSoftmax ? softmaxRows(p) : { ...p, data: p.data.slice() };
  for (let i = 0; i < labels.length; i++) {
    const [u, own] = [row(delta, i), row(p, i)];
    u[labels[i]!]! -= 1;
    if (!doubleSoftmax) continue;
    const mean = dot(own, u);
    for (let k = 0; k < u.length; k++) u[k] = own[k]! * (u[k]! - mean);
  }
  return { delta, features };
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** The lengths of rows. */
export const norms = (rows: Rows): Float64Array =>
  Float64Array.from({ length: rows.data.length / rows.width }, (_, i) =>
    Math.sqrt(dot(row(rows, i), row(rows, i))),
  );

/** ‖g_i‖ = ‖δ_i‖ √(1 + ‖h_i‖²) */
export function gradientNorms({ delta, features }: LastLayer): Float64Array {
  const h = norms(features);
  return norms(delta).map((d, i) => d * Math.sqrt(1 + h[i]! ** 2));
}

/** Rows of these members, one after the other. */
export function rowsAt({ data, width }: Rows, members: readonly number[]): Rows {
  const out = new Float32Array(members.length * width);
  for (const [i, m] of members.entries()) out.set(data.subarray(m * width, (m + 1) * width), i * width);
  return { data: out, width };
}

export const asTensor = ({ data, width }: Rows) => ({
  dtype: 'float32' as const,
  shape: [data.length / width, width],
  data,
});

/** ⟨g_i, g_j⟩ = ⟨δ_i, δ_j⟩ (1 + ⟨h_i, h_j⟩) for all pairs of members: [n, n]. */
export async function gradientProducts(g: LastLayer, members: readonly number[]): Promise<Float32Array> {
  const n = members.length;
  const d = input('d', [n, g.delta.width]);
  const h = input('h', [n, g.features.width]);
  const products = d.matmul(d, { transB: true }).mul(h.matmul(h, { transB: true }).add(1));
  const feeds = { d: asTensor(rowsAt(g.delta, members)), h: asTensor(rowsAt(g.features, members)) };
  return (await runOnce({ products }, feeds)).products.data as Float32Array;
}

/** ½ + ½ cos(g_i, g_j) of products [n, n], in place. A gradient of zero has cosine 0 with all. */
export function cosineSimilarities(products: Float32Array, n: number): Float32Array {
  const scale = Float64Array.from({ length: n }, (_, i) => {
    const square = products[i * n + i]!;
    return square > 0 ? 1 / Math.sqrt(square) : 0;
  });
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++)
      products[i * n + j] = 0.5 + 0.5 * products[i * n + j]! * scale[i]! * scale[j]!;
  return products;
}

/** max − ‖g_i − g_j‖ + 1e-3 of products [n, n], the similarity of CRAIG; in place. */
export function distanceSimilarities(products: Float32Array, n: number): Float32Array {
  const squares = Float64Array.from({ length: n }, (_, i) => products[i * n + i]!);
  let most = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const at = i * n + j;
      products[at] = i === j ? 0 : Math.sqrt(Math.max(0, squares[i]! + squares[j]! - 2 * products[at]!));
      most = Math.max(most, products[at]!);
    }
  }
  for (let at = 0; at < products.length; at++) products[at] = most - products[at]! + 1e-3;
  return products;
}
