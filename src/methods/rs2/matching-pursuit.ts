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
 * @returns the vectors in order, their weights, and the norm of the residual after each.
 */
export function matchingPursuit(
  { count, all, target, targetSquare }: Products,
  budget: number,
  lambda: number,
) {
  const chosen: number[] = [];
  const residuals: number[] = [];
  const taken = new Uint8Array(count);
  /** The rows of the Cholesky factor of A_S A_Sᵀ + λ, and L⁻¹ A_S target. */
  const factor: Float64Array[] = [];
  const forward: number[] = [];
  let weights: Float64Array = new Float64Array(0);
  while (chosen.length < Math.min(budget, count)) {
    const scores = target.slice();
    chosen.forEach((s, k) => {
      const [w, from] = [weights[k]!, s * count];
      for (let j = 0; j < count; j++) scores[j]! -= w * all[from + j]!;
    });
    let next = -1;
    for (let j = 0; j < count; j++) if (!taken[j] && (next < 0 || scores[j]! > scores[next]!)) next = j;
    taken[next] = 1;
    const line = new Float64Array(chosen.length + 1);
    for (let i = 0; i < chosen.length; i++) {
      let v = all[next * count + chosen[i]!]!;
      for (let k = 0; k < i; k++) v -= line[k]! * factor[i]![k]!;
      line[i] = v / factor[i]![i]!;
    }
    const own = all[next * count + next]!;
    const pivot = own + lambda - line.reduce((a, v) => a + v * v, 0);
    if (pivot <= 1e-6 * Math.max(own, lambda)) break;
    line[chosen.length] = Math.sqrt(pivot);
    let f = target[next]!;
    for (let k = 0; k < chosen.length; k++) f -= line[k]! * forward[k]!;
    forward.push(f / line[chosen.length]!);
    factor.push(line);
    chosen.push(next);
    weights = backSubstitute(factor, forward);
    residuals.push(
      Math.sqrt(Math.max(0, residualSquare({ count, all, target, targetSquare }, chosen, weights))),
    );
  }
  return { chosen, weights, residuals };
}

function backSubstitute(factor: readonly Float64Array[], forward: readonly number[]): Float64Array {
  const x = Float64Array.from(forward);
  for (let i = x.length - 1; i >= 0; i--) {
    x[i]! /= factor[i]![i]!;
    for (let k = 0; k < i; k++) x[k]! -= factor[i]![k]! * x[i]!;
  }
  return x;
}

function residualSquare(
  { count, all, target, targetSquare }: Products,
  chosen: readonly number[],
  x: Float64Array,
) {
  let sum = targetSquare;
  chosen.forEach((s, i) => {
    sum -= 2 * x[i]! * target[s]!;
    chosen.forEach((t, k) => {
      sum += x[i]! * x[k]! * all[s * count + t]!;
    });
  });
  return sum;
}

/**
 * min ‖A_Sᵀ x − target‖² + λ ‖x‖² over x ≥ 0, by coordinate descent until no weight moves by more than 1e-6 of the largest.
 */
export function nonNegativeRidge(
  { count, all, target }: Products,
  chosen: readonly number[],
  lambda: number,
): Float64Array {
  const x = new Float64Array(chosen.length);
  /** Half the gradient: (K + λ) x − A_S target. */
  const slope = Float64Array.from(chosen, (s) => -target[s]!);
  for (let sweep = 0; sweep < 10_000; sweep++) {
    let [moved, largest] = [0, 0];
    for (let i = 0; i < x.length; i++) {
      const from = chosen[i]! * count;
      const curvature = all[from + chosen[i]!]! + lambda;
      if (curvature <= 0) continue;
      const next = Math.max(0, x[i]! - slope[i]! / curvature);
      const change = next - x[i]!;
      largest = Math.max(largest, next);
      if (change === 0) continue;
      moved = Math.max(moved, Math.abs(change));
      x[i] = next;
      for (let k = 0; k < x.length; k++) slope[k]! += change * all[from + chosen[k]!]!;
      slope[i]! += change * lambda;
    }
    if (moved <= 1e-6 * largest) break;
  }
  return x;
}
