/** Vectors known by their products alone. */
export interface Products {
  readonly count: number;
  /** ⟨g_i, g_j⟩: [n, n] */
  readonly all: Float32Array;
  /** ⟨g_i, target⟩: [n] */
  readonly target: Float64Array;
  /** ‖target‖² */
  readonly targetSquare: number;
}

/** Products with the mean of all vectors as the target. */
export function towardsMean(all: Float32Array, count: number): Products {
  const target = Float64Array.from({ length: count }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < count; j++) sum += all[i * count + j]!;
    return sum / count;
  });
  return { count, all, target, targetSquare: target.reduce((a, b) => a + b, 0) / count };
}

/**
 * Orthogonal matching pursuit: adds the vector with the largest (signed) product with the residual, then fits all weights
 * again by ridge regression, x = (A_S A_Sᵀ + λ)⁻¹ A_S target. Ends early where no vector is left that is independent.
 *
 * With A_S A_Sᵀ + λ = L Lᵀ and V = A A_Sᵀ L⁻ᵀ, the products with the residual are A target − V L⁻¹ A_S target, and the next
 * row of L is a row of V: a pick appends a column to V, and nothing is solved before the end. k picks of n cost k² n / 2.
 * @returns the vectors in order, their weights, and the minimum ‖A_Sᵀ x − target‖² + λ ‖x‖² after each.
 */
export function matchingPursuit(
  { count, all, target, targetSquare }: Products,
  budget: number,
  lambda: number,
) {
  const chosen: number[] = [];
  const minima: number[] = [];
  const left = target.slice();
  const columns: Float64Array[] = [];
  const factor: Float64Array[] = [];
  const forward: number[] = [];
  let minimum = targetSquare;
  while (chosen.length < Math.min(budget, count)) {
    const next = largest(left);
    const own = all[next * count + next]!;
    const line = Float64Array.from(columns, (v) => v[next]!);
    const pivot = own + lambda - line.reduce((a, v) => a + v * v, 0);
    if (pivot <= 1e-6 * Math.max(own, lambda)) break;
    const scale = Math.sqrt(pivot);
    const column = Float64Array.from(all.subarray(next * count, (next + 1) * count));
    columns.forEach((v, k) => {
      const l = line[k]!;
      for (let j = 0; j < count; j++) column[j]! -= l * v[j]!;
    });
    const f = (target[next]! - line.reduce((a, l, k) => a + l * forward[k]!, 0)) / scale;
    for (let j = 0; j < count; j++) {
      column[j]! /= scale;
      left[j]! -= f * column[j]!;
    }
    // Never again.
    left[next] = Number.NEGATIVE_INFINITY;
    columns.push(column);
    factor.push(Float64Array.of(...line, scale));
    forward.push(f);
    chosen.push(next);
    minimum -= f * f;
    minima.push(minimum);
  }
  return { chosen, weights: backSubstitute(factor, forward), minima };
}

function largest(values: Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** L⁻ᵀ y for the rows of L. */
function backSubstitute(factor: readonly Float64Array[], y: ArrayLike<number>): Float64Array {
  const x = Float64Array.from(y);
  for (let i = x.length - 1; i >= 0; i--) {
    x[i]! /= factor[i]![i]!;
    for (let k = 0; k < i; k++) x[k]! -= factor[i]![k]! * x[i]!;
  }
  return x;
}

/** (A_S A_Sᵀ + λ)⁻¹ A_S target. */
function ridge({ count, all, target }: Products, chosen: readonly number[], lambda: number): Float64Array {
  const factor: Float64Array[] = [];
  const y = new Float64Array(chosen.length);
  for (const [i, s] of chosen.entries()) {
    const line = new Float64Array(i + 1);
    for (let j = 0; j <= i; j++) {
      const other = factor[j] ?? line;
      let v = all[s * count + chosen[j]!]!;
      for (let k = 0; k < j; k++) v -= line[k]! * other[k]!;
      line[j] = j < i ? v / other[j]! : Math.sqrt(v + lambda);
    }
    factor.push(line);
    let v = target[s]!;
    for (let k = 0; k < i; k++) v -= line[k]! * y[k]!;
    y[i] = v / line[i]!;
  }
  return backSubstitute(factor, y);
}

/**
 * min ‖A_Sᵀ x − target‖² + λ ‖x‖² over x ≥ 0, λ > 0, by block principal pivoting (Júdice & Pires 1994): every wrong sign
 * changes sides at once; where that stops making them fewer, only the last one does, which ends for certain.
 */
export function nonNegativeRidge(
  products: Products,
  chosen: readonly number[],
  lambda: number,
): Float64Array {
  const { count, all, target } = products;
  const n = chosen.length;
  const free = new Uint8Array(n).fill(1);
  let [fewest, patience] = [n + 1, 3];
  for (;;) {
    const inside = chosen.flatMap((_, i) => (free[i] ? [i] : []));
    const x = new Float64Array(n);
    const solved = ridge(
      products,
      inside.map((i) => chosen[i]!),
      lambda,
    );
    for (const [k, i] of inside.entries()) x[i] = solved[k]!;
    const wrong = chosen.flatMap((s, i) => {
      if (free[i]) return x[i]! < 0 ? [i] : [];
      // Half the gradient: of weights at zero it must not be negative.
      const slope = inside.reduce((sum, k) => sum + x[k]! * all[s * count + chosen[k]!]!, -target[s]!);
      return slope < -1e-9 * Math.abs(target[s]!) ? [i] : [];
    });
    if (wrong.length === 0) return x;
    if (wrong.length < fewest) [fewest, patience] = [wrong.length, 3];
    else patience--;
    for (const i of patience >= 0 ? wrong : wrong.slice(-1)) free[i] = free[i] ? 0 : 1;
  }
}
